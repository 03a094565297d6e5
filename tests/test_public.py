"""The public surface: a change of it must be meant."""

import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lightning_explain
from lightning_explain import attribution

PUBLIC = [
    "ActiveNeuronMonitor", "ActiveNeurons", "Attribution", "AttributionMonitor", "DecisionPathMonitor", "Display",
    "DriftAlert",
    "GradCAM", "InputXGradient",
    "IntegratedGradients", "LRP", "LayerConductance", "Probe", "Saliency", "SmoothGrad", "Strategies", "replay",
]  # fmt: skip

PUBLIC_ATTRIBUTION = [
    "LRP", "AlphaBetaRule", "AtEmbedding", "Attribution", "ByLayer", "Composite", "Epsilon", "EpsilonGammaBox",
    "EpsilonPlusFlat", "EpsilonRule", "FlatRule", "GammaRule", "GradCAM", "InputRule", "InputXGradient",
    "IntegratedGradients", "LayerConductance", "Method", "MethodTraits", "NamedBaseline", "Rule", "Saliency",
    "SmoothGrad", "WSquareRule", "ZBoxRule", "ZPlusRule", "ZeroRule", "as_method", "blurred", "data_mean",
    "from_captum", "integrated_gradients_and_conductance", "neuron_importance", "traits_of", "uniform_noise",
]  # fmt: skip

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(lightning_explain.__path__, "lightning_explain.")
    if not module.name.endswith("__main__")
)


def test_the_exported_names_are_these() -> None:
    assert sorted(lightning_explain.__all__) == PUBLIC


def test_the_exported_names_of_attribution_are_these() -> None:
    assert sorted(attribution.__all__) == sorted(PUBLIC_ATTRIBUTION)


@pytest.mark.parametrize("package", ["lightning_explain", "lightning_explain.attribution"])
def test_every_exported_name_is_there(package: str) -> None:
    module = import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Sailency'"):
        lightning_explain.Sailency  # noqa: B018


def test_importing_the_package_loads_neither_torch_nor_lightning() -> None:
    code = (
        "import sys, lightning_explain; dir(lightning_explain); "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('torch', 'lightning', 'pytorch_lightning', 'torchmetrics', 'numpy', 'matplotlib', 'tensorboard')])"
    )
    root = Path(lightning_explain.__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(lightning_explain.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("name", MODULES)
def test_every_public_class_function_and_method_is_documented(name: str) -> None:
    module = import_module(name)
    assert module.__doc__
    for attribute, value in vars(module).items():
        if attribute.startswith("_") or getattr(value, "__module__", None) != name:
            continue
        if inspect.isclass(value) or inspect.isfunction(value):
            # a dataclass writes its own one-line signature where there is none
            assert value.__doc__ and not value.__doc__.startswith(f"{attribute}("), attribute
        if inspect.isclass(value):
            for method_name, method in vars(value).items():
                if inspect.isfunction(method) and not method_name.startswith("_"):
                    assert inspect.getdoc(getattr(value, method_name)), f"{attribute}.{method_name}"
