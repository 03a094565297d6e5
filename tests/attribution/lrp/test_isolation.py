"""LRP runs on a live training model and leaves no trace on it."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightning_explain.attribution import LRP, EpsilonGammaBox
from tests.attribution.lrp.nets import resnet


class Failing(nn.Module):
    """Raises in the middle of the forward pass when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.fails, self.dropout, self.n_runs = resnet(), False, nn.Dropout(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_runs += 1
        x = self.net[:4](x)
        torch.rand(1)
        if self.fails:
            raise RuntimeError("in the middle")
        return self.dropout(self.net[4:](x))


def state_of(model: nn.Module) -> list[object]:
    """Everything that must be the same before and after, by value and, for containers, by content."""
    found: list[object] = [torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())]
    found.append({name: (id(v), v.clone(), v._version) for name, v in model.state_dict(keep_vars=True).items()})
    for name, module in model.named_modules():
        kept = {key: copy.copy(v) if isinstance(v, dict) else id(v) for key, v in module.__dict__.items()}
        found.append((name, module.training, kept, len(module._forward_hooks), len(module._forward_pre_hooks)))
    found += [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    return found


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a is b or bool(a == b)


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("mode", ["plain", "no_grad", "inference_mode"])
@pytest.mark.parametrize("rules", [None, EpsilonGammaBox(-9.0, 9.0)])
def test_model_and_random_streams_are_left_as_found(fails: bool, frozen: bool, mode: str, rules):
    torch.manual_seed(0)
    model = Failing().train()
    model.net[4].eval()
    x = torch.randn(2, 3, 8, 8).double()
    model(x).sum().backward()
    model.net[0].weight.requires_grad_(not frozen)
    model.fails = fails
    model.net[0].register_forward_hook(lambda *_: None)
    before, x_before = state_of(model), x.clone()
    contexts = {"plain": torch.enable_grad, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}
    with contexts[mode]():
        for explain in (LRP(rules).__call__, LRP(rules).layer_relevance):
            if fails:
                with pytest.raises(RuntimeError, match="in the middle"):
                    explain(model, x, 0)
            else:
                explain(model, x, 0)
    assert same(state_of(model), before)
    assert torch.equal(x, x_before)
    assert x.grad is None
    assert not x.requires_grad


def test_training_goes_on_bit_identically():
    def train(*, explained: bool) -> list[Tensor]:
        torch.manual_seed(0)
        model = Failing().train()
        optimiser = torch.optim.AdamW(model.parameters())
        for _ in range(3):
            x = torch.randn(4, 3, 8, 8).double()
            optimiser.zero_grad()
            model(x).square().mean().backward()
            if explained:
                LRP()(model, x, 0)
            optimiser.step()
        return [value.clone() for value in model.state_dict().values()]

    for plain, watched in zip(train(explained=False), train(explained=True), strict=True):
        assert torch.equal(plain, watched)
