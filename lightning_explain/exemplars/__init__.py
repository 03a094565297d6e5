"""Exemplars: the samples that stand for a unit, and what in them excites it."""

from lightning_explain.exemplars.exemplar_options import Exemplars
from lightning_explain.exemplars.layer_exemplars import LayerExemplars

__all__ = ["Exemplars", "LayerExemplars"]
