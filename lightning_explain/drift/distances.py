"""Drift: distances between two explanations of the same probe, each with its error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lightning_explain.attribution.result import Attribution, flat, parts_of
from lightning_explain.batches import Inputs
from lightning_explain.drift.error import COVERAGE, DistanceErrors, distance_errors, error_share
from lightning_explain.drift.similarity import (
    correlation,
    cosine_distance,
    rank_direction,
    relative_l1,
    spearman,
    structural_similarity,
    top_k_overlap,
    top_k_spread,
)
from lightning_explain.errors import ConfigurationError

MEASURES = ("cosine", "spearman", "spearman_absolute", "top_k", "relative_l1", "ssim")
"""The distances of `drift`: 0 means unchanged, larger means further."""

TOP_SHARE = 0.1
"""The k of `top_k` is this share of the features, at least 1."""


@dataclass(frozen=True, eq=False)
class Comparable:
    """Attributions prepared for comparison: what several comparisons share is computed once, on first use.

    Attributes:
        values: Attributions [batch, ...], or a tuple of them.
    """

    values: Inputs

    @cached_property
    def rows(self) -> Tensor:
        """Return all parts side by side: [batch, features]."""
        return flat(self.values)

    @cached_property
    def ranks(self) -> Tensor:
        """Return the direction of the ranks of the signed values: [batch, features]."""
        return rank_direction(self.rows)

    @cached_property
    def absolute_ranks(self) -> Tensor:
        """Return the direction of the ranks of the absolute values: [batch, features]."""
        return rank_direction(self.rows.abs())

    @property
    def maps(self) -> Tensor | None:
        """Return images summed over their channels, [batch, 1, height, width]; None for any other form."""
        first = parts_of(self.values)[0]
        return first.sum(1, keepdim=True) if first.ndim == 4 and min(first.shape[-2:]) >= 3 else None

    @property
    def shapes(self) -> list[list[int]]:
        """Return the shape of each part."""
        return [list(part.shape) for part in parts_of(self.values)]


def distances(
    values: Inputs | Comparable, reference: Inputs | Comparable, measures: Sequence[str] = MEASURES
) -> dict[str, Tensor]:
    """Return the distance of each sample's explanation to its reference, by measure.

    Args:
        values: Attributions [batch, ...].
        reference: Attributions of the same shape to compare with.
        measures: Names from `MEASURES`; `ssim` is left out for anything but images [batch, channels, H, W].

    Returns:
        Distances [batch] by measure. Correlations, overlaps and similarities are turned into `1 - x`, so that 0
        means unchanged everywhere. NaN where a measure is undefined for a sample.

    Raises:
        ConfigurationError: The shapes differ, so these are explanations of two different probes.
    """
    a, b = _comparable(values), _comparable(reference)
    if a.shapes != b.shapes:
        raise ConfigurationError(
            f"Explanations of shape {a.shapes} and {b.shapes} cannot be compared; expected the same probe twice."
        )
    maps_a, maps_b = a.maps, b.maps
    by_name: dict[str, Callable[[], Tensor]] = {
        "cosine": lambda: cosine_distance(a.rows, b.rows),
        "spearman": lambda: 1 - correlation(a.ranks, b.ranks),
        "spearman_absolute": lambda: 1 - correlation(a.absolute_ranks, b.absolute_ranks),
        "top_k": lambda: 1 - top_k_overlap(a.rows, b.rows, top_count(a.rows)),
        "relative_l1": lambda: relative_l1(a.rows, b.rows),
    }
    if maps_a is not None and maps_b is not None:
        by_name["ssim"] = lambda: 1 - structural_similarity(maps_a, maps_b)
    return {name: by_name[name]() for name in measures if name in by_name or name != "ssim"}


def top_count(rows: Tensor) -> int:
    """Return the k of `top_k` for rows [batch, features]."""
    return max(1, round(TOP_SHARE * rows.shape[1]))


def _comparable(values: Inputs | Comparable) -> Comparable:
    return values if isinstance(values, Comparable) else Comparable(values)


def _shared_maps(a: Comparable, b: Comparable) -> tuple[Tensor, Tensor] | None:
    """Return both as rows of their maps if these have one size; None otherwise."""
    if a.maps is None or b.maps is None or a.maps.shape != b.maps.shape:
        return None
    return flat(a.maps), flat(b.maps)


def can_agree(a: Comparable, b: Comparable) -> bool:
    """Return True if two methods' attributions can be compared: equal shapes, or maps of equal height and width."""
    return a.shapes == b.shapes or _shared_maps(a, b) is not None


