"""Integrated gradients: the rule, where its points go, the error it states."""

from lightning_explain.attribution.integrated_gradients.method import IntegratedGradients

__all__ = ["IntegratedGradients"]
