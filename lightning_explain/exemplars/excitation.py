"""Attribution of a unit: the unit's value at its position, attributed to the input."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_explain.attribution import Attribution
from lightning_explain.attribution.embedding import AtEmbedding
from lightning_explain.attribution.gradients import InputXGradient
from lightning_explain.attribution.result import parts_of
from lightning_explain.attribution.scores import look_like_tokens
from lightning_explain.attribution.traits import traits_of
from lightning_explain.exemplars.unit_outputs import UnitOutputs

Method = Callable[..., Attribution]


def heat_method(method: Method | None, inputs: Sequence[Tensor]) -> Method:
    """Return the method for inputs of this kind: by default input times gradient; token ids at their embedding."""
    chosen = InputXGradient() if method is None else method
    return AtEmbedding(chosen) if look_like_tokens(inputs) and not traits_of(chosen).accepts_integers else chosen


def heatmaps(
    outputs: UnitOutputs, inputs: Sequence[Tensor], units: Tensor, places: Tensor, *, method: Method
) -> list[Tensor]:
    """Attribute the value of one unit at one position in each sample.

    Args:
        outputs: The layer's units.
        inputs: Samples, each [batch, ...].
        units: Unit of each sample: int64 [batch].
        places: Flat position of each: int64 [batch].
        method: The method; give token ids one from `heat_method`.

    Returns:
        Attributions shaped like each input, in units of the activation, on the CPU.
    """
    target = (units * outputs.n_positions + places).to(inputs[0].device)
    parts = tuple(part.clone() for part in inputs)
    found = method(outputs, parts[0] if len(parts) == 1 else parts, target)
    return [part.detach().float().cpu() for part in parts_of(found.values)]


def values_at(values: Tensor, units: Tensor, places: Tensor) -> Tensor:
    """Return a layer's output [batch, units, positions] for one unit and position of each sample: [batch]."""
    rows = torch.arange(len(values), device=values.device)
    return values[rows, units.to(values.device), places.to(values.device)]
