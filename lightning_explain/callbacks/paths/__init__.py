"""DecisionPathMonitor and what it is made of."""

from lightning_explain.callbacks.paths.monitor import DecisionPathMonitor

__all__ = ["DecisionPathMonitor"]
