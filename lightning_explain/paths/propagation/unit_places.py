"""Layers of units: which places of a pass hold units, and which of them each element belongs to."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lightning_explain.attribution.lrp.maps import ChannelScaling, Convolution, Dense
from lightning_explain.paths.path_units import InputUnits
from lightning_explain.paths.propagation.cuts import Cut
from lightning_explain.paths.propagation.readers import fates
from lightning_explain.paths.propagation.samples import SampleRows
from lightning_explain.paths.propagation.way_back import WayBack

BLOCK = re.compile(r"^(?:.*\.)?\d+(?=\.)")
"""The innermost numbered module in a layer's path."""


@dataclass(frozen=True, eq=False)
class LayerUnits:
    """The units of one layer, or of one input.

    Attributes:
        name: The layer's name.
        kind: As in `UnitLayer`.
        places: Places of the pass that hold them; several only for ids that several embeddings read.
        keys: For each place the number `sample * n_units + unit` of every element, -1 for none; the dimension of
            samples comes first, and dimensions in which it does not change have size 1.
        dims: Dimension of the samples in each place.
        n_units: How many units there are.
        n_samples: How many samples.
        zero: Of the type and on the device of sums.
        block: As in `UnitLayer`.
    """

    name: str
    kind: str
    places: tuple[int, ...]
    keys: tuple[Tensor, ...]
    dims: tuple[int, ...]
    n_units: int
    n_samples: int
    zero: Tensor
    block: str = ""

    def summed(self, values: Mapping[int, Tensor]) -> Tensor:
        """Sum values of elements by sample and unit: [samples, units], in 32 bits at least."""
        total = self.zero.new_zeros(self.n_samples * self.n_units + 1)
        for place, key, dim in zip(self.places, self.keys, self.dims, strict=True):
            if place in values:
                moved = values[place].movedim(dim, 0)
                alike = [d for d in range(1, moved.ndim) if key.shape[d] == 1 < moved.shape[d]]
                by_key = (moved.sum(alike, keepdim=True) if alike else moved).to(total)
                total.index_add_(0, key.expand_as(by_key).flatten(), by_key.flatten())
        return total[:-1].reshape(self.n_samples, self.n_units)

    def only(self, gradient: Tensor, members: Tensor) -> Tensor:
        """Keep the gradient of some units.

        Args:
            gradient: At the only place.
            members: Which units of each sample [samples, units].
        """
        return gradient * self.mask(members).to(gradient.dtype)

    def mask(self, members: Tensor) -> Tensor:
        """Return True where an element of the only place belongs to one of the given units [samples, units]."""
        (key,), (dim,) = self.keys, self.dims
        return torch.cat([members.flatten(), members.new_zeros(1)]).to(key.device)[key].movedim(0, dim)


def _zero(score: Tensor) -> Tensor:
    """Return a zero of the score's type; half precision is added up in 32 bits."""
    dtype = torch.float32 if score.dtype in (torch.float16, torch.bfloat16) else score.dtype
    return torch.zeros((), dtype=dtype, device=score.device)


def _key(rows: SampleRows, labels: Tensor, n_units: int, n_samples: int) -> Tensor:
    """Number the elements.

    Args:
        rows: Where the samples are.
        labels: Unit of each element, laid out with the samples first; -1 for none.
        n_units: How many units there are.
        n_samples: How many samples.
    """
    owner = rows.owner.reshape(-1, *[1] * (labels.ndim - 1))
    return torch.where((owner < 0) | (labels < 0), n_samples * n_units, owner * n_units + labels)


def _along(size: int, dim: int, ndim: int, device: torch.device) -> Tensor:
    shape = [1] * ndim
    shape[dim] = size
    return torch.arange(size, device=device).reshape(shape)


def _layer_labels(cut: Cut, dim: int, keep_positions: bool) -> tuple[Tensor, str] | None:
    """Number the units of a linear layer or a state; None where it is not known which dimension counts them."""
    value, layer = cut.leaf, cut.layer
    if layer is not None and not isinstance(layer, Dense | Convolution | ChannelScaling):
        return None
    unit_dim = value.ndim - 1 if layer is None or isinstance(layer, Dense) else 1
    if unit_dim == dim:
        return None
    if keep_positions and cut.kind == "layer":
        shape = value.movedim(dim, 0).shape[1:]
        return torch.arange(shape.numel(), device=value.device).reshape(1, *shape), "units"
    kind = "steps" if cut.kind == "state" else "neurons" if isinstance(layer, Dense) else "channels"
    # the dimension of samples comes first, those before it move up
    return _along(value.shape[unit_dim], unit_dim + (unit_dim < dim), value.ndim, value.device), kind


def _head_labels(way: WayBack, place: int, dim: int) -> Tensor | None:
    """Number the heads of an attention by which features of the next layer they are; None if nothing tells.

    Heads are laid side by side before the output projection: the feature of that layer which an element becomes,
    divided by the size of a head, is its head, however samples, heads, tokens and windows are arranged until then.
    """
    cut = way.cuts[place]
    for reader in sorted(way.used):
        other = way.cuts[reader]
        if place in way.reads.get(reader, ()) and isinstance(other.layer, Dense) and other.before is not None:
            read = other.before
            numbers = torch.arange(1, read.shape[-1] + 1, device=read.device).to(read).expand_as(read)
            (found,) = torch.autograd.grad(read, cut.leaf, numbers, retain_graph=True)
            labels = _heads_of_features((found - 1).movedim(dim, 0), read.shape[-1])
            if labels is not None:
                return labels
    if cut.n_heads:
        return torch.arange(cut.leaf.shape[0], device=cut.leaf.device).reshape(-1, 1, 1) % cut.n_heads
    if cut.leaf.ndim == 4 and dim == 0:
        return _along(cut.leaf.shape[1], 1, 4, cut.leaf.device)
    return None


