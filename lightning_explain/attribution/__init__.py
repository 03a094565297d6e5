"""Attribution methods: pure functions from (model, inputs, target) to an `Attribution`."""

from lightning_explain.attribution.baselines import blurred, data_mean, uniform_noise
from lightning_explain.attribution.conductance import LayerConductance, integrated_gradients_and_conductance
from lightning_explain.attribution.foreign import from_captum
from lightning_explain.attribution.grad_cam import GradCAM
from lightning_explain.attribution.gradients import InputXGradient, Saliency, SmoothGrad
from lightning_explain.attribution.integrated_gradients import IntegratedGradients
from lightning_explain.attribution.result import Attribution, Method

__all__ = [
    "Attribution",
    "GradCAM",
    "InputXGradient",
    "IntegratedGradients",
    "LayerConductance",
    "Method",
    "Saliency",
    "SmoothGrad",
    "blurred",
    "data_mean",
    "from_captum",
    "integrated_gradients_and_conductance",
    "uniform_noise",
]
