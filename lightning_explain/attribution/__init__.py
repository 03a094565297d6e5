"""Attribution methods: pure functions from (model, inputs, target) to an `Attribution`."""

from lightning_explain.attribution.integrated_gradients import IntegratedGradients
from lightning_explain.attribution.result import Attribution, Method

__all__ = ["Attribution", "IntegratedGradients", "Method"]
