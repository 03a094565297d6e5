"""Every message names its monitor, is said once, and gives a cure that this monitor has and that works."""

import re
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import (
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    IntegratedGradients,
)
from lightning_explain.attribution import AtEmbedding
from lightning_explain.callbacks.base.error_handling import MORE_INPUTS, remedy_for
from lightning_explain.display import Display
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from tests.training import explanation_warnings, fit

MONITORS = (AttributionMonitor, DecisionPathMonitor, ActiveNeuronMonitor)
LABELS = torch.arange(24) % 3


class Wrapped(pl.LightningModule):
    """A network in a LightningModule, with what its inputs are."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Any) -> Tensor:
        return self.net(*inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(*batch[:-1]), batch[-1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(*batch[:-1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def warnings_of(
    net: nn.Module, inputs: Tensor, *callbacks: pl.Callback, epochs: int = 1, collate: Any = None
) -> list[str]:
    """Train, and return the messages of this package's warnings."""
    loader: DataLoader[Any] = DataLoader(TensorDataset(inputs, LABELS), 8, collate_fn=collate)
    with explanation_warnings() as told:
        fit(*callbacks, model=Wrapped(net), data=(loader, loader), max_epochs=epochs)
    return told


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


class Pixels(nn.Sequential):
    """Turns bytes into floats itself."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gives it
        return super().forward(input.float() / 255)


def pixel_net() -> Pixels:
    return Pixels(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))


IMAGES = torch.randint(0, 256, (24, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", MONITORS)
def test_images_in_bytes_are_refused_with_a_cure_that_works(kind: Callable[..., Any]) -> None:
    try:
        said = " ".join(warnings_of(pixel_net(), IMAGES, kind()))
    except ConfigurationError as error:
        said = str(error)
    assert kind.__name__ in said and "uint8" in said and "oken" not in said
    cure = re.search(r"input=(lambda batch: batch\[0\].float\(\))", said)
    assert cure is not None
    monitor = kind(input=eval(cure[1]), on_error="raise")
    assert not warnings_of(pixel_net(), IMAGES, monitor)
    assert monitor.records


def token_net() -> nn.Sequential:
    return nn.Sequential(nn.Embedding(9, 5), nn.Flatten(), nn.Linear(20, 6), nn.ReLU(), nn.Linear(6, 3))


IDS = torch.randint(0, 9, (24, 4), generator=torch.Generator().manual_seed(0))


def test_token_ids_are_explained_by_a_method_and_followed_by_paths() -> None:
    paths = DecisionPathMonitor(on_error="raise")
    assert not warnings_of(token_net(), IDS, paths)
    assert paths.records
    monitor = AttributionMonitor(method=AtEmbedding(IntegratedGradients(n_steps=4)), on_error="raise")
    warnings_of(token_net(), IDS, monitor)
    assert monitor.records


class Cubed(nn.Module):
    """Multiplies what it reads by itself in a way that no rule can share out."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.det(x.reshape(-1, 2, 2))[:, None] * x


def test_what_cannot_be_followed_is_refused_with_cures_of_a_path_monitor() -> None:
    with pytest.raises(ConfigurationError) as caught:
        warnings_of(nn.Sequential(Cubed(), *mlp()), torch.rand(24, 4), DecisionPathMonitor())
    said = str(caught.value)
    assert said.startswith("DecisionPathMonitor(name='path')") and "net.0" in said
    assert "IntegratedGradients" not in said or "has no method=" in said

    def without_first(module: Wrapped, x: Tensor) -> Tensor:
        assert isinstance(module.net, nn.Sequential)
        return module.net[1:](x)

    monitor = DecisionPathMonitor(forward_fn=without_first, on_error="raise")
    warnings_of(nn.Sequential(Cubed(), *mlp()), torch.rand(24, 4), monitor)
    assert monitor.records


@pytest.mark.parametrize("kind", MONITORS)
def test_memory_that_runs_out_has_a_cure_of_this_monitor(kind: Callable[..., Any]) -> None:
    monitor = kind()
    with pytest.warns(ExplanationWarning) as told:
        monitor._guard.tell("explaining", MemoryError("none left"))
    said = str(told[0].message)
    assert ("chunk_size" in said) == (kind is not DecisionPathMonitor) and "smaller probe=" in said


class Demanding(nn.Module):
    """Refuses, or has no finite answer for, samples that are all zero, as a baseline is."""

    def __init__(self, *, raises: bool) -> None:
        super().__init__()
        self.net, self.raises = mlp(), raises

    def forward(self, x: Tensor) -> Tensor:
        size = x.abs().sum(1, keepdim=True)
        if self.raises and bool((size == 0).any()):
            raise ValueError("an empty sample")
        return self.net(x / size)


@pytest.mark.parametrize("raises", [True, False])
def test_the_baseline_is_blamed_where_only_the_baseline_fails(raises: bool) -> None:
    x = torch.rand(24, 4) + 0.1
    said = warnings_of(Demanding(raises=raises), x, AttributionMonitor(method=IntegratedGradients(n_steps=4)))
    assert len(said) == 1
    assert "baseline='zeros'" in said[0] and "takes the probe" in said[0] and "probe= with what" not in said[0]
    monitor = AttributionMonitor(method=IntegratedGradients(n_steps=4, baseline="mean"), on_error="raise")
    warnings_of(Demanding(raises=raises), x, monitor)
    assert monitor.records


