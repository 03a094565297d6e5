"""Finding the feature map in a layer's output, and bringing it into the form [batch, channels, height, width]."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lightning_explain.attribution.grad_cam.tensor_axes import CHANNELS, COLUMNS, ROWS, TOKENS, Axes, Dimension, holds


@dataclass(frozen=True)
class FeatureMap:
    """The places and channels of a feature map in a layer's output.

    Attributes:
        order: The output's dimensions as [batch, channels, height, width], or as [batch, channels, tokens].
        n_places: Height times width.
        grid: Of tokens: height and width of the grid of patches; None for a map.
        first: Of tokens: place of the first patch.

    Example:
        >>> import torch
        >>> FeatureMap((0, 2, 1), 6, (2, 3), 1).of(torch.rand(5, 7, 4)).shape
        torch.Size([5, 4, 2, 3])
    """

    order: tuple[int, ...]
    n_places: int
    grid: tuple[int, int] | None = None
    first: int = 0

    def of(self, values: Tensor) -> Tensor:
        """Return the map in values or gradients of the output: [batch, channels, height, width]."""
        values = values.permute(self.order)
        if self.grid is None:
            return values
        return values[..., self.first : self.first + self.n_places].unflatten(-1, self.grid)

    def is_bypassed(self, gradient: Tensor) -> bool:
        """Return True if the score depends on other tokens alone: behind the last attention, on the class token."""
        return self.grid is not None and bool(gradient.any()) and not bool(self.of(gradient).any())


def channels_at(dim: int, shape: Sequence[int]) -> FeatureMap:
    """Return the map in an output with four dimensions of which it is said which counts channels.

    Example:
        >>> channels_at(-1, (5, 2, 3, 4))
        FeatureMap(order=(0, 3, 1, 2), n_places=6, grid=None, first=0)
    """
    dim %= 4
    height, width = (place for place in (1, 2, 3) if place != dim)
    return FeatureMap((0, dim, height, width), shape[height] * shape[width])


def find_feature_map(axes: Axes | None) -> FeatureMap | None:
    """Find the feature map in an output by what its dimensions hold; None where they do not tell."""
    if axes is None:
        return None
    kinds = [holds(dimension) for dimension in axes]
    sizes = [_size(dimension) for dimension in axes]
    return _in_map(kinds, sizes) if len(axes) == 4 else _in_tokens(axes, kinds)


def _size(dimension: Dimension) -> int:
    size = 1
    for part in dimension:
        size *= part.size
    return size


def _in_map(kinds: list[tuple[str, ...]], sizes: list[int]) -> FeatureMap | None:
    rows = [place for place in (1, 2, 3) if kinds[place] == (ROWS,)]
    columns = [place for place in (1, 2, 3) if kinds[place] == (COLUMNS,)]
    channels = [place for place in (1, 2, 3) if kinds[place] == (CHANNELS,)]
    if len(rows) == len(columns) == 1:
        # where the places are known, what is left are the channels
        (left,) = {1, 2, 3} - {*rows, *columns}
        return FeatureMap((0, left, *rows, *columns), sizes[rows[0]] * sizes[columns[0]])
    others = [place for place in (1, 2, 3) if place not in channels]
    if len(channels) == 1 and all(kinds[place] in ((), (ROWS,), (COLUMNS,)) for place in others):
        return channels_at(channels[0], sizes)
    return None


def _in_tokens(axes: Axes, kinds: list[tuple[str, ...]]) -> FeatureMap | None:
    tokens = [place for place in (1, 2) if kinds[place] in ((TOKENS,), (ROWS, COLUMNS))]
    if len(tokens) != 1:
        return None
    place = tokens[0]
    first, grid = (axes[place][0].first, axes[place][0].grid) if kinds[place] == (TOKENS,) else (0, axes[place])
    sides = [part.size for part in grid if part.holds in (ROWS, COLUMNS)]
    if len(grid) != 2 or len(sides) != 2 or grid[0].holds != ROWS:
        return None
    return FeatureMap((0, 3 - place, place), sides[0] * sides[1], (sides[0], sides[1]), first)