def agreement(a: Inputs | Comparable, b: Inputs | Comparable) -> Tensor:
    """Return the agreement of two methods on the order of the features: Spearman's correlation of the signed values.

    Methods have different units, and ranks have none. Where the shapes differ (Grad-CAM gives one map for all
    channels of an image), the sums over the channels are compared.

    Args:
        a: One method's attributions [batch, ...].
        b: Another method's, of the same samples.

    Returns:
        Correlation [batch], -1 to 1; NaN where either is constant.

    Raises:
        ConfigurationError: The shapes have nothing to do with each other.

    Example:
        >>> import torch
        >>> agreement(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 30.0, 20.0]]))
        tensor([0.5000])
    """
    one, other = _comparable(a), _comparable(b)
    if one.shapes == other.shapes:
        return correlation(one.ranks, other.ranks)
    maps = _shared_maps(one, other)
    if maps is None:
        raise ConfigurationError(
            f"Attributions of shape {one.shapes} and {other.shapes} cannot be compared; expected the same shape, or "
            "images of the same height and width."
        )
    return spearman(*maps)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The distance between two explanations of one probe.

    Attributes:
        values: Distance per sample [batch], by measure; NaN where undefined.
        errors: Their numerical errors by measure; None where a method has no coarser rule that would tell them.
    """

    values: dict[str, Tensor]
    errors: dict[str, DistanceErrors] | None

    def mean(self, measure: str, samples: Tensor | None = None) -> float:
        """Average a measure over the samples for which it is defined (all, or those of a boolean mask)."""
        values = self.values[measure]
        return float((values if samples is None else values[samples]).nanmean())

    def error(self, measure: str, samples: Tensor | None = None) -> float:
        """Estimate the quadrature error of `mean`: 95 of 100 true errors are smaller; NaN where it is unknown."""
        defined = ~self.values[measure].isnan()
        chosen = defined if samples is None else defined & samples
        if self.errors is None or not bool(chosen.any()):
            return float("nan")
        return COVERAGE[measure] * self.errors[measure].of_mean(chosen)


@dataclass(frozen=True, eq=False)
class ComparableExplanation:
    """An explanation prepared for repeated comparison: with the previous one, the first, the next.

    Attributes:
        attribution: The explanation.
        fine: Its values.
        coarse: The same by the coarser rule; None where the method has none.
    """

    attribution: Attribution
    fine: Comparable
    coarse: Comparable | None

    @classmethod
    def of(cls, attribution: Attribution) -> "ComparableExplanation":
        """Prepare an explanation; nothing is computed before it is needed."""
        coarse = None if attribution.coarse is None else Comparable(attribution.coarse)
        return cls(attribution, Comparable(attribution.values), coarse)


@dataclass(frozen=True, eq=False)
class _Rules:
    """An explanation by each of its two quadrature rules."""

    fine: Comparable
    coarse: Comparable
    share: Tensor

    @classmethod
    def of(cls, explanation: ComparableExplanation) -> "_Rules | None":
        if explanation.coarse is None:
            return None
        fine, coarse = explanation.fine, explanation.coarse
        return cls(fine, coarse, error_share(explanation.attribution.error, fine.rows, coarse.rows))

    def top_k_spread(self) -> Tensor:
        """Return the effect of the values' errors on the set of the largest: [batch]."""
        rows = self.fine.rows
        return top_k_spread(rows, self.share[:, None] * (self.coarse.rows - rows).abs(), top_count(rows))


def drift(
    now: Attribution | ComparableExplanation,
    reference: Attribution | ComparableExplanation,
    measures: Sequence[str] = MEASURES,
) -> Drift:
    """Compute the drift of an explanation from a reference explanation of the same probe.

    Args:
        now: The explanation; as a `ComparableExplanation` where it is compared more than once.
        reference: What it is compared with; must explain the same targets of the same samples.
        measures: Names from `MEASURES`.

    Cost: none through the model; for images three SSIM.

    Raises:
        ConfigurationError: The two explain different outputs, or differ in shape.
    """
    one, other = (
        each if isinstance(each, ComparableExplanation) else ComparableExplanation.of(each) for each in (now, reference)
    )
    _check_same_question(one.attribution, other.attribution)
    values = distances(one.fine, other.fine, measures)
    one, other = _Rules.of(one), _Rules.of(other)
    return Drift(values=values, errors=None if one is None or other is None else _errors(values, one, other))


def _errors(values: dict[str, Tensor], one: _Rules, other: _Rules) -> dict[str, DistanceErrors]:
    coarse_now = distances(one.coarse, other.fine, tuple(values))
    coarse_reference = distances(one.fine, other.coarse, tuple(values))
    errors = {
        name: distance_errors(
            values[name],
            coarse_now=coarse_now[name],
            coarse_reference=coarse_reference[name],
            share_now=one.share,
            share_reference=other.share,
        )
        for name in values
    }
    if "top_k" in errors:
        spreads = errors["top_k"].spread, one.top_k_spread(), other.top_k_spread()
        errors["top_k"] = replace(errors["top_k"], spread=torch.stack(spreads).square().sum(0).sqrt())
    return errors


def _check_same_question(now: Attribution, reference: Attribution) -> None:
    """Refuse to compare answers to different questions."""
    for classes, others, words in (
        (now.target, reference.target, ("targets", "the single output", "outputs")),
        (now.contrast, reference.contrast, ("contrasts", "none", "minus outputs")),
    ):
        if (None if classes is None else classes.tolist()) != (None if others is None else others.tolist()):
            what, missing, several = words
            one, other = (_listed(each, missing=missing, several=several) for each in (classes, others))
            raise ConfigurationError(
                f"The explanations have different {what} ({one} against {other}), so their distance would mix a "
                "changed question with a changed answer. Explain the same output of each sample both times."
            )


def _listed(classes: Tensor | None, *, missing: str, several: str) -> str:
    if classes is None:
        return missing
    listed = ", ".join(str(index) for index in classes.tolist()[:8])
    return f"{several} {listed}{', ...' if len(classes) > 8 else ''}"
