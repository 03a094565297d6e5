"""Which layers are watched, which of their dimensions counts neurons, and what a recorder keeps."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.capture import CallUse, Layer, Recorder, recording_paused, select_layers, watched
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import isolated


def names(model: nn.Module, layers: Any = None) -> list[str]:
    return [layer.name for layer in select_layers(model, layers)]


def dims(model: nn.Module) -> dict[str, int | None]:
    return {layer.name: layer.unit_dim for layer in select_layers(model, "*")}


class Functional(nn.Module):
    """No activation module anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
        self.hidden, self.head = nn.Linear(8, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu_(self.norm(self.conv(x))).flatten(1)
        return self.head(nn.functional.relu_(self.hidden(x)))


def test_by_default_the_activation_modules_are_watched() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 3), nn.PReLU(), nn.Linear(3, 2))
    assert names(net) == ["1", "3"]


def test_without_activation_modules_all_layers_that_feed_one_but_the_last_are_watched() -> None:
    assert names(Functional()) == ["conv", "norm", "hidden"]
    assert names(nn.Sequential(nn.Flatten(), nn.Linear(2, 2))) == ["1"]


@pytest.mark.parametrize("net", [nn.Sequential(nn.Flatten()), nn.Identity(), nn.Linear(2, 2), nn.ReLU()])
def test_a_model_without_a_layer_to_watch_is_refused(net: nn.Module) -> None:
    with pytest.raises(ConfigurationError, match=f"{type(net).__name__} has no layer to watch.*layers="):
        select_layers(net)


def test_no_layers_asked_for_are_refused_too() -> None:
    with pytest.raises(ConfigurationError, match="no layer to watch"):
        select_layers(Functional(), [])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("hidden", ["hidden"]),
        ("h*", ["hidden", "head"]),
        (["head", "conv"], ["conv", "head"]),
        (["h*", "hidden", "head"], ["hidden", "head"]),
        ("*", ["conv", "norm", "hidden", "head"]),
        ("[ch]o*", ["conv"]),
    ],
)
def test_names_and_globs_give_layers_in_the_order_of_the_model(asked: Any, found: list[str]) -> None:
    assert names(Functional(), asked) == found


def test_a_glob_reaches_into_containers() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    assert names(net, "*.1") == ["0.1", "1.1"]


def test_the_layers_are_the_modules_themselves() -> None:
    net = Functional()
    assert select_layers(net, "conv") == [Layer("conv", net.conv, 1)]


@pytest.mark.parametrize(("asked", "hint"), [("hiden", "'hidden'"), ("Conv", "'conv'"), (["conv", "heads"], "'head'")])
def test_an_unknown_name_is_refused_with_the_nearest_one(asked: Any, hint: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        select_layers(Functional(), asked)
    message = str(refusal.value)
    assert f"Did you mean {hint}" in message
    assert "conv, norm, hidden, head" in message


def test_a_glob_that_matches_nothing_is_refused_without_far_fetched_hints() -> None:
    with pytest.raises(ConfigurationError, match="matches no module") as refusal:
        select_layers(Functional(), ["conv", "zzzzz*"])
    assert "Did you mean" not in str(refusal.value)


def test_a_long_list_of_modules_is_cut_off() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        select_layers(nn.Sequential(*(nn.ReLU() for _ in range(60))), "none")
    assert "39, ..." in str(refusal.value)


def test_only_layers_whose_type_says_it_are_known_to_hold_units_in_one_dimension() -> None:
    net = nn.Sequential(
        nn.Conv1d(1, 2, 3), nn.ReLU(), nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(8, 4), nn.LayerNorm(4),
        nn.GroupNorm(1, 4), nn.Tanh(), nn.LSTM(4, 4),
    )  # fmt: skip
    assert list(dims(net).values()) == [1, None, 1, None, -1, -1, 1, None, -1]


def test_the_layout_of_a_call_is_that_which_was_found_out_or_that_of_the_type() -> None:
    maps, flat = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3)
    conv, relu = Layer("c", nn.Conv2d(1, 1, 1), 1), Layer("r", nn.ReLU(), None)
    assert conv.layout_of(maps, "c") == ("b", "u", "p", "p")
    assert relu.layout_of(maps, "r") is None and relu.layout_of(flat, "r") == ("b", "u")
    last, first = CallUse(("b", "p", "p", "u")), CallUse(("b", "u", "p", "p"))
    seen = replace(relu, calls=(last, first))
    assert seen.layout_of(maps, "r") == last.layout and seen.layout_of(maps, "r#1") == first.layout
    # a third call like neither: nothing tells; like both, if those are alike
    assert seen.layout_of(maps, "r#2") is None
    assert replace(relu, calls=(last, last)).layout_of(maps, "r#2") == last.layout
    # of another number of dimensions than was seen
    assert seen.layout_of(maps[..., 0], "r") is None


class Shared(nn.Module):
    """One ReLU object for three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.relu = nn.Linear(2, 3), nn.Linear(3, 4), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.relu(self.two(self.relu(self.one(x)))) - 1)


def attached(net: nn.Module, layers: Any = None, **options: Any) -> Recorder:
    recorder = Recorder(select_layers(net, layers), **options)
    recorder.attach()
    return recorder


X = torch.rand(5, 2, generator=torch.Generator().manual_seed(0))


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
    net["rnn"](X[None])
    assert recorder.stop()["rnn"].shape == (1, 5, 7)


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
