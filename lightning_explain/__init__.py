"""Explanations of a network while PyTorch Lightning trains it: what it looks at, and which neurons it uses.

Importing this package loads neither torch nor lightning; the names below are loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_explain.attribution import LRP as LRP
    from lightning_explain.attribution import Attribution as Attribution
    from lightning_explain.attribution import GradCAM as GradCAM
    from lightning_explain.attribution import InputXGradient as InputXGradient
    from lightning_explain.attribution import IntegratedGradients as IntegratedGradients
    from lightning_explain.attribution import LayerConductance as LayerConductance
    from lightning_explain.attribution import Saliency as Saliency
    from lightning_explain.attribution import SmoothGrad as SmoothGrad
    from lightning_explain.callbacks import ActiveNeuronMonitor as ActiveNeuronMonitor
    from lightning_explain.callbacks import AttributionMonitor as AttributionMonitor
    from lightning_explain.callbacks import DecisionPathMonitor as DecisionPathMonitor
    from lightning_explain.display import Display as Display
    from lightning_explain.drift_alert import DriftAlert as DriftAlert
    from lightning_explain.neurons import ActiveNeurons as ActiveNeurons
    from lightning_explain.probe import Probe as Probe
    from lightning_explain.replaying import replay as replay
    from lightning_explain.strategies.strategy_options import Strategies as Strategies

__version__ = "1.0.0rc1"

_HOME = {
    "ActiveNeuronMonitor": "lightning_explain.callbacks",
    "ActiveNeurons": "lightning_explain.neurons",
    "Attribution": "lightning_explain.attribution",
    "AttributionMonitor": "lightning_explain.callbacks",
    "DecisionPathMonitor": "lightning_explain.callbacks",
    "Display": "lightning_explain.display",
    "DriftAlert": "lightning_explain.drift_alert",
    "GradCAM": "lightning_explain.attribution",
    "InputXGradient": "lightning_explain.attribution",
    "IntegratedGradients": "lightning_explain.attribution",
    "LRP": "lightning_explain.attribution",
    "LayerConductance": "lightning_explain.attribution",
    "Probe": "lightning_explain.probe",
    "Saliency": "lightning_explain.attribution",
    "SmoothGrad": "lightning_explain.attribution",
    "Strategies": "lightning_explain.strategies.strategy_options",
    "replay": "lightning_explain.replaying",
}

__all__ = [
    "LRP",
    "ActiveNeuronMonitor",
    "ActiveNeurons",
    "Attribution",
    "AttributionMonitor",
    "DecisionPathMonitor",
    "Display",
    "DriftAlert",
    "GradCAM",
    "InputXGradient",
    "IntegratedGradients",
    "LayerConductance",
    "Probe",
    "Saliency",
    "SmoothGrad",
    "Strategies",
    "replay",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
