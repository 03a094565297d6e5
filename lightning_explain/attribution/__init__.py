"""Attribution methods: pure functions from (model, inputs, target) to an `Attribution`."""

from lightning_explain.attribution.baseline_kinds import blurred, data_mean, uniform_noise
from lightning_explain.attribution.baselines import NamedBaseline
from lightning_explain.attribution.conductance import (
    LayerConductance,
    integrated_gradients_and_conductance,
    neuron_importance,
)
from lightning_explain.attribution.embedding import AtEmbedding
from lightning_explain.attribution.foreign import from_captum
from lightning_explain.attribution.grad_cam import GradCAM
from lightning_explain.attribution.gradients import InputXGradient, Saliency, SmoothGrad
from lightning_explain.attribution.integrated_gradients.method import IntegratedGradients
from lightning_explain.attribution.lrp import LRP
from lightning_explain.attribution.lrp.composites import ByLayer, Composite, Epsilon, EpsilonGammaBox, EpsilonPlusFlat
from lightning_explain.attribution.lrp.input_rules import FlatRule, InputRule, WSquareRule, ZBoxRule
from lightning_explain.attribution.lrp.rules import (
    AlphaBetaRule,
    EpsilonRule,
    GammaRule,
    Rule,
    ZeroRule,
    ZPlusRule,
)
from lightning_explain.attribution.result import Attribution, Method
from lightning_explain.attribution.traits import MethodTraits, as_method, traits_of

__all__ = [
    "LRP",
    "AlphaBetaRule",
    "AtEmbedding",
    "Attribution",
    "ByLayer",
    "Composite",
    "Epsilon",
    "EpsilonGammaBox",
    "EpsilonPlusFlat",
    "EpsilonRule",
    "FlatRule",
    "GammaRule",
    "GradCAM",
    "InputRule",
    "InputXGradient",
    "IntegratedGradients",
    "LayerConductance",
    "Method",
    "MethodTraits",
    "NamedBaseline",
    "Rule",
    "Saliency",
    "SmoothGrad",
    "WSquareRule",
    "ZBoxRule",
    "ZPlusRule",
    "ZeroRule",
    "as_method",
    "blurred",
    "data_mean",
    "from_captum",
    "integrated_gradients_and_conductance",
    "neuron_importance",
    "traits_of",
    "uniform_noise",
]
