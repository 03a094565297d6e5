"""The layers of a module whose neurons are counted."""

from collections.abc import Sequence

from torch import nn

from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.neurons.counting.not_counted import compiled_layers_message, unseen_attention_message
from lightning_explain.capture import Layer, names_inside_compiled
from lightning_explain.neurons import unit_layers
from lightning_explain.neurons.units import unobservable_attention


def watched_layers(
    pl_module: nn.Module, layers: str | Sequence[str] | None, guard: Guard, *, in_half: bool
) -> list[Layer]:
    """Return the layers to watch; warn of attention heads and compiled layers that cannot be.

    Args:
        pl_module: The module.
        layers: Names or globs; None for the default.
        guard: The monitor's error handling.
        in_half: True if the run computes in 16 bits: hooks inside compiled code then change its rounding, so layers
            there are left out unless `layers` names them.

    Raises:
        ConfigurationError: A layer glob matches nothing.
    """
    chosen = unit_layers(pl_module, layers)
    unseen = unobservable_attention(pl_module) if layers is None else []
    if unseen:
        guard.note(unseen_attention_message(unseen))
    inside = names_inside_compiled(pl_module) if in_half else set[str]()
    compiled = [layer.name for layer in chosen if layer.name in inside]
    if not compiled:
        return chosen
    guard.note(compiled_layers_message(compiled, named_by_user=layers is not None))
    return chosen if layers is not None else [layer for layer in chosen if layer.name not in inside]
