"""Explaining a finished run: the monitors go through its saved checkpoints."""

from lightning_explain.replaying.run import Replayed, replay

__all__ = ["Replayed", "replay"]
