"""Inside the isolation everything may happen; afterwards the model, the streams and the recorders are as found."""

import random
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from torch import Tensor, nn

from lightning_explain.capture import Recorder, select_layers, watched
from lightning_explain.isolation import differentiable, explaining, isolated
from lightning_explain.randomness import rng_preserved


def digest(model: nn.Module) -> dict[str, tuple[int, bytes]]:
    """Every parameter and buffer: which object it is, and its bits."""
    named = (*model.named_parameters(), *model.named_buffers())
    return {name: (id(tensor), tensor.detach().numpy().tobytes()) for name, tensor in named}


def streams() -> tuple[Any, ...]:
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


class Restless(nn.Module):
    """A forward that leaves something behind everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3, momentum=0.5)
        self.frozen = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout()).eval()
        self.register_buffer("counted", torch.zeros(2))
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("through_data", torch.zeros(2))
        self.register_buffer("new_data", torch.zeros(2))
        self.register_buffer("absent", None)
        self.calls = 0
        self.history: list[Any] = []
        self.table: dict[str, Any] = {"a": 1}
        self.names = {"x"}
        self.default: defaultdict[str, int] = defaultdict(int)
        self.tally = Counter(a=2)
        self.ordered: OrderedDict[str, int] = OrderedDict(b=1, a=2)
        self.plain = torch.zeros(2)
        self.seen_shape: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.history.append(x.detach())
        self.table["a"] = self.table.get("b", 0)
        self.table["c"] = 3
        self.names ^= {"x", "y"}  # in place, and another set in every call
        self.default["new"] += 1
        self.tally["a"] += 1
        self.ordered.move_to_end(next(iter(self.ordered)))
        self.plain += 1
        self.counted += 1
        self.replaced = self.replaced + 1
        self.through_data.data.add_(1)
        self.new_data.data = torch.ones(5)
        self.absent = torch.ones(1)
        self.seen_shape = x.shape
        self.cached = x.mean()
        return self.norm(self.linear(x)) + random.random() + float(np.random.rand()) + torch.rand(1)


@pytest.fixture
def model() -> Restless:
    torch.manual_seed(0)
    return Restless()


X = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))


def explain(model: nn.Module) -> Tensor:
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    return gradient


def attributes(model: Restless) -> dict[str, Any]:
    names = ("calls", "history", "table", "names", "default", "tally", "ordered", "seen_shape")
    return {name: getattr(model, name) for name in names}


def test_every_submodule_is_in_eval_mode_inside_and_in_its_own_mode_afterwards(model: Restless) -> None:
    before = {name: module.training for name, module in model.named_modules()}
    assert before[""] and not before["frozen.0"]
    with isolated(model):
        assert not any(module.training for module in model.modules())
    assert {name: module.training for name, module in model.named_modules()} == before


def test_a_mode_that_is_switched_inside_is_switched_back(model: Restless) -> None:
    with isolated(model):
        model.train()
    assert not model.frozen.training and not model.frozen[0].training
    assert model.norm.training


def test_eval_and_train_of_the_user_are_not_called(model: Restless, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(model, "train", refuse)
    monkeypatch.setattr(model, "eval", refuse)
    with isolated(model):
        pass


@pytest.mark.parametrize("raises", [False, True])
def test_parameters_and_buffers_are_the_same_objects_and_bits(model: Restless, raises: bool) -> None:
    before = digest(model)
    with pytest.raises(RuntimeError) if raises else rng_preserved(), isolated(model):
        explain(model)
        model.train()
        model(X)
        if raises:
            raise RuntimeError
    assert digest(model) == before
    assert model.absent is None
    assert "cached" not in model.__dict__


@pytest.mark.parametrize("raises", [False, True])
def test_attributes_are_the_same_objects_with_the_same_content(model: Restless, raises: bool) -> None:
    model(X)
    model.history.append("kept")
    before = attributes(model)
    copies = {name: value.copy() if hasattr(value, "copy") else value for name, value in before.items()}
    cached, plain = model.cached, model.plain.clone()
    with pytest.raises(RuntimeError) if raises else rng_preserved(), isolated(model):
        explain(model)
        model.added = 1
        del model.calls
        if raises:
            raise RuntimeError
    after = attributes(model)
    for name, value in before.items():
        assert after[name] is value, name
        # tensors, in the history, are compared below
        assert name == "history" or value == copies[name], name
    assert list(model.ordered) == list(copies["ordered"])
    assert len(model.history) == 2 and all(a is b for a, b in zip(model.history, copies["history"], strict=True))
    assert model.cached is cached
    torch.testing.assert_close(model.plain, plain, rtol=0, atol=0)
    assert not hasattr(model, "added")


def test_a_tensor_that_nothing_wrote_into_keeps_its_version(model: Restless) -> None:
    with isolated(model):
        pass
    before = {name: buffer._version for name, buffer in model.named_buffers()}
    with isolated(model):
        model.linear(X)
    assert {name: buffer._version for name, buffer in model.named_buffers()} == before


def test_a_backward_pass_that_is_pending_outside_still_works(model: Restless) -> None:
    scores = model(X).sum()
    with isolated(model):
        model.norm(X)
    scores.backward()


def test_a_parameter_whose_data_a_forward_exchanges_gets_its_own_back(model: Restless) -> None:
    before = digest(model)
    pointer = model.linear.weight.data_ptr()
    with isolated(model):
        model.linear.weight.data = torch.renorm(model.linear.weight.data, 2, 0, 0.1)
        model.linear.bias = nn.Parameter(torch.ones(3))
    assert digest(model) == before
    assert model.linear.weight.data_ptr() == pointer


def test_gradients_are_not_touched(model: Restless) -> None:
    model(X).sum().backward()
    grads = {name: (id(p.grad), p.grad.clone()) for name, p in model.named_parameters() if p.grad is not None}
    assert grads
    with isolated(model):
        explain(model)
    for name, parameter in model.named_parameters():
        if name in grads:
            assert id(parameter.grad) == grads[name][0]
            torch.testing.assert_close(parameter.grad, grads[name][1], rtol=0, atol=0)


def test_what_is_trained_is_trained_afterwards(model: Restless) -> None:
    model.norm.requires_grad_(requires_grad=False)
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    with isolated(model):
        model.linear.requires_grad_(requires_grad=False)
        model.norm.requires_grad_(requires_grad=True)
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == before


def test_hooks_put_on_inside_are_gone_and_those_taken_off_are_back(model: Restless) -> None:
    called: list[str] = []
    handle = model.linear.register_forward_hook(lambda *_: called.append("user"))
    with isolated(model):
        model.linear.register_forward_hook(lambda *_: called.append("explanation"))
        model.linear.register_forward_pre_hook(lambda *_: called.append("pre"))
        model.linear.register_full_backward_hook(lambda *_: called.append("backward"))
        handle.remove()
    model(X.clone().requires_grad_()).sum().backward()
    assert called == ["user"]


def test_submodules_put_in_or_taken_out_inside_are_put_back(model: Restless) -> None:
    names = [name for name, _ in model.named_modules()]
    linear = model.linear
    with isolated(model):
        model.linear = nn.Identity()
        model.more = nn.Linear(1, 1)
        del model.frozen
    assert [name for name, _ in model.named_modules()] == names
    assert model.linear is linear


@pytest.mark.parametrize("raises", [False, True])
def test_random_streams_are_put_back(model: Restless, raises: bool) -> None:
    before = streams()
    with pytest.raises(KeyError) if raises else differentiable(), isolated(model):
        random.random(), np.random.rand(), torch.rand(3), torch.manual_seed(7)
        if raises:
            raise KeyError
    assert streams() == before


@pytest.mark.parametrize("outside", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_autograd_works_inside_whatever_is_outside(model: Restless, outside: Callable[[], Any]) -> None:
    with outside():
        grad_mode, inference_mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with isolated(model):
            assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
            assert explain(model).shape == X.shape
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == (grad_mode, inference_mode)


def test_autocast_is_off_inside_and_on_again_afterwards(model: Restless) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        with isolated(model):
            assert model.linear(X).dtype == torch.float32
        assert model.linear(X).dtype == torch.bfloat16


class Lazy(nn.Module):
    """Makes what it needs in its first forward pass, as positional encodings do."""

    def __init__(self) -> None:
        super().__init__()
        self.scale: Tensor | None = None
        self.by_length: dict[int, Tensor] = {}
        self.listed: list[Tensor] = []
        self.register_buffer("mask", None)
        self.weight: nn.Parameter | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.scale is None:
            self.scale = torch.full((3,), 2.0)
            self.mask = torch.full((3,), 3.0)
            self.weight = nn.Parameter(torch.full((3,), 5.0))
            self.listed.append(torch.full((3,), 7.0))
        table = self.by_length.setdefault(len(x), torch.full((3,), 11.0))
        assert self.mask is not None and self.weight is not None
        return x * self.scale * self.mask * self.weight * self.listed[0] * table


def lazy_tensors(model: Lazy) -> list[Any]:
    return [model.scale, model.mask, model.weight, model.listed[0], model.by_length[4]]


def test_tensors_made_under_inference_mode_can_be_used_inside_and_are_themselves_afterwards() -> None:
    model = Lazy()
    with torch.inference_mode():
        model(X)
    before = lazy_tensors(model)
    assert all(tensor.is_inference() for tensor in before)
    for outside in (torch.inference_mode, torch.no_grad):
        with outside(), isolated(model):
            torch.testing.assert_close(explain(model), torch.full((4, 3), 2.0 * 3 * 5 * 7 * 11))
            assert isinstance(model.weight, nn.Parameter)
        assert all(a is b for a, b in zip(lazy_tensors(model), before, strict=True))


def test_recorders_of_the_run_look_away_and_look_again_afterwards(model: Restless) -> None:
    recorder = Recorder(select_layers(model, "linear"))
    recorder.attach()
    recorder.start()
    with pytest.raises(KeyError), isolated(model):
        model(X)
        raise KeyError
    assert recorder.seen == {}
    model(X)
    assert list(recorder.stop()) == ["linear"]


def test_isolations_nest(model: Restless) -> None:
    before, random_before = digest(model), streams()
    with isolated(model):
        explain(model)
        middle = model.counted.clone()
        with isolated(model), watched(select_layers(model, "linear")) as recorder:
            recorder.start()
            explain(model)
            assert list(recorder.stop()) == ["linear"]
        torch.testing.assert_close(model.counted, middle)
        assert not model.training and torch.is_grad_enabled()
    assert digest(model) == before
    assert streams() == random_before
    assert model.training


class Metered(nn.Module):
    """Keeps a metric as a submodule and updates it in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torchmetrics.MeanMetric()
        self.cat = torchmetrics.CatMetric()

    def forward(self, x: Tensor) -> Tensor:
        self.mean.update(x.detach())
        self.cat.update(x.detach())
        return x * 2


