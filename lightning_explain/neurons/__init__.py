"""Counting of active neurons, by class."""

from lightning_explain.neurons.activity import Activity, unit_activity
from lightning_explain.neurons.metric import ActiveNeurons, ClassRates
from lightning_explain.neurons.profile import LayerProfile, turnover
from lightning_explain.neurons.rate_history import LayerHistory
from lightning_explain.neurons.units import unit_layers

__all__ = [
    "ActiveNeurons",
    "Activity",
    "ClassRates",
    "LayerHistory",
    "LayerProfile",
    "turnover",
    "unit_activity",
    "unit_layers",
]
