"""Outputs of watched layers, arranged for counting: samples first, units in one dimension, padding marked."""

from torch import Tensor

from lightning_explain.capture import Call, Layer, first_activations
from lightning_explain.neurons.views import AttentionHeads, HeadsBeforeProjection, Units

Layout = tuple[str, ...]


def _unfolded(values: Tensor, layout: Layout, n_samples: int) -> tuple[Tensor, Layout] | None:
    """Split the samples off into a dimension of their own; None if they cannot be separated from the rest."""
    place = next((i for i, letters in enumerate(layout) if "b" in letters), None)
    if place is None:
        return None
    letters = layout[place]
    if letters == "b":
        return values, layout
    first, last = letters.startswith("b"), letters.endswith("b")
    if letters.count("b") > 1 or not (first or last) or not n_samples or values.shape[place] % n_samples:
        return None
    rest = values.shape[place] // n_samples
    values = values.unflatten(place, (n_samples, rest) if first else (rest, n_samples))
    parts = ("b", letters[1:]) if first else (letters[:-1], "b")
    return values, (*layout[:place], *parts, *layout[place + 1 :])


def _valid(values: Tensor, letters: Layout, padding: Tensor | None) -> Tensor | None:
    """Return a mask [batch, positions] of those that are not padding; values are [batch, positions..., units]."""
    if padding is None or letters.count("t") != 1:
        return None
    place = letters.index("t")
    n_tokens = values.shape[place + 1]
    if len(padding) != len(values) or padding.shape[1] < n_tokens:
        return None
    shape = [len(values), *(n_tokens if i == place else 1 for i in range(len(letters)))]
    valid = ~padding[:, :n_tokens].to(values.device)
    return valid.reshape(shape).expand(values.shape[:-1]).flatten(1)


def arranged(values: Tensor, layout: Layout, *, n_samples: int, padding: Tensor | None = None) -> Units | None:
    """Arrange a layer's output in the order in which units are counted.

    Args:
        values: As the layer gave them.
        layout: What lies along each dimension, as in `CallUse.layout`. Several dimensions of units are put together.
        n_samples: Samples in the batch; 0 if unknown.
        padding: Boolean [batch, tokens]: True for padding.

    Returns:
        None where no dimension holds the samples alone, or none holds units.

    Example:
        >>> import torch
        >>> arranged(torch.zeros(5, 3, 7), ("p", "b", "u"), n_samples=3).values.shape
        torch.Size([3, 5, 7])
        >>> arranged(torch.zeros(3, 7, 4, 4), ("b", "u", "p", "p"), n_samples=3).unit_dim
        1
    """
    unfolded = _unfolded(values, layout, n_samples)
    if unfolded is None:
        return None
    values, layout = unfolded
    batch = layout.index("b")
    rest = [i for i in range(len(layout)) if i != batch]
    units = [i for i in rest if "u" in layout[i]] or (rest if len(rest) == 1 else [])
    if not units:
        return None
    if padding is None and batch == 0 and units == [1]:
        return Units(values, unit_dim=1)
    positions = [i for i in rest if i not in units]
    values = values.permute(batch, *positions, *units).flatten(1 + len(positions))
    return Units(values, _valid(values, tuple(layout[i] for i in positions), padding))


def _viewed(call: Call, layer: Layer, key: str, n_samples: int) -> Units | None:
    """Return the units of a layer whose output alone does not show them."""
    layout = layer.use(key).layout
    if not isinstance(layer.view, HeadsBeforeProjection) or layout is None or not call.args:
        return layer.view(call) if layer.view is not None else None
    found = arranged(call.args[0], layout, n_samples=n_samples, padding=call.padding)
    if found is None:
        return None
    values = found.values.movedim(found.unit_dim, -1)
    by_position = values.flatten(1, -2) if values.ndim > 2 else values[:, None]
    units: Units | None = layer.view(call._replace(args=(by_position,)))
    return None if units is None else units._replace(valid=found.valid)


def units_of(given: Tensor | Call, layer: Layer, key: str, *, n_samples: int) -> Units | None:
    """Return the units of one call of a watched layer; None if they are unknown.

    Args:
        given: The layer's output, or the whole call.
        layer: The layer.
        key: The call: `name`, `name#1`, ...
        n_samples: Samples in the batch; 0 if unknown.
    """
    use = layer.use(key)
    if use.is_reordered:
        return None
    by_view = isinstance(layer.view, AttentionHeads | HeadsBeforeProjection) or use.layout is None
    if isinstance(given, Call) and layer.view is not None and (by_view or layer.host is not None):
        units = _viewed(given, layer, key, n_samples)
        return units if units is None or use.then is None else units._replace(values=use.then(units.values))
    padding = given.padding if isinstance(given, Call) else None
    values = first_activations(given.output if isinstance(given, Call) else given)
    layout = None if values is None else layer.layout_of(values, key)
    if values is None or layout is None:
        return None
    values = values if use.then is None else use.then(values)
    return arranged(values, layout, n_samples=n_samples, padding=padding)
