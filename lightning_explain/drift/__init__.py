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
from lightning_explain.drift.similarity import (
    cosine_distance,
    relative_l1,
    spearman,
    structural_similarity,
    top_k_overlap,
)

__all__ = [
    "MEASURES",
    "TOP_SHARE",
    "Comparable",
    "ComparableExplanation",
    "Drift",
    "agreement",
    "can_agree",
    "cosine_distance",
    "distances",
    "drift",
    "relative_l1",
    "spearman",
    "structural_similarity",
    "top_count",
    "top_k_overlap",
]
