"""ActiveNeuronMonitor and what it is made of."""

from lightning_explain.callbacks.neurons.monitor import ActiveNeuronMonitor

__all__ = ["ActiveNeuronMonitor"]
