"""The ways in which a network decides for a class: found in the explanations of many samples, without a mask."""

from lightning_explain.strategies.class_strategies import ClassStrategies, Strategy, find_strategies
from lightning_explain.strategies.clustering import affinity, n_by_eigengap, spectral_clusters, spectrum
from lightning_explain.strategies.effect import effect
from lightning_explain.strategies.false_discoveries import discoveries
from lightning_explain.strategies.representation import centred, pooled, unit_rows
from lightning_explain.strategies.separation import held_out_positions, mixed, separation

__all__ = [
    "ClassStrategies",
    "Strategy",
    "affinity",
    "centred",
    "discoveries",
    "effect",
    "find_strategies",
    "held_out_positions",
    "mixed",
    "n_by_eigengap",
    "pooled",
    "separation",
    "spectral_clusters",
    "spectrum",
    "unit_rows",
]
