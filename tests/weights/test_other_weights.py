"""A model holds the weights of a checkpoint meanwhile, and its own again afterwards."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import isolated
from lightning_explain.weights.other_weights import check_fits, put_in, weights_of


class Tied(nn.Module):
    """An embedding whose weight is the output layer's too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens).mean(1))


class Last(nn.Module):
    """A recurrent layer, which keeps a list of its own weights."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Shared(nn.Module):
    """One layer under two names, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.one = self.other = nn.Linear(3, 3)
        self.register_buffer("shift", torch.full((3,), 2.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.one(x).relu()) + self.get_buffer("shift")


class Listed(nn.Module):
    """Goes through a list and a dict of its weights, which torch knows nothing of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)
        self.listed, self.named = [self.first.weight], {"last": self.last.weight}

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.listed[0].T).relu() @ self.named["last"].T


def convnet() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def normed() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)), nn.ReLU(), nn.Linear(4, 2))


IMAGES, ROWS, TOKENS = torch.rand(6, 1, 8, 8), torch.rand(6, 3), torch.arange(12).reshape(3, 4) % 7
CASES: list[tuple[Callable[[], nn.Module], Tensor]] = [
    (convnet, IMAGES),
    (normed, ROWS),
    (Last, torch.rand(4, 6, 3)),
    (Tied, TOKENS),
    (Shared, ROWS),
    (Listed, ROWS),
]


def moved(build: Callable[[], nn.Module], seed: int, inputs: Tensor) -> nn.Module:
    """Build a network with other weights and, where it has them, other statistics."""
    torch.manual_seed(seed)
    model = build()
    model.train()
    model(inputs)
    return model.eval()


@pytest.mark.parametrize(("build", "inputs"), CASES)
def test_it_answers_as_the_other_and_then_as_itself(build, inputs) -> None:
    model, other = (moved(build, seed, inputs) for seed in (0, 1))
    with torch.no_grad():
        own, wanted = model(inputs), other(inputs)
    before = {name: (tensor, tensor.detach().clone()) for name, tensor in weights_of(model).items()}
    grads = {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()}
    weights = copy.deepcopy(other.state_dict())
    with isolated(model):
        check_fits(model, weights, "it")
        put_in(model, weights)
        found = model(inputs)
        assert torch.equal(found, wanted)
        assert not torch.equal(found, own)
        # gradients reach the other weights, and a tensor with two names is one
        assert all(p.requires_grad for p in model.parameters())
        assert len(list(model.parameters())) == len(list(other.parameters()))
    for name, tensor in weights_of(model).items():
        assert tensor is before[name][0]
        assert torch.equal(tensor, before[name][1])
    assert {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()} == grads
    with torch.no_grad():
        assert torch.equal(model(inputs), own)
        # nothing of the other was changed either
        assert torch.equal(other(inputs), wanted)


def test_names_are_those_of_a_state_dict() -> None:
    for build, _ in CASES:
        model = build()
        assert weights_of(model).keys() == model.state_dict().keys()


def test_the_model_is_left_as_found_when_the_forward_fails() -> None:
    model = convnet()
    before = weights_of(model)
    with pytest.raises(RuntimeError, match="shape|size|channels"), isolated(model):
        put_in(model, convnet().state_dict())
        model(torch.rand(2, 9))
    assert all(tensor is before[name] for name, tensor in weights_of(model).items())


def test_weights_take_the_models_type() -> None:
    model = nn.Linear(2, 2).double()
    with isolated(model):
        other, x = nn.Linear(2, 2), torch.rand(1, 2).double()
        put_in(model, other.state_dict())
        assert torch.equal(model(x), other.double()(x))


def test_what_a_partial_checkpoint_lacks_keeps_its_value() -> None:
    model = convnet()
    with isolated(model):
        put_in(model, {"4.bias": torch.ones(3)})
        found = {name: tensor.clone() for name, tensor in weights_of(model).items()}
    for name, tensor in weights_of(model).items():
        assert torch.equal(found[name], torch.ones(3) if name == "4.bias" else tensor)


def test_other_weights_are_refused_by_name() -> None:
    model, state = convnet(), convnet().state_dict()
    check_fits(model, {**state, "teacher.weight": torch.zeros(1)}, "it")  # more than is needed is no harm
    few = {name: tensor for name, tensor in state.items() if not name.startswith("4")}
    with pytest.raises(
        ConfigurationError, match=r"^it has no 4.weight, 4.bias, which Sequential needs; .*nothing else"
    ):
        check_fits(model, few, "it")
    renamed = {f"net.{name}": tensor for name, tensor in state.items()}
    with pytest.raises(ConfigurationError, match=r"has no 0.weight, .* and 5 more.*it has net.0.weight"):
        check_fits(model, renamed, "it")
    check_fits(model, few, "it", strict=False)
    with pytest.raises(ConfigurationError, match="has no 0.weight"):
        check_fits(model, renamed, "it", strict=False)
    with pytest.raises(ConfigurationError, match=r"other shapes: 4.bias \[5\] instead of \[3\]"):
        check_fits(model, {**state, "4.bias": torch.zeros(5)}, "it")