def test_a_metric_that_forward_feeds_counts_only_the_run() -> None:
    model = Metered()
    model(torch.ones(2, 3))
    state = model.mean.mean_value
    with isolated(model):
        explain(model)
        explain(model)
        model.mean.compute()
    assert model.mean.mean_value is state
    assert float(model.mean.compute()) == 1
    assert model.mean.update_count == model.cat.update_count == 1
    assert len(model.cat.compute()) == 2
    model(torch.full((2, 3), 4.0))
    assert float(model.mean.compute()) == 2.5


@pytest.fixture
def fresh_dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def test_a_compiled_submodule_is_not_compiled_again(fresh_dynamo: None) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    model[0] = torch.compile(model[0], backend="eager")
    model(X)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert before == 1
    with isolated(model):
        explain(model)
        model(torch.rand(7, 3))
    model(X)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before


def test_recurrent_layers_are_differentiated_in_eval_mode() -> None:
    model = nn.LSTM(3, 2)
    enabled = torch.backends.cudnn.enabled
    with isolated(model):
        assert not torch.backends.cudnn.enabled
        x = X[None].clone().requires_grad_()
        torch.autograd.grad(model(x)[0].sum(), x)
    assert torch.backends.cudnn.enabled == enabled


def test_a_plain_callable_is_only_made_differentiable() -> None:
    with torch.inference_mode(), explaining(lambda x: x), torch.autocast("cpu", torch.bfloat16, enabled=False):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_a_module_is_isolated_by_explaining(model: Restless) -> None:
    with explaining(model):
        assert not model.training
        model(X)
    assert model.calls == 0 and model.training


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: torch.rand(1).item()])
def test_preserved_streams_give_the_same_numbers_again(draw: Callable[[], float]) -> None:
    with rng_preserved():
        first = draw()
    assert draw() == first
