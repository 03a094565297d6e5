"""What a recorder keeps, and when it looks away."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.capture import Layer, recording_paused, select_layers, watched
from lightning_explain.isolation import isolated
from tests.capture.nets import Functional, Shared, X, attached


def test_every_call_of_a_shared_module_is_kept_under_its_own_key() -> None:
    net = Shared()
    recorder = attached(net)
    for _ in range(2):  # counted anew in each recording
        recorder.start()
        net(X)
        seen = recorder.stop()
        assert {key: tuple(tensor.shape) for key, tensor in seen.items()} == {
            "relu": (5, 3), "relu#1": (5, 4), "relu#2": (5, 4)
        }  # fmt: skip
    torch.testing.assert_close(seen["relu"], net.one(X).detach().relu())


def test_only_what_runs_between_start_and_stop_is_seen() -> None:
    net = Shared()
    recorder = attached(net)
    net(X)
    assert recorder.seen == {} and not recorder.recording
    recorder.start()
    net.relu(X)
    first = recorder.stop()
    net(X)
    assert list(first) == ["relu"]
    assert recorder.stop() == {}
    recorder.start()
    assert recorder.seen == {}


def test_starting_again_forgets() -> None:
    net = Shared()
    recorder = attached(net)
    recorder.start()
    net(X)
    recorder.start()
    net.relu(X)
    assert list(recorder.stop()) == ["relu"]


def test_hooks_are_put_on_once_and_taken_off() -> None:
    net = Shared()
    recorder = attached(net)
    recorder.attach()
    assert len(net.relu._forward_hooks) == 1
    recorder.start()
    recorder.detach()
    recorder.detach()
    assert not net.relu._forward_hooks and not recorder.recording
    net(X)
    assert recorder.stop() == {}


def test_what_is_kept_is_out_of_the_graph_unless_asked_for() -> None:
    net = Shared()
    recorder = attached(net)
    recorder.start()
    net(X)
    assert not any(tensor.requires_grad for tensor in recorder.stop().values())
    differentiable = attached(net, differentiable=True)
    differentiable.start()
    scores = net(X)
    kept = differentiable.stop()["relu"]
    (gradient,) = torch.autograd.grad(scores.sum(), kept)
    assert gradient.shape == kept.shape


def test_an_in_place_activation_that_follows_changes_nothing_of_what_was_seen() -> None:
    torch.manual_seed(0)
    net = Functional()
    recorder = attached(net)
    recorder.start()
    net(torch.randn(3, 1, 4, 4))
    seen = recorder.stop()
    assert float(seen["norm"].min()) < 0
    assert float(seen["hidden"].min()) < 0


def test_the_reduction_gets_the_layer_and_runs_without_autograd() -> None:
    found: list[tuple[str, bool, bool]] = []

    def reduce(output: Tensor, layer: Layer, key: str) -> int:
        found.append((layer.name, output.requires_grad, torch.is_grad_enabled()))
        return output.shape[1]

    net = Shared()
    recorder = attached(net, "o*", reduce=reduce)
    recorder.start()
    net(X)
    assert recorder.stop() == {"one": 3}
    assert found == [("one", False, False)]


def test_a_recorder_of_the_run_looks_away_while_an_explanation_runs() -> None:
    net = Shared()
    recorder = attached(net)
    recorder.start()
    with recording_paused():
        net(X)
        with recording_paused():
            net(X)
        net(X)
    with isolated(net):
        net(X)
    assert recorder.seen == {}
    net(X)
    assert len(recorder.stop()) == 3


def test_recording_goes_on_after_an_explanation_that_failed() -> None:
    net = Shared()
    recorder = attached(net)
    recorder.start()
    with pytest.raises(KeyError), recording_paused():
        raise KeyError
    net(X)
    assert len(recorder.stop()) == 3


def test_a_recorder_of_an_explanation_sees_that_explanation_only() -> None:
    net = Shared()
    recorder = attached(net, explaining=True)
    recorder.start()
    net(X)
    assert recorder.seen == {}
    with recording_paused():
        net(X)
    assert len(recorder.stop()) == 3


class Gives(nn.Module):
    """Returns whatever it was made with."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Any:
        return self.output


@pytest.mark.parametrize("output", [(X, None), [X, X + 1], (None, X), ("a", X), (torch.nn.Parameter(X), X)])
def test_of_a_tuple_the_first_tensor_is_kept(output: Any) -> None:
    net = nn.Sequential(Gives(output))
    recorder = attached(net, "0")
    recorder.start()
    net(X)
    torch.testing.assert_close(recorder.stop()["0"], X)


@pytest.mark.parametrize(
    "output",
    [
        None,
        3,
        X.long(),
        X > 0,
        X[0],
        torch.tensor(1.0),
        (),
        (X.long(), X),
        {"x": X},
        torch.nested.nested_tensor([X, X[:2]], layout=torch.jagged),
    ],
)
def test_outputs_that_hold_no_activations_are_passed_over_and_not_counted(output: Any) -> None:
    net = nn.Sequential(Gives(output), nn.Identity())
    recorder = attached(net, "0")
    recorder.start()
    net[0](X)
    net[0].output = X
    net(X)
    assert list(recorder.stop()) == ["0"]


def test_a_recurrent_layer_gives_its_sequence() -> None:
    net = nn.ModuleDict({"rnn": nn.LSTM(2, 7, batch_first=True)})
    recorder = attached(net, "rnn")
    recorder.start()
    sequence, (last, _) = net["rnn"](X[None])
    found = recorder.stop()["rnn"]
    assert found.shape == (1, 5, 7) and torch.equal(found, sequence)
    assert torch.equal(found[:, -1], last[0])


@pytest.mark.parametrize("raises", [False, True])
def test_watching_ends_with_the_hooks_off_and_other_recorders_on(raises: bool) -> None:
    net = Shared()
    run = attached(net, "two")
    run.start()
    with pytest.raises(KeyError) if raises else torch.enable_grad(), watched(select_layers(net)) as recorder:
        recorder.start()
        net(X)
        assert len(recorder.stop()) == 3
        if raises:
            raise KeyError
    assert not net.relu._forward_hooks
    assert run.seen == {}
    net(X)
    assert list(run.stop()) == ["two"]


def test_inside_a_compiled_region_what_was_seen_is_reduced_at_the_end() -> None:
    torch._dynamo.reset()
    net = Functional()
    recorder = attached(net, ["norm", "hidden"], reduce=lambda output, layer, key: float(output.min()))
    recorder.start()
    torch.manual_seed(0)
    x = torch.randn(3, 1, 4, 4)
    torch.compile(net, backend="eager")(x)
    seen = recorder.stop()
    torch._dynamo.reset()
    assert set(seen) == {"norm", "hidden"} and seen["norm"] < 0 and seen["hidden"] < 0
