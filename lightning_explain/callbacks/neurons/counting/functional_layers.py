"""Functional activations of a LightningModule: watched at the layers that feed them, or named as not covered."""

from collections.abc import Mapping, Sequence
from types import FunctionType

from torch import nn

from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.capture import Layer, is_compiled
from lightning_explain.neurons.forward_trace import ForwardTrace
from lightning_explain.neurons.functional import FUNCTIONS, FunctionalUse, functional_use
from lightning_explain.neurons.units import described, with_functional

HOW = (
    "Make the function a module (nn.ReLU()), or name the block that applies it with layers=, whose output is then "
    "counted as it is."
)


def mentioned_functions(model: nn.Module) -> list[str]:
    """Name the classes of the model whose methods mention an activation function, torch's own left out."""
    kinds = {type(module) for module in model.modules() if not type(module).__module__.startswith("torch.")}
    mentioning: list[str] = []
    for kind in kinds:
        codes = [method.__code__ for method in vars(kind).values() if isinstance(method, FunctionType)]
        if any(FUNCTIONS & {name.rstrip("_") for name in code.co_names} for code in codes):
            mentioning.append(kind.__name__)
    return sorted(mentioning)


def refined(
    pl_module: nn.Module,
    layers: Sequence[Layer],
    trace: ForwardTrace,
    *,
    default: bool,
    unit_dims: Mapping[str, int],
) -> tuple[list[Layer], FunctionalUse]:
    """Tell layers what was seen of their calls; add those that feed functional activations to a default choice.

    A compiled model keeps the layers it was compiled with.
    """
    use = functional_use(pl_module, trace)
    if default and not any(map(is_compiled, pl_module.modules())):
        layers = with_functional(pl_module, layers, use)
    return described(layers, trace, use, unit_dims), use


def tell_unseen(use: FunctionalUse, guard: Guard) -> None:
    """Name the functions whose neurons are not counted."""
    if use.unseen:
        guard.note(
            f"these functional activations take what no single module returned (a sum, say), or what another function "
            f"takes as well, so their neurons are not counted: {', '.join(use.unseen)}. {HOW}",
            about="functional activations",
        )


def tell_not_followed(pl_module: nn.Module, layers: Sequence[Layer], error: Exception, guard: Guard) -> None:
    """Warn that a module may apply functions, but that its calls could not be followed."""
    mentioned = mentioned_functions(pl_module)
    if mentioned:
        guard.note(
            f"{', '.join(mentioned)} may apply functional activations (F.relu), but which layers feed them could "
            f"not be found out ({type(error).__name__}: {error}). Watched are: "
            f"{', '.join(layer.name for layer in layers)}. {HOW}",
            about="functional activations",
        )
