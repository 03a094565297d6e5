"""Explaining token ids: a gradient method applied where the tokens have become vectors."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.baselines import Baseline, NamedBaseline, baseline_name, is_of_batch
from lightning_explain.attribution.batch_demands import refuse_quantised
from lightning_explain.attribution.contrast import Contrast, with_contrast
from lightning_explain.attribution.integrated_gradients.method import IntegratedGradients
from lightning_explain.attribution.result import Attribution, Forward, Target, parts_of, shaped_like
from lightning_explain.attribution.traits import method_name, takes_baseline, traits_of, with_baseline
from lightning_explain.attribution.wrapped_model import WrappedModel
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining
from lightning_explain.options.value_types import BY_NAME, check_fields

Calls = dict[str, list[tuple[Tensor, Tensor]]]
"""Ids and vectors of every call of an embedding, by its name."""


@dataclass(frozen=True)
class AtEmbedding:
    """Explains token ids at the output of the embedding layer: one signed number per token.

    The embedding layer's output takes the place of the input, everything else (masks, positions, the ids themselves)
    is carried along unchanged, and what the method says of a token's vector is summed over its dimensions. Sums over
    all tokens stay complete where the method is. The tolerance of `IntegratedGradients` and its `error` are those of
    the sums, one per token, in which much of what the dimensions say cancels.

    Source: Sundararajan, Taly, Yan (2017), Axiomatic Attribution for Deep Networks, Section 6 (text models).

    Args:
        method: `LRP`, or any method of differentiable inputs: `IntegratedGradients`, `Saliency`, `InputXGradient`,
            `SmoothGrad`, your own. It is given the vectors as the first input, the model's inputs after them, and a
            callable, or a module if it declares `needs_module`. By default `IntegratedGradients()`, whose baseline is
            the zero vector.
        layer: Name of the embedding layer; by default the only `nn.Embedding` whose ids are an input as it was given.
        baseline_token: For methods with a baseline: compare with this token at every position (padding, mask)
            instead of the method's own baseline.

    Cost: that of the method, and one forward pass.

    Raises:
        ConfigurationError: `baseline_token` for a method without a baseline.

    Example:
        >>> net = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
        >>> result = AtEmbedding()(net, torch.tensor([[1, 5, 5], [2, 0, 8]]), 1)
        >>> result.values.shape
        torch.Size([2, 3])
    """

    accepts_integers = True
    needs_module = True
    description = "AtEmbedding"
    named_options = None

    method: Callable[..., Attribution] = field(default_factory=IntegratedGradients)
    layer: str | None = None
    baseline_token: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.method, type):
            raise ConfigurationError(f"method={self.method.__name__} is a class; write {self.method.__name__}(...).")
        check_fields(self, AtEmbedding, {"layer": BY_NAME, "baseline_token": "It is an id of the vocabulary."})
        if self.baseline_token is not None and not takes_baseline(self.method):
            raise ConfigurationError(
                f"baseline_token={self.baseline_token} with {method_name(self.method)}, which has no baseline; "
                "leave it out, or use IntegratedGradients."
            )

    @property
    def wraps(self) -> Callable[..., Attribution]:
        """The method from which the traits that are not declared here are taken."""
        return self.method

    @property
    def baseline_name(self) -> str | None:
        """The baseline in words."""
        return traits_of(self.method).baseline_name if self.baseline_token is None else f"token {self.baseline_token}"

    @property
    def is_samplewise(self) -> bool | None:
        """True if a sample's attribution does not depend on the others; False with a baseline that does."""
        inner = traits_of(self.method)
        # the mean of vectors cannot be resolved before they are known
        return False if self.baseline_token is None and is_of_batch(inner.baseline) else inner.is_samplewise

    def with_baseline(self, baseline: Baseline) -> "AtEmbedding":
        """Refuse a baseline of inputs.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            f"baseline={baseline_name(baseline)!r} is one of inputs, and token ids have none; give baseline_token= "
            "instead."
        )

    def with_contrast(self, contrast: Contrast | None) -> "AtEmbedding":
        """Return a copy whose method has another contrast."""
        return replace(self, method=with_contrast(self.method, contrast))

    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model`; values are shaped like the inputs, the ids' [batch, tokens].

        Raises:
            ConfigurationError: The model is no module, has no such layer, or its embedding cannot be distinguished from
                others; or as the method.
            ExplanationError: As the method.
        """
        if not isinstance(model, nn.Module):
            raise ConfigurationError(
                f"AtEmbedding got a {type(model).__name__}; it needs an nn.Module, to find its embedding layer."
            )
        with explaining(model):
            parts = tuple(part.detach().clone() for part in parts_of(inputs))
            found = _find(model, parts, self.layer)
            method = self._method(found)
            after, given = _After(model, found), (found.vectors, *parts)
            forward = after if traits_of(method).needs_module else after.forward
            if not _sums_vectors(method):
                return self._of_tokens(method(forward, given, target), inputs, parts, found, summed=False)
            refuse_quantised(model)
            # its error must be that of the sums, in which much cancels
            return self._of_tokens(method.of_vectors(forward, given, target), inputs, parts, found, summed=True)

    def _method(self, found: "_Found") -> Any:
        if self.baseline_token is None:
            return self.method
        with torch.no_grad():
            vector = found.module(torch.tensor([self.baseline_token], device=found.vectors.device))
        baseline = NamedBaseline(f"token {self.baseline_token}", vector.reshape(-1).expand_as(found.vectors[:1]))
        return with_baseline(self.method, baseline)

    def _of_tokens(
        self, result: Attribution, inputs: Inputs, parts: tuple[Tensor, ...], found: "_Found", *, summed: bool
    ) -> Attribution:
        def per_token(values: Inputs | None) -> Inputs | None:
            if values is None:
                return None
            if len(parts_of(values)) != 1 + len(parts):
                raise ConfigurationError(
                    f"{method_name(self.method)} gives {len(parts_of(values))} attributions for the embedded tokens "
                    f"and {len(parts)} inputs; AtEmbedding needs one for each. Methods that explain a layer cannot be "
                    "used with it."
                )
            vectors, *others = parts_of(values)
            others[found.position] = vectors if summed else vectors.sum(-1)
            return shaped_like(tuple(others), inputs)

        baseline = None
        if self.baseline_token is not None:
            ids = torch.full_like(parts[found.position], self.baseline_token)
            baseline = shaped_like((*parts[: found.position], ids, *parts[found.position + 1 :]), inputs)
        values = per_token(result.values)
        assert values is not None
        return replace(result, values=values, coarse=per_token(result.coarse), baseline=baseline)


