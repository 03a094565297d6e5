"""What monitors read off a method: declarations of objects, functions, partials and wrappers, and their defaults."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from lightning_explain.attribution import (
    LRP,
    AtEmbedding,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    MethodTraits,
    NamedBaseline,
    Saliency,
    SmoothGrad,
    as_method,
    from_captum,
    traits_of,
)
from lightning_explain.attribution.traits import for_rows, may_be_split, method_name, takes_baseline, with_baseline
from lightning_explain.errors import ConfigurationError
from tests.attribution.nets import drawn, mlp


class MyIG(IntegratedGradients):
    """A subclass with a constructor of its own."""

    def __init__(self, strength: float) -> None:
        super().__init__(baseline="mean", n_steps=3)
        object.__setattr__(self, "strength", strength)


@dataclass(frozen=True)
class Mine:
    baseline: Any = "mean"
    is_samplewise = True

    def __call__(self, model: Any, inputs: Any, target: Any = None) -> Any: ...


class Halved:
    description = "halved"

    def __init__(self, method: Callable[..., Any]) -> None:
        self.wraps = method

    def __call__(self, model: Any, inputs: Any, target: Any = None) -> Any: ...


def plain(model: Any, inputs: Any, target: Any = None, *, factor: float = 1.0) -> Any: ...


OWN = {
    "integrated gradients": (IntegratedGradients(n_steps=4, n_draws=2, baseline="noise"), True, 8),
    "adaptive": (IntegratedGradients(), True, None),
    "conductance": (LayerConductance("1", n_steps=4), True, 5),
    "lrp": (LRP(), True, 1),
    "cam": (GradCAM(), True, 1),
    "saliency": (Saliency(), True, 1),
    "input x gradient": (InputXGradient(), True, 1),
    "smooth": (SmoothGrad(n_draws=7), True, 7),
    "subclass": (MyIG(2.0), True, 3),
    "at embedding": (AtEmbedding(LRP()), True, 1),
    "at embedding, mean": (AtEmbedding(IntegratedGradients(baseline="mean")), False, None),
    "at embedding, token": (AtEmbedding(IntegratedGradients(baseline="mean"), baseline_token=0), True, None),
    "at embedding of a function": (AtEmbedding(plain), None, None),
    "function": (plain, None, None),
    "dataclass": (Mine(), True, None),
    "captum": (from_captum(captum.attr.DeepLift), True, None),
    "captum, rows of its own": (from_captum(captum.attr.DeepLift, baselines=torch.zeros(4, 3)), None, None),
    "captum, draws": (from_captum(captum.attr.GradientShap, baselines=torch.zeros(1, 3)), None, None),
    "captum, built": (from_captum(lambda model: captum.attr.NoiseTunnel(captum.attr.Saliency(model))), None, None),
    "captum, one by one": (from_captum(captum.attr.KernelShap, one_by_one=True), True, None),
}


@pytest.mark.parametrize(("method", "is_samplewise", "n_passes"), OWN.values(), ids=OWN.keys())
def test_samples_and_passes(method: Any, is_samplewise: bool | None, n_passes: int | None) -> None:
    traits = traits_of(method)
    assert (traits.is_samplewise, traits.n_passes) == (is_samplewise, n_passes)
    assert may_be_split(method, equal_passes=False) is bool(is_samplewise)
    assert may_be_split(method, equal_passes=True) is (bool(is_samplewise) and n_passes is not None)


def test_a_callable_that_declares_nothing_has_the_defaults() -> None:
    for method in (plain, functools.partial(plain, factor=2.0), lambda model, inputs, target=None: None):
        assert traits_of(method) == MethodTraits(description=method_name(method))


def test_functions_partials_and_adapters_declare_by_attributes() -> None:
    def declared(model: Any, inputs: Any, target: Any = None) -> Any: ...

    declared.is_samplewise = True  # type: ignore[attr-defined]
    assert traits_of(declared).is_samplewise
    assert traits_of(functools.partial(declared)).is_samplewise
    adapted = as_method(declared, n_passes=np.int64(3), description="mine", is_samplewise=False)
    traits = traits_of(adapted)
    assert (traits.n_passes, traits.description, traits.is_samplewise) == (3, "mine", False)
    assert traits_of(declared).is_samplewise  # the function itself is left as it is
    assert method_name(adapted) == "declared"


def test_a_wrapper_takes_what_it_does_not_declare_from_the_method_it_wraps() -> None:
    inner = IntegratedGradients(baseline="noise", seed=3, tolerance=0.2)
    traits, expected = traits_of(Halved(inner)), traits_of(inner)
    changed = {entry.name for entry in fields(traits) if getattr(traits, entry.name) != getattr(expected, entry.name)}
    assert changed == {"description"}
    at_words = traits_of(AtEmbedding(inner))
    assert (at_words.tolerance, at_words.baseline_name, at_words.accepts_integers) == (0.2, "noise, seed 3", True)
    assert traits_of(AtEmbedding(LRP())).rereads_weights
    assert traits_of(AtEmbedding(Saliency())).gives_slopes
    assert traits_of(AtEmbedding(inner, baseline_token=7)).baseline_name == "token 7"


@pytest.mark.parametrize(
    ("baseline", "name", "resolved"),
    [("zeros", "zeros", True), ("black", "black", False), (0.5, "0.5", False), (torch.zeros(2), "tensor [2]", True)],
)
def test_a_baseline_that_cannot_be_resolved_is_only_named(baseline: Any, name: str, resolved: bool) -> None:
    traits = traits_of(Mine(baseline=baseline))
    assert traits.baseline_name == name
    assert (traits.baseline is not None) is resolved
    assert not traits.has_undeclared_baseline


@pytest.mark.parametrize(
    ("name", "value"), [("is_samplewise", "yes"), ("tolerance", "small"), ("description", len), ("n_passes", 2.5)]
)
def test_a_trait_of_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"plain\.{name} is .*expected .* or None.*MethodTraits"):
        as_method(plain, **{name: value})


def test_an_unknown_trait_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="as_method got samplewise=; expected some of .*is_samplewise"):
        as_method(plain, samplewise=True)


# -- baselines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", [IntegratedGradients(n_steps=2), Mine(), MyIG(1.5), functools.partial(Mine()), LayerConductance("1")]
)
def test_with_baseline_gives_a_copy_with_another_baseline(method: Any) -> None:
    before = traits_of(method).baseline_name
    changed = with_baseline(method, NamedBaseline("grey", torch.full((1,), 0.5)))
    assert traits_of(changed).baseline_name == "grey"
    assert traits_of(method).baseline_name == before
    assert method_name(changed) == method_name(method)
    if isinstance(method, MyIG):
        assert changed.strength == 1.5  # type: ignore[attr-defined]


def test_with_baseline_is_the_methods_own_where_it_has_one() -> None:
    class Own:
        baseline = "zeros"

        def with_baseline(self, baseline: Any) -> Any:
            return ("own", baseline)

    assert with_baseline(Own(), "mean") == ("own", "mean")
    held = Halved(Mine(baseline="zeros"))
    assert traits_of(with_baseline(held, "mean")).baseline == "mean"
    assert traits_of(held).baseline == "zeros"
    assert not takes_baseline(plain)
    assert not takes_baseline(Halved(plain))
    with pytest.raises(ConfigurationError, match="cannot be given to plain.*with_baseline"):
        with_baseline(plain, "mean")
    with pytest.raises(ConfigurationError, match="token ids have none"):
        with_baseline(AtEmbedding(), "mean")


@pytest.mark.parametrize("baseline", ["mean", "noise", lambda x: 2 * x.mean(0), drawn(6, 4), "zeros"])
@pytest.mark.parametrize("kind", [IntegratedGradients, MyIG])
def test_a_share_is_explained_as_it_is_within_the_batch(kind: Any, baseline: Any) -> None:
    method = MyIG(1.0) if kind is MyIG else IntegratedGradients(n_steps=4)
    method = with_baseline(method, baseline)
    net, x, target = mlp(), drawn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    rows = [0, 2]
    whole = method(net, x, target).values
    share = for_rows(method, (x,), rows)(net, x[rows], target[rows]).values
    torch.testing.assert_close(share, whole[rows])
    if isinstance(baseline, str) and baseline != "zeros":
        assert not torch.allclose(method(net, x[rows], target[rows]).values, whole[rows])


def test_a_method_that_cannot_take_the_batchs_baseline_is_not_split() -> None:
    class Fixed:
        baseline = "mean"
        is_samplewise = True

        def __call__(self, model: Any, inputs: Any, target: Any = None) -> Any: ...

    assert not may_be_split(Fixed(), equal_passes=False)
    assert for_rows(method := Fixed(), (torch.rand(3, 2),), [0]) is method


# -- at an embedding --------------------------------------------------------------------------------------------


def test_a_subclass_that_changes_the_call_is_used_as_it_is_at_an_embedding() -> None:
    class Doubled(IntegratedGradients):
        def __call__(self, model: Any, inputs: Any, target: Any = None) -> Any:
            found = super().__call__(model, inputs, target)
            return type(found)(**{**vars(found), "values": tuple(2 * part for part in found.parts)})

    torch.manual_seed(0)
    net, ids = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2)), torch.tensor([[1, 5, 5], [2, 0, 8]])
    once = AtEmbedding(IntegratedGradients(n_steps=2))(net, ids, 1).values
    torch.testing.assert_close(AtEmbedding(Doubled(n_steps=2))(net, ids, 1).values, 2 * once)


def test_a_method_of_a_layer_is_refused_at_an_embedding() -> None:
    net, ids = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2)), torch.tensor([[1, 5, 5], [2, 0, 8]])
    with pytest.raises(ConfigurationError, match="LayerConductance gives 1 attributions .* explain a layer"):
        AtEmbedding(LayerConductance("2", n_steps=2))(net, ids, 1)
