"""Drift: distances between two explanations of the same probe, each with its error."""

from lightning_explain.drift.distances import (
    MEASURES,
    TOP_SHARE,
    Comparable,
    ComparableExplanation,
    Drift,
    agreement,
    can_agree,
    distances,
    drift,
    top_count,
)

__all__ = [
    "MEASURES",
    "TOP_SHARE",
    "Comparable",
    "ComparableExplanation",
    "Drift",
    "agreement",
    "can_agree",
    "distances",
    "drift",
    "top_count",
]
