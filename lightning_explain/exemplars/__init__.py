"""Exemplars: the samples that stand for a unit, and what in them excites it."""

from lightning_explain.exemplars.layer_exemplars import LayerExemplars
from lightning_explain.exemplars.options import Exemplars

__all__ = ["Exemplars", "LayerExemplars"]
