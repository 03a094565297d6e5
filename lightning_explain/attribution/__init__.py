"""Attribution methods: pure functions from (model, inputs, target) to an `Attribution`."""

from lightning_explain.attribution.integrated_gradients import IntegratedGradients
from lightning_explain.attribution.lrp import LRP
from lightning_explain.attribution.lrp_composites import ByLayer, Composite, Epsilon, EpsilonGammaBox, EpsilonPlusFlat
from lightning_explain.attribution.lrp_input_rules import FlatRule, InputRule, WSquareRule, ZBoxRule
from lightning_explain.attribution.lrp_rules import (
    AlphaBetaRule,
    EpsilonRule,
    GammaRule,
    Rule,
    ZeroRule,
    ZPlusRule,
)
from lightning_explain.attribution.result import Attribution, Method

__all__ = [
    "LRP",
    "AlphaBetaRule",
    "Attribution",
    "ByLayer",
    "Composite",
    "Epsilon",
    "EpsilonGammaBox",
    "EpsilonPlusFlat",
    "EpsilonRule",
    "FlatRule",
    "GammaRule",
    "InputRule",
    "IntegratedGradients",
    "Method",
    "Rule",
    "WSquareRule",
    "ZBoxRule",
    "ZPlusRule",
    "ZeroRule",
]
