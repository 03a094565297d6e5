"""Weights that a fit returns and that were neither trained last nor explained last."""

from typing import Any

import pytest
import torch
from torch import nn

from lightning_explain.callbacks.base.weight_changes import WeightChanges, digest


class OneProcess:
    world_size = 1
    global_rank = 0


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_the_digest_is_sum_and_norm_of_each_tensor(net: nn.Module) -> None:
    found: Any = digest(net)
    tensors = [*net.parameters(), net[1].running_mean, net[1].running_var]  # type: ignore[index]
    expected = [value for t in tensors for value in (t.detach().double().sum(), t.detach().double().norm())]
    torch.testing.assert_close(found.double(), torch.stack(expected), rtol=1e-6, atol=1e-6)


def test_lazy_weights_have_none() -> None:
    assert digest(nn.LazyLinear(3)) is None
    assert digest(nn.ReLU()) is None


def test_an_average_that_arrives_after_the_last_epoch_is_new(net: nn.Module) -> None:
    changes: Any = WeightChanges()
    changes.begin()
    changes.epoch_ended(net)
    assert not changes.are_new(OneProcess(), net)
    with torch.no_grad():
        net[0].weight.mul_(0.5)  # type: ignore[index]
    assert changes.are_new(OneProcess(), net)
    changes.explained(net)
    assert not changes.are_new(OneProcess(), net)


def test_weights_that_are_not_finite_are_still_the_same(net: nn.Module) -> None:
    with torch.no_grad():
        net[0].weight[0, 0] = float("nan")  # type: ignore[index]
    changes: Any = WeightChanges()
    changes.epoch_ended(net)
    assert not changes.are_new(OneProcess(), net)


def test_nothing_is_new_before_an_epoch_ended(net: nn.Module) -> None:
    changes: Any = WeightChanges()
    changes.explained(net)
    changes.begin()
    assert not changes.are_new(OneProcess(), net)
