"""AttributionMonitor and what it is made of."""

from lightning_explain.callbacks.attribution.monitor import AttributionMonitor

__all__ = ["AttributionMonitor"]
