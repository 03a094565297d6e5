"""The Lightning callbacks: when, on what, what to log."""

from lightning_explain.callbacks.attribution.monitor import AttributionMonitor
from lightning_explain.callbacks.neurons.monitor import ActiveNeuronMonitor
from lightning_explain.callbacks.paths.monitor import DecisionPathMonitor

__all__ = ["ActiveNeuronMonitor", "AttributionMonitor", "DecisionPathMonitor"]
