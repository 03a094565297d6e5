"""Mean activation of a layer's units over their positions, differentiable."""

from torch import Tensor

from lightning_explain.capture import Call, Layer
from lightning_explain.errors import ExplanationError
from lightning_explain.neurons.arrangement import units_of


def unit_means(output: Tensor | Call, layer: Layer, key: str, *, n_samples: int) -> Tensor:
    """Return the mean activation of each unit, differentiable: [batch, units]."""
    # a clone: what follows may write into it
    given = output.clone() if isinstance(output, Tensor) else output
    units = units_of(given, layer, key, n_samples=n_samples)
    if units is None:
        raise ExplanationError(f"The units of layer {layer.name!r} cannot be seen in a forward pass of the probe.")
    values = units.values
    values = values.movedim(units.unit_dim, -1).flatten(1, -2) if values.ndim > 2 else values[:, None]
    if units.valid is None:
        return values.mean(1)
    weights = units.valid.to(values.dtype).unsqueeze(2)
    return (values.masked_fill(~units.valid.unsqueeze(2), 0.0)).sum(1) / weights.sum(1).clamp_min(1)
