"""A report of a layer of four neurons and two classes, small enough to be computed by hand."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from lightning_explain.callbacks.neurons.layer_report import LayerReport
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.faithfulness.unit_effects import UnitEffects
from lightning_explain.feeding import FeedingFeatures
from lightning_explain.neurons import LayerHistory, LayerProfile

RATES = torch.tensor([[1.0, 0.6, 0.0, 0.1], [1.0, 0.2, 0.0, 0.9]])
"""Neuron 0 is always on, 1 and 3 belong to one class each, 2 is dead."""


def profile(rates: Tensor = RATES, n_samples: tuple[int, ...] = (10, 10), **changes: Any) -> LayerProfile:
    """A profile whose activations are its rates."""
    counts = torch.tensor(n_samples)
    rates = torch.where(counts[:, None] > 0, rates, torch.nan)
    mean = rates.nanmean(0)
    return dataclasses.replace(LayerProfile(rates, rates, counts, mean > 0, 0.5, mean), **changes)


def feeding(**changes: Any) -> FeedingFeatures:
    """Neuron 1 of class 0 is fed by features 2 and 0, neuron 3 of class 1 by feature 1 alone."""
    given: dict[str, Any] = {
        "classes": torch.tensor([0, 1]),
        "neurons": torch.tensor([1, 3]),
        "features": torch.tensor([[2, 0], [1, 0]]),
        "values": torch.tensor([[-2.0, 0.5], [1.25, 0.0]]),
        "maps": None,
        "shape": (3,),
        "method": "weights",
        "kernel": False,
        "n_active": torch.tensor([2, 2]),
    }
    return FeedingFeatures(**given | changes)


def layer(found: LayerProfile | None = None, **parts: Any) -> LayerReport:
    found = profile() if found is None else found
    return LayerReport(found, LayerHistory.begin(found, 3), **parts)


def report(**changes: Any) -> NeuronReport:
    given: dict[str, Any] = {
        "step": 20,
        "epoch": 3,
        "stage": "val",
        "class_names": ["cat", "dog"],
        "layers": {"fc": layer()},
    }
    return NeuronReport(**given | changes)


def effects() -> UnitEffects:
    """Without neuron 3 two of four dogs are lost, without neuron 1 nothing changes."""
    zero = torch.zeros(2, 2)
    return UnitEffects(
        units=torch.tensor([3, 1]),
        n_samples=torch.tensor([4, 4]),
        n_correct=torch.tensor([4, 4]),
        lost=torch.tensor([[0, 2], [0, 0]]),
        gained=torch.tensor([[0, 0], [0, 0]]),
        probability=zero,
        probability_error=zero,
    )
