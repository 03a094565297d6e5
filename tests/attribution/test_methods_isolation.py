"""Every method leaves the model, the random streams and the gradients bit for bit as found."""

import copy
import inspect
import random

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

import lightning_explain.attribution as public
from lightning_explain.attribution import (
    LRP,
    EpsilonGammaBox,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    Saliency,
    SmoothGrad,
    from_captum,
    integrated_gradients_and_conductance,
)
from lightning_explain.faithfulness import cascading_randomisation, deletion, infidelity, insertion, max_sensitivity
from tests.attribution.nets import drawn

# captum says so about the costs of KernelShap; that nothing else warns is part of the tests
pytestmark = pytest.mark.filterwarnings("ignore:You are providing multiple inputs:UserWarning")

VALUES = drawn(3, 2, 8, 8).float()

METHODS = {
    "Saliency": Saliency(),
    "InputXGradient": InputXGradient(),
    "SmoothGrad": SmoothGrad(n_draws=3),
    "LRP": LRP(),
    "LRP(EpsilonGammaBox)": LRP(EpsilonGammaBox(0.0, 1.0)),
    "LRP.layer_relevance": lambda model, x, target: LRP().layer_relevance(model, x, target),
    "GradCAM": GradCAM(),
    "GradCAM(layer)": GradCAM("conv"),
    "LayerConductance": LayerConductance("relu", n_steps=4),
    "conductance walk": lambda model, x, target: integrated_gradients_and_conductance(model, x, target, n_steps=3)[0],
    "IntegratedGradients": IntegratedGradients(tolerance=5.0),
    "IntegratedGradients(noise)": IntegratedGradients("noise", n_steps=3),
    "IntegratedGradients(blur)": IntegratedGradients("blur", n_steps=3),
    "from_captum(DeepLift)": from_captum(captum.attr.DeepLift),
    "from_captum(Occlusion)": from_captum(captum.attr.Occlusion, sliding_window_shapes=(2, 4, 4)),
    "from_captum(GradientShap)": from_captum(captum.attr.GradientShap, baselines=torch.zeros(2, 2, 8, 8)),
    "from_captum(GuidedBackprop)": from_captum(captum.attr.GuidedBackprop),
    "from_captum(LayerGradCam)": from_captum(captum.attr.LayerGradCam, layer="conv"),
    "from_captum(LayerConductance)": from_captum(captum.attr.LayerConductance, layer="relu", n_steps=3),
    "from_captum(FeatureAblation)": from_captum(
        captum.attr.FeatureAblation, feature_mask=torch.arange(128).reshape(1, 2, 8, 8) // 32
    ),
    "from_captum(KernelShap)": from_captum(captum.attr.KernelShap, n_samples=4),
    "from_captum(NoiseTunnel)": from_captum(
        lambda model: captum.attr.NoiseTunnel(captum.attr.DeepLift(model)), nt_samples=2
    ),
    "deletion": lambda model, x, target: deletion(model, x, target, VALUES, n_steps=3),
    "insertion": lambda model, x, target: insertion(model, x, target, VALUES, n_steps=3, baseline="blur"),
    "infidelity": lambda model, x, target: infidelity(model, x, target, VALUES, n_draws=2),
    "max_sensitivity": lambda model, x, target: max_sensitivity(Saliency(), model, x, target, n_draws=2),
    "cascading_randomisation": lambda model, x, target: cascading_randomisation(Saliency(), model, x, target),
}


class Net(nn.Module):
    """Everything that could be disturbed: batch statistics, dropout, a frozen part, counters, a cache."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.norm = nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3)
        self.frozen = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5))
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(3, 4)
        self.register_buffer("counter", torch.zeros(()))
        self.calls, self.cache, self.fails = 0, [], False

    def forward(self, x):
        self.calls += 1
        self.counter += 1
        self.cache.append(x.detach())
        self.last = x.detach()
        torch.rand(1)
        if self.fails:
            raise OSError("forward failed")
        y = self.frozen(self.norm(self.relu(self.conv(x))))
        return self.head(self.drop(y.mean((2, 3))))


def built():
    torch.manual_seed(3)
    net = Net().train()
    net.frozen.eval()
    net.head.bias.requires_grad_(requires_grad=False)
    net.conv.register_forward_hook(lambda *_: None)
    net(torch.rand(4, 2, 8, 8)).sum().backward()
    return net


def snapshot(net):
    containers = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "state": {k: v.clone() for k, v in net.state_dict().items()},
        "identity": {k: id(v) for k, v in (*net.named_parameters(), *net.named_buffers())},
        "grad": {k: None if p.grad is None else (id(p.grad), p.grad.clone()) for k, p in net.named_parameters()},
        "requires_grad": {k: p.requires_grad for k, p in net.named_parameters()},
        "training": {k: m.training for k, m in net.named_modules()},
        "hooks": {k: [list(getattr(m, c).items()) for c in containers] for k, m in net.named_modules()},
        "attributes": {
            k: {
                n: (id(v), copy.copy(v) if isinstance(v, (list, dict, int, bool)) else None) for n, v in vars(m).items()
            }
            for k, m in net.named_modules()
        },
        "rng": (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()),
        "grad_mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a is b or (isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def assert_as_found(before, after):
    for name, value in before.items():
        assert same(value, after[name]), f"{name} changed"


def test_every_public_method_is_here():
    made = {name: getattr(public, name) for name in public.__all__}
    methods = {
        name
        for name, kind in made.items()
        if isinstance(kind, type) and "target" in inspect.signature(kind.__call__).parameters
    } - {"Method", "AtEmbedding"}  # a protocol; a method for token ids, in test_embedding.py
    assert methods == {type(method).__name__ for method in METHODS.values()} & methods
    assert len(methods) >= 7


@pytest.mark.parametrize("grad_mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", METHODS)
def test_everything_is_left_as_found(name, grad_mode):
    net, x = built(), torch.rand(3, 2, 8, 8)
    kept = x.clone()
    before = snapshot(net)
    with grad_mode():
        METHODS[name](net, x, torch.tensor([0, 3, 1]))
    assert_as_found(before, snapshot(net))
    assert torch.equal(x, kept)
    assert not x.requires_grad


@pytest.mark.parametrize("name", METHODS)
def test_everything_is_left_as_found_where_forward_raises(name):
    net, x = built(), torch.rand(3, 2, 8, 8)
    net.fails = True
    before = snapshot(net)
    with pytest.raises(OSError, match="forward failed"):
        METHODS[name](net, x, 1)
    assert_as_found(before, snapshot(net))


@pytest.mark.parametrize("name", METHODS)
def test_dropout_is_off_and_results_do_not_depend_on_the_random_state(name):
    net, x = built(), torch.rand(3, 2, 8, 8)
    torch.manual_seed(1)
    first = METHODS[name](net, x, 1)
    torch.manual_seed(2)
    second = METHODS[name](net, x, 1)
    for a, b in zip(tensors(first), tensors(second), strict=True):
        assert torch.equal(a, b)


def tensors(result):
    if isinstance(result, torch.Tensor):
        return [result]
    found = result.values() if isinstance(result, dict) else vars(result).values()
    return [value for value in found if isinstance(value, torch.Tensor)]
