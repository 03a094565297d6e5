"""Division of inputs and layers into units: neurons, channels, features, patches of an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.errors import ConfigurationError

Box = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""

PATCHES_ACROSS = 7
MOST_FEATURES = 1024


@dataclass(frozen=True, eq=False)
class InputUnits:
    """Division of one input into units.

    Attributes:
        labels: Unit of each element of a sample [...], counted from 0.
        names: Name of each unit.
        boxes: For images: where each patch lies; empty for others.
    """

    labels: Tensor
    names: tuple[str, ...]
    boxes: tuple[Box, ...] = ()


def is_image(part: Tensor) -> bool:
    """Return True if an input [batch, ...] has two spatial dimensions, so that it is divided into patches."""
    return part.ndim in (3, 4) and min(part.shape[-2:]) > 1


def _patches(shape: torch.Size, patch: int) -> InputUnits:
    height, width = shape[-2:]
    rows, columns = torch.arange(height) // patch, torch.arange(width) // patch
    across = int(columns[-1]) + 1
    labels = rows[:, None] * across + columns[None, :]
    boxes = [
        (top, left, min(patch, height - top), min(patch, width - left))
        for top in range(0, height, patch)
        for left in range(0, width, patch)
    ]
    names = tuple(f"row {top}-{top + h - 1}, column {left}-{left + w - 1}" for top, left, h, w in boxes)
    return InputUnits(labels.expand(shape).contiguous(), names, tuple(boxes))


def _features(shape: torch.Size, feature_names: Sequence[str]) -> InputUnits:
    n_features = shape.numel()
    block = -(-n_features // MOST_FEATURES)
    labels = torch.arange(n_features) // block
    if block > 1:
        ends = [min(first + block, n_features) - 1 for first in range(0, n_features, block)]
        names = tuple(f"features {end - end % block}-{end}" for end in ends)
    else:
        names = tuple(feature_names) or tuple(f"feature {index}" for index in range(n_features))
    return InputUnits(labels.reshape(shape), names)


def input_units(
    parts: tuple[Tensor, ...],
    *,
    feature_names: Sequence[str] = (),
    patch: int | None = None,
    given: Sequence[InputUnits | None] = (),
) -> tuple[InputUnits, ...]:
    """Divide each input into units: an image into patches, ids [batch, tokens] by token, anything else by feature.

    Patches are square, with all channels together.

    Args:
        parts: The inputs, each [batch, ...].
        feature_names: Names of the features of the first input, if it is no image.
        patch: Side of a patch in pixels; by default about seven patches along the longer side.
        given: Units of the inputs whose shape does not tell them; None, or nothing, for others.

    Raises:
        ConfigurationError: `patch` is below 1.

    Example:
        >>> (found,) = input_units((torch.zeros(2, 1, 28, 28),))
        >>> len(found.names), found.boxes[8], found.names[0]
        (49, (4, 4, 4, 4), 'row 0-3, column 0-3')
    """
    if patch is not None and patch < 1:
        raise ConfigurationError(f"patch={patch}; expected the side of a patch in pixels, at least 1, or None.")
    units: list[InputUnits] = []
    for place, part in enumerate(parts):
        own = given[place] if place < len(given) else None
        if own is not None:
            units.append(own)
        elif part.ndim == 2 and not part.is_floating_point():
            units.append(InputUnits(torch.arange(part.shape[1]), tuple(f"token {at}" for at in range(part.shape[1]))))
        elif is_image(part):
            units.append(_patches(part.shape[1:], patch or max(1, round(max(part.shape[-2:]) / PATCHES_ACROSS))))
        else:
            units.append(_features(part.shape[1:], feature_names if place == 0 else ()))
    return tuple(units)


def neuron_labels(shape: torch.Size, unit_dim: int, *, keep_positions: bool) -> Tensor:
    """Number the units of a layer's output, given the shape of one sample's.

    Args:
        shape: Shape without the batch.
        unit_dim: 0 for channels first, -1 for features last.
        keep_positions: Whether each position of a channel is a unit of its own.

    Returns:
        LongTensor of that shape.

    Example:
        >>> neuron_labels(torch.Size([2, 1, 2]), 0, keep_positions=False).tolist()
        [[[0, 0]], [[1, 1]]]
    """
    if keep_positions:
        return torch.arange(shape.numel()).reshape(shape)
    view = [1] * len(shape)
    view[unit_dim] = -1
    return torch.arange(shape[unit_dim]).reshape(view).expand(shape).contiguous()
