"""Model randomisation check: an explanation that survives random weights does not explain the model."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_explain.attribution.result import Attribution, Method, Target, flat
from lightning_explain.batches import Inputs
from lightning_explain.capture import select_layers
from lightning_explain.drift.similarity import spearman
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import differentiable


@dataclass(frozen=True)
class RandomisationCheck:
    """Similarity of explanations before and after randomisation, from the top layer down.

    Attributes:
        layers: Layer randomised at each step, on top of all before it.
        spearman: Rank correlation of the signed values with the original ones: [steps, batch].
        spearman_absolute: The same of absolute values. Both should fall towards 0; NaN where an explanation is
            constant.
    """

    layers: tuple[str, ...]
    spearman: Tensor
    spearman_absolute: Tensor


def cascading_randomisation(
    method: Method | Callable[..., Attribution],
    model: nn.Module,
    inputs: Inputs,
    target: Target = None,
    *,
    layers: str | Sequence[str] | None = None,
    seed: int = 0,
) -> RandomisationCheck:
    """Randomise the layers of a copy of the model one by one, from the output to the input, and explain it each time.

    Every parameter is drawn anew from a normal distribution with its own mean and standard deviation, which needs
    no knowledge of how it was initialised; parameters that are all equal (untouched biases) stay. "Top" is the
    module registered last.

    Source: Adebayo et al. (2018), Sanity Checks for Saliency Maps, Section 3 (cascading randomisation, rank
    correlation with and without absolute values).

    Args:
        method: What explains: called as `method(model, inputs, target)`.
        model: Copied deeply and never changed.
        inputs: What is explained [batch, ...].
        target: Class index, LongTensor [batch], or None.
        layers: Names or globs of the layers to randomise; None: all that have parameters of their own.
        seed: Seed of the new weights; no global random state is touched.

    Cost: one explanation, and one more for each layer; a copy of the model.

    Raises:
        ConfigurationError: The model cannot be copied, or no chosen layer has parameters.

    Example:
        >>> from lightning_explain.attribution import InputXGradient
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        >>> cascading_randomisation(InputXGradient(), net, torch.rand(3, 4), target=0).layers
        ('2', '0')
    """
    # parameters drawn inside inference mode could not take part in autograd
    with differentiable():
        twin = _copied(model)
        chosen = _with_parameters(twin, layers)
        generator = torch.Generator().manual_seed(seed)
        original = flat(method(twin, inputs, target).values).detach()
        done: set[int] = set()
        signed: list[Tensor] = []
        absolute: list[Tensor] = []
        for _, module in chosen:
            _randomise(module, generator, done)
            found = flat(method(twin, inputs, target).values).detach()
            signed.append(spearman(original, found))
            absolute.append(spearman(original.abs(), found.abs()))
    return RandomisationCheck(tuple(name for name, _ in chosen), torch.stack(signed), torch.stack(absolute))


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise ConfigurationError(
            f"{type(model).__name__} cannot be copied ({error}), and the check never changes the model itself. Give "
            "the plain network, e.g. module.net."
        ) from error


def _with_parameters(model: nn.Module, layers: str | Sequence[str] | None) -> list[tuple[str, nn.Module]]:
    """Choose the modules that hold parameters themselves, last registered first."""
    named = list(model.named_modules())
    if layers is not None:
        named = [(layer.name, layer.module) for layer in select_layers(model, layers)]
    chosen = [(name, module) for name, module in named if list(module.parameters(recurse=False))]
    if not chosen:
        raise ConfigurationError(
            f"layers={layers!r} holds no parameters that could be randomised: name layers with weights, such as "
            "linear layers and convolutions."
        )
    return chosen[::-1]


def _randomise(module: nn.Module, generator: torch.Generator, done: set[int]) -> None:
    """Draw new values for every parameter, only once for those shared with a layer above."""
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            if id(parameter) in done or not parameter.is_floating_point():
                continue
            done.add(id(parameter))
            draw = torch.randn(parameter.shape, generator=generator)
            spread = parameter.std(correction=0)
            parameter.copy_(parameter.mean() + spread * draw.to(device=parameter.device, dtype=parameter.dtype))