class Failing(nn.Module):
    """Fails whenever its gradient is wanted at its input, wherever that is."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise ValueError("not today")
        return self.net(x)


def test_a_baseline_that_works_is_not_blamed() -> None:
    said = warnings_of(Failing(), torch.rand(24, 4), AttributionMonitor(method=IntegratedGradients(n_steps=4)))
    assert len(said) == 1 and "not today" in said[0] and "baseline" not in said[0]


class Sometimes(nn.Module):
    """Has a layer for training and one for validation."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.in_training, self.in_validation = mlp(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return (self.in_training if self.training else self.in_validation)(self.body(x))


def test_of_layers_that_never_fired_it_is_said_in_which_stage() -> None:
    said = warnings_of(
        Sometimes(), torch.rand(24, 4), ActiveNeuronMonitor(feeding=0, maps=0, layers="net.in_*"), epochs=3
    )
    assert len(said) == 2
    assert sum("in_validation (in training)" in each for each in said) == 1
    assert sum("in_training (in validation)" in each for each in said) == 1


def test_what_a_method_says_of_itself_names_the_monitor_and_comes_once() -> None:
    method = IntegratedGradients(tolerance=1e-9, max_steps=9)
    monitors = [AttributionMonitor(method=method, name=name) for name in ("one", "two")]
    said = warnings_of(mlp(), torch.rand(24, 4), *monitors, epochs=3)
    assert len(monitors[0].records) == 4 and len(said) == 2
    assert all(f"AttributionMonitor(name='{name}')" in each for name, each in zip(("one", "two"), said, strict=True))


class Tokenizer:
    """Named after ids like those of `transformers`: it is called with texts."""

    def __call__(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]

    def convert_ids_to_tokens(self, token: int) -> str:
        return f"word{token}"


class Fast:
    """Like those of `tokenizers`, which cannot be called."""

    def id_to_token(self, token: int) -> str | None:
        return None if token == 8 else f"word{token}"


@pytest.mark.parametrize(
    "tokens",
    [
        Tokenizer(),
        Fast(),
        {f"word{i}": i for i in range(9)},
        {i: f"word{i}" for i in range(9)},
        [f"word{i}" for i in range(9)],
        "word{}".format,
    ],
    ids=["transformers", "tokenizers", "words to ids", "ids to words", "list", "callable"],
)
def test_tokens_take_their_words_from_whatever_knows_them(tokens: Any) -> None:
    display = Display(tokens=tokens)
    assert display.word(3) == "word3"
    assert display.word(8) == ("8" if isinstance(tokens, Fast) else "word8")


@pytest.mark.parametrize("tokens", [Tokenizer(), len], ids=["tokenizer", "fails"])
def test_words_cost_no_explanation(tokens: Any) -> None:
    monitor = AttributionMonitor(method=AtEmbedding(IntegratedGradients(n_steps=4)), display=Display(tokens=tokens))
    said = warnings_of(token_net(), IDS, monitor, epochs=2)
    assert len(monitor.records) == 3
    words = str(monitor.records[-1])
    assert ("word" in words) == (tokens is not len)
    assert len(said) == (tokens is len) and all("Display(tokens=" in each for each in said)


def test_tokens_that_name_nothing_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="tokens= is a int; expected a tokenizer"):
        Display(tokens=7)


class Masked(nn.Module):
    """Takes an input and a mask that may be None."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.net(x if mask is None else x * mask)


def with_none(items: list[Any]) -> Any:
    inputs, labels = zip(*items, strict=True)
    return torch.stack(inputs), None, torch.stack(labels)


@pytest.mark.parametrize("kind", [AttributionMonitor, DecisionPathMonitor])
def test_none_among_the_inputs_is_named_with_a_cure_that_works(kind: Callable[..., Any]) -> None:
    x = torch.rand(24, 4)
    with pytest.raises(ConfigurationError, match=r"None at place 1 .*those at place 0.*forward_fn=.*module\(x, None\)"):
        warnings_of(Masked(), x, kind(input=[0, 1], target=2), collate=with_none)

    def unmasked(module: Wrapped, x: Tensor) -> Tensor:
        return module(x, None)

    monitor = kind(input=[0], target=2, forward_fn=unmasked, on_error="raise")
    warnings_of(Masked(), x, monitor, collate=with_none)
    assert monitor.records


class Parts(nn.Module):
    """Hands a dictionary from one submodule to another."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.ModuleDict({"up": nn.Linear(4, 6)}), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hand(x)["features"])

    def hand(self, x: Tensor) -> dict[str, Tensor]:
        return {"features": torch.relu(self.body["up"](x))}


class Handing(nn.Module):
    """Returns a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.act = nn.Linear(4, 6), nn.ReLU()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"features": self.act(self.up(x))}


class Taking(nn.Module):
    """Takes a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.hand, self.head = Handing(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hand(x)["features"])


@pytest.mark.parametrize("net", [Parts, Taking])
@pytest.mark.parametrize("kind", MONITORS)
def test_dictionaries_between_submodules_are_passed_on(kind: Callable[..., Any], net: Callable[[], nn.Module]) -> None:
    monitor = kind(on_error="raise")
    assert not warnings_of(net(), torch.rand(24, 4), monitor)
    assert monitor.records


def test_a_forward_that_takes_more_inputs_is_told_where_to_name_them() -> None:
    with pytest.raises(TypeError) as caught:
        Masked.forward(Masked())
    assert remedy_for(caught.value, "something else") == MORE_INPUTS and "input=lambda batch" in MORE_INPUTS
    assert remedy_for(TypeError("no"), "something else") == "something else"
