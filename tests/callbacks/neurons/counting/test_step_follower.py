"""Following the calls of one step: which calls, how often, and that nothing is left of it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.neurons.counting.step_follower import MOST_CALLS, StepFollower
from lightning_explain.capture import recording_paused
from lightning_explain.neurons.forward_trace import ForwardTrace
from lightning_explain.schedule import Stopwatch

X = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))


MODES: list[tuple[bool, bool]] = []
"""Mode of each pass; not kept by the module, since the isolation would take the passes inside back."""


@pytest.fixture(autouse=True)
def no_passes() -> None:
    MODES.clear()


class Net(nn.Module):
    """Notes the mode of each pass, and has what a pass may change: statistics and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        MODES.append((self.training, torch.is_grad_enabled()))
        return self.last(nn.functional.dropout(self.norm(self.first(x)), 0.5, self.training))


def following(net: nn.Module, **options: Any) -> tuple[StepFollower, list[ForwardTrace]]:
    traces: list[ForwardTrace] = []
    follower = StepFollower(net, receive=traces.append, stopwatch=Stopwatch(), **options)
    follower.attach()
    return follower, traces


def test_a_call_is_repeated_before_it_is_made_and_its_layers_are_seen() -> None:
    net = Net()
    follower, traces = following(net)
    net(X)
    assert follower.n_followed == 1 and follower.error is None
    assert MODES == [(False, True), (True, True)]  # first in isolation
    (trace,) = traces
    calls = {name: trace.calls[module] for name, module in net.named_children()}
    assert {name: [trace.roles(call.gave) for call in found] for name, found in calls.items()} == {
        "first": [("b", "u")], "norm": [("b", "u")], "last": [("b", "u")],
    }  # fmt: skip


def test_the_step_computes_what_it_would_have_computed() -> None:
    def step(net: Net, *, is_followed: bool) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        torch.manual_seed(3)
        follower, _ = following(net)
        if not is_followed:
            follower.detach()
        scores = net(X)
        scores.sum().backward()
        assert net.first.weight.grad is not None
        return scores, net.state_dict() | {"grad": net.first.weight.grad}, torch.get_rng_state()

    plain, watched = Net(), Net()
    watched.load_state_dict(plain.state_dict())
    for (left, left_state, left_random), (right, right_state, right_random) in [
        (step(plain, is_followed=False), step(watched, is_followed=True))
    ]:
        assert torch.equal(left, right) and torch.equal(left_random, right_random)
        assert all(torch.equal(left_state[key], right_state[key]) for key in left_state)
    assert len(MODES) == 3  # of the one that was followed twice


@pytest.mark.parametrize("in_training", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_the_mode_is_that_of_evaluation_or_of_the_step(in_training: bool, grad: bool) -> None:
    net = Net()
    following(net, in_training=in_training)
    with torch.set_grad_enabled(grad):
        net(X)
    assert [(in_training, grad), (True, grad)] == MODES


def test_only_outermost_calls_are_followed_and_no_more_than_a_few() -> None:
    net = Net()
    follower, traces = following(net)
    for _ in range(MOST_CALLS + 2):
        net.last(net.first(X))  # two outermost calls
    assert follower.n_followed == len(traces) == MOST_CALLS
    assert len(MODES) == 0
    assert len(traces[-1].calls[net.first]) == MOST_CALLS // 2


def paused(follower: StepFollower) -> Any:
    follower.pause(paused=True)
    return torch.enable_grad()


@pytest.mark.parametrize("pause", [paused, lambda _: recording_paused()])
def test_nothing_is_followed_in_a_pause(pause: Callable[[StepFollower], Any]) -> None:
    net = Net()
    follower, traces = following(net)
    with pause(follower):
        net(X)
    assert len(MODES) == 1 and traces == []
    follower.pause(paused=False)
    net(X)
    assert len(MODES) == 3 and follower.n_followed == 1


def test_a_call_that_cannot_be_repeated_is_noted_and_made() -> None:
    class Once(Net):
        def forward(self, x: Tensor) -> Tensor:
            if not self.training:
                raise RuntimeError("only in training")
            return super().forward(x)

    net = Once()
    follower, traces = following(net)
    assert net(X).shape == (6, 3)
    assert str(follower.error) == "only in training"
    assert follower.n_followed == 0 and traces == []


def test_a_call_that_raises_in_the_step_lets_the_next_one_be_followed() -> None:
    net = Net()
    follower, _ = following(net)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        net(X[:, :2])
    assert follower.n_followed == 0
    net(X)
    assert follower.n_followed == 1


def test_what_the_pass_writes_into_is_a_copy() -> None:
    class Writes(nn.Module):
        def forward(self, x: Tensor, box: dict[str, Any]) -> Tensor:
            box["seen"].append(1)
            return x.mul_(2)

    net, x, box = Writes(), X.clone(), {"seen": list[int]()}
    follower, _ = following(net)
    net(x, box=box)
    assert follower.n_followed == 1
    assert torch.equal(x, 2 * X) and box == {"seen": [1]}


def test_hooks_that_the_step_puts_on_see_the_step_only() -> None:
    net, seen = Net(), list[tuple[int, ...]]()
    follower, _ = following(net)
    net.first.register_forward_hook(lambda *call: seen.append(tuple(call[2].shape)))
    net(X)
    assert follower.n_followed == 1 and seen == [(6, 5)]


def test_no_hook_is_left_after_detach() -> None:
    net = Net()
    follower, traces = following(net)
    assert all(module._forward_pre_hooks for module in net.modules())
    follower.detach()
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in net.modules())
    net(X)
    assert traces == [] and len(MODES) == 1


def test_losses_and_metrics_are_not_followed() -> None:
    net = nn.ModuleDict({"net": Net(), "loss": nn.MSELoss()})
    following(net)
    assert not net["loss"]._forward_pre_hooks and net["net"]._forward_pre_hooks


def test_a_batch_is_followed_where_no_hook_may_sit_on_what_the_step_calls() -> None:
    net, traces = Net(), list[ForwardTrace]()
    follower = StepFollower(net, receive=traces.append, stopwatch=Stopwatch())
    follower.follow_batch((X, torch.zeros(6)), Question())
    assert follower.n_followed == 1 and MODES == [(False, True)] and net.training
    follower.follow_batch({"x": X}, Question(input="elsewhere"))
    assert follower.n_followed == 1 and "elsewhere" in str(follower.error)