def _heads_of_features(features: Tensor, n_features: int) -> Tensor | None:
    """Divide the feature that each element becomes by the size of a head; None if it becomes no single one.

    Args:
        features: Of each element, the samples first.
        n_features: How many there are.
    """
    if not bool(((features == features.round()) & (features >= 0) & (features < n_features)).all()):
        return None
    for dim in range(1, features.ndim):
        size = features.shape[dim]
        if size > 1 and bool((features.diff(dim=dim) == 1).all()):
            labels = features.long().div(size, rounding_mode="floor")
            for other in range(features.ndim):
                if labels.shape[other] > 1 and bool((labels == labels.narrow(other, 0, 1)).all()):
                    labels = labels.narrow(other, 0, 1)
            return labels
    return None


def input_places(way: WayBack, units: Sequence[InputUnits], names: Sequence[str]) -> list[LayerUnits]:
    """Return the units of each input."""
    found: list[LayerUnits] = []
    n_samples = len(way.score)
    for part, (name, own) in enumerate(zip(names, units, strict=True)):
        places = [p for p, cut in enumerate(way.cuts) if cut.kind == "input" and cut.part == part and p in way.used]
        keys = [_input_key(way.cuts[place], own, n_samples) for place in places]
        dims, n_units = (0,) * len(places), len(own.names)
        found.append(LayerUnits(name, "input", tuple(places), tuple(keys), dims, n_units, n_samples, _zero(way.score)))
    return found


def _input_key(cut: Cut, own: InputUnits, n_samples: int) -> Tensor:
    leaf, n_units = cut.leaf, len(own.names)
    labels = own.labels.to(leaf.device)
    if cut.origin is not None:
        # the vector that an id became belongs to the id's unit
        sample, element = cut.origin // labels.numel(), cut.origin % labels.numel()
        key = sample * n_units + labels.flatten()[element]
        return key.reshape(*key.shape, *[1] * (leaf.ndim - key.ndim))
    labels = labels[None]
    rows = SampleRows(0, torch.arange(n_samples, device=leaf.device))
    return _key(rows, labels, n_units, n_samples)


def unit_places(
    way: WayBack, gradients: Mapping[int, Tensor], rows: Mapping[int, SampleRows], *, keep_positions: bool
) -> list[LayerUnits]:
    """Find the layers of units, in the order in which they ran.

    They are the states of recurrent layers, the heads of attentions, and linear layers and convolutions: those that an
    activation follows, and those that are neither added to something else nor read by an attention. So writes to a
    residual stream, queries, keys and values only carry messages through; so does the layer of scores.
    """
    kinds = {place: cut.kind for place, cut in enumerate(way.cuts)}
    found, fate = list[LayerUnits](), fates(way)
    names = _names(way)
    for place in sorted(way.used):
        cut = way.cuts[place]
        if cut.kind in ("input", "inner") or (
            cut.kind == "layer" and place in fate and not fate[place].is_layer_of_units(kinds)
        ):
            continue
        units = _units(way, place, names[place], rows[place], keep_positions)
        if units is not None and not _is_score(units, gradients[place], place, fate[place].readers):
            found.append(units)
    return _in_blocks(found)


def _units(way: WayBack, place: int, name: str, rows: SampleRows, keep_positions: bool) -> LayerUnits | None:
    cut, n_samples = way.cuts[place], len(way.score)
    if cut.kind == "heads":
        labels, kind = _head_labels(way, place, rows.dim), "heads"
        if labels is None:
            return None
    else:
        layer = _layer_labels(cut, rows.dim, keep_positions)
        if layer is None:
            return None
        labels, kind = layer
    n_units = int(labels.max()) + 1
    key = _key(rows, labels, n_units, n_samples)
    return LayerUnits(name, kind, (place,), (key,), (rows.dim,), n_units, n_samples, _zero(way.score))


def _is_score(units: LayerUnits, gradient: Tensor, place: int, readers: set[int]) -> bool:
    """Return True for a layer of which one unit of each sample is the score, or makes it up."""
    is_open = units.summed({place: (gradient != 0).float()}) > 0
    return not readers - {-1} and -1 in readers and bool((is_open.sum(1) <= 1).all())


def _names(way: WayBack) -> dict[int, str]:
    """Name each place; later calls of the same layer are numbered, and the states of a recurrent one by step."""
    totals = Counter((cut.name, cut.kind) for place, cut in enumerate(way.cuts) if place in way.used)
    calls: Counter[tuple[str, str]] = Counter()
    found: dict[int, str] = {}
    for place in sorted(way.used):
        cut = way.cuts[place]
        call = calls[cut.name, cut.kind]
        calls[cut.name, cut.kind] += 1
        if cut.kind == "state":
            step = totals[cut.name, cut.kind] - 1 - call if cut.name.endswith("_reverse") else call
            found[place] = f"{cut.name} step {step}"
        else:
            found[place] = f"{cut.name}#{call}" if call else cut.name
    return found


def _in_blocks(found: list[LayerUnits]) -> list[LayerUnits]:
    """Note the block of the layers that share one."""

    def block(units: LayerUnits) -> str:
        if units.kind == "steps":
            return units.name.rpartition(" step ")[0]
        # a block may compute its attention itself
        match = BLOCK.match(f"{units.name}." if units.kind == "heads" else units.name)
        return match.group() if match else ""

    sizes = Counter(block(units) for units in found)
    return [replace(units, block=block(units)) if sizes[block(units)] > 1 else units for units in found]
