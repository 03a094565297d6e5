"""The Lightning callbacks: when, on what, what to log."""

from lightning_explain.callbacks.attribution import AttributionMonitor
from lightning_explain.callbacks.neurons import ActiveNeuronMonitor
from lightning_explain.callbacks.paths import DecisionPathMonitor

__all__ = ["ActiveNeuronMonitor", "AttributionMonitor", "DecisionPathMonitor"]
