"""Attributions by places that mean the same in every sample, and words for such places."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_explain.render.modalities import drawn_as, modality_of
from lightning_explain.render.modality import Shown
from lightning_explain.strategies import pooled

STEPS = 64
"""Cells of a time series."""

MOST_NAMES = 1024
"""Words that are kept apart, those with most relevance."""

FEWEST = 4
"""Samples that a word is in, at least."""

N_NAMED = 3
ROWS, COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Attributions of samples to an input, by places that are the same in every sample.

    Attributes:
        values: Attributions [n, places...].
        names: Names of the places: words, features; empty for places on a grid.
        size: Size of the input along the same axes, for words about places.
        input_name: Name of the input where a sample has several.
    """

    values: Tensor
    names: Sequence[str] = ()
    size: Sequence[int] = ()
    input_name: str = ""

    def where(self, difference: Tensor) -> str:
        """Describe the places where a difference [places...] is largest."""
        words = self._named(difference.flatten()) if self.names else _on_grid(difference, self.size)
        return f"{words} of {self.input_name}" if self.input_name else words

    def _named(self, difference: Tensor) -> str:
        top = difference.topk(min(N_NAMED, len(difference)))
        best = float(top.values[0])
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return " and ".join(f"“{self.names[i]}”" for i, value in pairs if value >= best / 2)


def profile_of(shown: Shown, values: Tensor, heat: Tensor) -> Profile:
    """Return the profile of samples' attributions.

    Images and signals are pooled to cells; tables have their features; words are added up by word, wherever they
    stand: two texts have the same word, not the same place, in common.

    Args:
        shown: The input.
        values: Its attributions, or some of them, by which the way they are drawn is known.
        heat: Attributions of all samples by place [n, places...], as `Modality.heat`.
    """
    drawn = drawn_as(shown, values)
    if drawn.form is None:
        return Profile(values=heat, names=_numbered(heat), input_name=shown.name)
    kind = modality_of(drawn)
    words = [kind.place_names(drawn, row) for row in range(len(heat))]
    if any(words):
        table, names = by_name(words, heat, [drawn.places(row) for row in range(len(heat))])
        return Profile(values=table, names=names, input_name=shown.name)
    if kind.layout == "bars":
        names = drawn.feature_names or _numbered(heat)
        return Profile(values=heat.flatten(1), names=names, input_name=shown.name)
    sides = drawn.inputs.shape[-heat.ndim + 1 :] if heat.ndim > 2 else heat.shape[1:]
    cells = pooled(heat.float(), STEPS) if heat.ndim == 2 else pooled(heat.float())
    return Profile(values=cells, size=tuple(sides), input_name=shown.name)


def _numbered(heat: Tensor) -> list[str]:
    return [f"feature {number}" for number in range(heat[0].numel())]


def by_name(words: Sequence[Sequence[str]], heat: Tensor, places: Sequence[Sequence[int]]) -> tuple[Tensor, list[str]]:
    """Add up attributions by the names of their places.

    Args:
        words: Names of each sample's places.
        heat: Attributions [n, places].
        places: The places of each sample that count; padding does not.

    Returns:
        Attributions [n, names], and the names: those with most relevance.

    Example:
        >>> by_name([["a", "b", "a"]], torch.tensor([[1.0, 2.0, 4.0]]), [[0, 1, 2]])
        (tensor([[5., 2.]]), ['a', 'b'])
    """
    index: dict[str, int] = {}
    for row, own in enumerate(places):
        for place in own:
            index.setdefault(words[row][place], len(index))
    table = heat.new_zeros(len(heat), len(index))
    for row, own in enumerate(places):
        columns = torch.tensor([index[words[row][place]] for place in own], dtype=torch.long)
        table[row].index_add_(0, columns, heat[row, list(own)])
    names = list(index)
    n_samples = (table != 0).sum(0)
    # what a few samples have in common is no strategy, but most words are of that kind and would blur the others
    common = (n_samples >= min(FEWEST, len(heat))).nonzero().flatten()
    common = common[table[:, common].abs().sum(0).argsort(descending=True, stable=True)[:MOST_NAMES]].sort().values
    return table[:, common], [names[i] for i in common.tolist()]


def _on_grid(difference: Tensor, size: Sequence[int]) -> str:
    """Describe places on a grid: steps of a time series, a part of an image."""
    strong = difference.clamp_min(0)
    strong = strong * (strong >= strong.max() / 2)
    if difference.ndim == 1:
        cells = strong.nonzero().flatten()
        width = size[0] / len(difference) if size else 1
        return f"steps {round(float(cells[0]) * width)} to {round((float(cells[-1]) + 1) * width)}"
    if difference.ndim != 2:
        return f"cell {tuple(int(place) for place in strong.nonzero()[0])}"
    total = float(strong.sum()) or 1.0
    parts: list[str] = []
    for axis, names in ((1, ROWS), (0, COLUMNS)):
        profile = strong.sum(axis) / total
        places = (torch.arange(len(profile)) + 0.5) / len(profile)
        centre = float((profile * places).sum())
        if float((profile * (places - centre).square()).sum()) ** 0.5 > 1 / 4:
            parts.append("")  # all over this axis
        else:
            parts.append(names[min(2, int(3 * centre))])
    return _region(*parts)


def _region(row: str, column: str) -> str:
    """Name a part of an image.

    Example:
        >>> _region("lower", "left"), _region("middle", "right"), _region("", "")
        ('the lower left corner', 'the right edge', 'no single place')
    """
    if not row and not column:
        return "no single place"
    if row in ("", "middle") and column in ("", "centre"):
        return "the middle"
    if row in ("", "middle"):
        return f"the {column} edge"
    if column in ("", "centre"):
        return f"the {row} edge"
    return f"the {row} {column} corner"
