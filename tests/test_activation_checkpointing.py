"""Explanations of a network whose activations are computed again in the backward pass are those of the plain one."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils import checkpoint as torch_checkpoint
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from lightning_explain.activation_checkpointing import checkpointing_off, checkpointing_without_reentry
from lightning_explain.attribution import LRP, GradCAM, InputXGradient, IntegratedGradients, LayerConductance, Saliency
from lightning_explain.paths import contributions

KINDS = [False, True, "sequential", "nested"]
X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class _Net(nn.Module):
    def __init__(self, kind: object = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.ReLU())
        self.head, self.kind, self.runs = nn.Linear(2, 3), kind, 0

    def _body(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "sequential":
            maps = checkpoint_sequential(self.body, 2, x, use_reentrant=True)
        elif self.kind == "nested":
            inner = partial(checkpoint, self._body, use_reentrant=False)
            maps = checkpoint(inner, x, use_reentrant=True, preserve_rng_state=False)
        else:
            maps = self._body(x) if self.kind is None else checkpoint(self._body, x, use_reentrant=self.kind)
        return self.head(maps.mean((2, 3)))


def _nets(kind: object) -> tuple[_Net, _Net]:
    torch.manual_seed(0)
    plain, special = _Net().eval(), _Net(kind).eval()
    special.load_state_dict(plain.state_dict())
    return plain, special


METHODS = {
    "LRP": LRP(),
    "GradCAM": GradCAM(),
    "Saliency": Saliency(),
    "InputXGradient": InputXGradient(),
    "IntegratedGradients": IntegratedGradients(n_steps=4),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_gives_the_same(method: str, kind: object) -> None:
    plain, special = _nets(kind)
    want, found = (METHODS[method](net, X, 1).values for net in (plain, special))
    assert bool(want.any())
    torch.testing.assert_close(found, want)
    assert torch_checkpoint.CheckpointFunction.__name__ == "CheckpointFunction"


@pytest.mark.parametrize("kind", KINDS)
def test_layers_and_paths_are_the_same(kind: object) -> None:
    plain, special = _nets(kind)
    want, found = (LRP().layer_relevance(net, X, 1, layers="body.*") for net in (plain, special))
    assert list(found) == list(want)
    for name, values in want.items():
        torch.testing.assert_close(found[name], values)
    want, found = (contributions(net, X, 1)[0] for net in (plain, special))
    for one, other in zip(want.layers, found.layers, strict=True):
        assert one.name == other.name
        torch.testing.assert_close(other.contribution, one.contribution)
    want, found = (LayerConductance("body.0", n_steps=4)(net, X, 1).values for net in (plain, special))
    torch.testing.assert_close(found, want)


def test_gradient_methods_still_compute_activations_again_and_relevance_keeps_them() -> None:
    net = _nets(True)[1]
    runs = {}
    for name in ("Saliency", "LRP"):
        net.runs = 0
        before = net.runs
        with checkpointing_off() if name == "LRP" else checkpointing_without_reentry():
            x = X.clone().requires_grad_()
            torch.autograd.grad(net(x).sum(), x)
        runs[name] = net.runs - before
    assert runs == {"Saliency": 2, "LRP": 1}


def test_what_torch_looks_up_is_put_back_when_something_fails() -> None:
    before = torch_checkpoint.CheckpointFunction, torch_checkpoint._checkpoint_without_reentrant_generator
    with pytest.raises(ZeroDivisionError), checkpointing_off(), checkpointing_without_reentry():
        raise ZeroDivisionError
    assert before == (torch_checkpoint.CheckpointFunction, torch_checkpoint._checkpoint_without_reentrant_generator)
