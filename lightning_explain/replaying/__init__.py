"""Explaining a run afterwards: the monitors go through its saved checkpoints instead of its training."""

from lightning_explain.replaying.run import Replayed, replay

__all__ = ["Replayed", "replay"]