def _sums_vectors(method: Any) -> bool:
    """Return True if a method can bound the error of its sums over a vector, as `IntegratedGradients` does.

    A subclass that changes the call explains in its own way.
    """
    for kind in type(method).__mro__:
        if "of_vectors" in vars(kind):
            return True
        if "__call__" in vars(kind):
            return False
    return False


@dataclass(frozen=True)
class _Found:
    """The embedding layer, what it gave for the inputs [batch, tokens, dimensions], and which input holds the ids."""

    module: nn.Module
    vectors: Tensor
    position: int


def _find(model: nn.Module, parts: tuple[Tensor, ...], layer: str | None) -> _Found:
    """Run the model once and see which embedding reads an input."""
    modules = dict(model.named_modules())
    if layer is not None and layer not in modules:
        names = [name for name, module in modules.items() if isinstance(module, nn.Embedding)]
        raise ConfigurationError(
            f"layer={layer!r} is not in the model; its embeddings are {', '.join(names) or 'none'}."
        )
    candidates = {
        name: module
        for name, module in modules.items()
        if (isinstance(module, nn.Embedding) if layer is None else name == layer)
    }
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in candidates}
    with torch.no_grad(), _hooks(candidates, seen):
        model(*(part.clone() for part in parts))
    reading = [
        (name, position, calls[0][1])
        for name, calls in seen.items()
        for position, part in enumerate(parts)
        if len(calls) == 1 and not part.is_floating_point() and torch.equal(calls[0][0], part)
    ]
    if len(reading) != 1:
        raise ConfigurationError(_which(reading, seen, layer))
    name, position, vectors = reading[0]
    return _Found(candidates[name], vectors, position)


def _which(reading: list[tuple[str, int, Tensor]], seen: dict[str, Any], layer: str | None) -> str:
    if reading:
        names = ", ".join(name for name, _, _ in reading)
        return (
            f"{len(reading)} embeddings read an input as it was given: {names}. Say with layer= which holds the tokens."
        )
    calls = ", ".join(f"{name} ({len(found)} calls)" for name, found in seen.items()) or "no nn.Embedding"
    place = "No embedding reads" if layer is None else f"layer={layer!r} does not read"
    return (
        f"{place} an integer input as it was given, exactly once in a forward pass; found {calls}. Explain the "
        "embedded tokens with forward_fn= instead."
    )


@contextmanager
def _hooks(
    candidates: dict[str, nn.Module], seen: dict[str, list[tuple[Tensor, Tensor]]]
) -> Generator[None, None, None]:
    """Note the ids and vectors of every call of the candidates."""

    def noting(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            del module
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                seen[name].append((args[0].detach().clone(), output.detach().clone()))

        return hook

    handles = [module.register_forward_hook(noting(name)) for name, module in candidates.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _After(WrappedModel[nn.Module]):
    """From vectors (and the inputs as they are) to scores. Its layers have the names that they have in the model."""

    def __init__(self, model: nn.Module, found: _Found) -> None:
        super().__init__(model)
        self._found = found

    def forward(self, vectors: Tensor, *inputs: Tensor) -> Any:
        def instead(module: nn.Module, args: Any, output: Any) -> Tensor:
            del module, args, output
            return vectors

        handle = self._found.module.register_forward_hook(instead)
        try:
            return self.model(*inputs)
        finally:
            handle.remove()
