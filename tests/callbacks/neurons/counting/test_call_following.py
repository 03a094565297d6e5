"""Real runs whose shapes say nothing of where units are, against counting by hand in the step itself."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor
from lightning_explain.errors import ConfigurationError
from tests.training import explanation_warnings, fit

Y = torch.arange(24) % 3


class ByHand(pl.LightningModule):
    """Notes activations [batch, units, positions] and which positions count, where they are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: dict[str, list[tuple[Tensor, Tensor | None]]] = {}
        self.labels: list[Tensor] = []

    def note(self, key: str, value: Tensor, by_unit: Tensor, valid: Tensor | None = None) -> Tensor:
        self.box[key] = (by_unit.detach().flatten(2) if by_unit.ndim > 2 else by_unit.detach()[..., None], valid)
        return value

    def step(self, batch: Any) -> Tensor:
        self.box: dict[str, Any] = {}
        scores = self(*batch[:-1])
        for key, found in self.box.items():
            self.noted.setdefault(key, []).append(found)
        self.labels.append(batch[-1])
        return functional.cross_entropy(scores, batch[-1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.step(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.step(batch)

    def on_validation_epoch_start(self) -> None:
        self.noted, self.labels = {}, []

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)

    def expected(self, key: str) -> Tensor:
        """Rates [classes, units], sample by sample and unit by unit."""
        rates: list[list[bool]] = []
        for by_unit, valid in self.noted[key]:
            for i, sample in enumerate(by_unit):
                kept = sample if valid is None else sample[:, valid[i]]
                rates.append([bool((u > 0).any()) and float((u > 0).float().mean()) >= 0.25 for u in kept])
        active, labels = torch.tensor(rates).float(), torch.cat(self.labels)
        return torch.stack([active[labels == c].mean(0) for c in range(3)])


class LeNet(ByHand):
    """The map after the second convolution is as high and wide as the last layer has scores."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.relu = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 5, 3), nn.ReLU()
        self.fc, self.out = nn.Linear(45, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.one(x))
        h = functional.max_pool2d(self.note("relu", h, h), 1)
        h = self.relu(self.two(h))
        h = self.relu(self.fc(self.note("relu#1", h, h).flatten(1)))
        return self.out(self.note("relu#2", h, h))


class TimeFirst(ByHand):
    """As many steps as samples in a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.act, self.fc, self.out = nn.GRU(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.rnn(x.transpose(0, 1))[0]
        self.note("rnn", h, h.permute(1, 2, 0))
        h = self.act(self.fc(h))
        return self.out(self.note("act", h, h.permute(1, 2, 0))[-1])


class Twice(ByHand):
    """One layer, two calls, two functions."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.out = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.f(x[:, 0]))
        h = functional.softsign(self.f(self.note("f", h, h)))
        return self.out(self.note("f#1", h, h))


class Branch(ByHand):
    """A shared activation, and a branch in the middle that runs in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.relu = nn.Linear(6, 6), nn.Conv1d(6, 6, 1), nn.ReLU()
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        keys = iter(["relu", "relu#1"])
        if self.training:
            h = self.relu(self.one(x))
            self.note(next(keys), h, h.transpose(1, 2))
        h = self.relu(self.two(x.transpose(1, 2)))
        return self.out(self.note(next(keys), h, h).mean(2))


class Words(nn.Module):
    """Takes a mask as transformers does."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc, self.act = nn.Embedding(9, 6), nn.Linear(6, 6), nn.GELU()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.act(self.fc(self.embed(input_ids)))


class Padded(ByHand):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = Words(), nn.Linear(6, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        h = self.words(input_ids=ids, attention_mask=mask)
        self.note("words.act", h, h.transpose(1, 2), mask.bool())
        return self.out((h * mask[..., None]).sum(1))


class PaddedOutermost(Padded):
    """The mask is an argument of the outermost call of the step, which is followed just before it is made."""

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        h = self.words.act(self.words.fc(self.words.embed(ids)))
        self.note("words.act", h, h.transpose(1, 2), attention_mask.bool())
        return self.out((h * attention_mask[..., None]).sum(1))


class PaddedPair(Padded):
    """Two outermost calls with a mask in each step, the second of the same texts backwards."""

    def step(self, batch: Any) -> Tensor:
        ids, mask, labels = batch
        self.box: dict[str, Any] = {}
        both = [self.words(ids, attention_mask=mask), self.words(ids.flip(1), attention_mask=mask.flip(1))]
        for key, h, own in zip(("words.act", "words.act#1"), both, (mask, mask.flip(1)), strict=True):
            self.note(key, h, h.transpose(1, 2), own.bool())
            self.noted.setdefault(key, []).append(self.box[key])
        self.labels.append(labels)
        return functional.cross_entropy(self.out(sum(both).mean(1)), labels)


def series() -> tuple[Tensor, ...]:
    return (torch.randn(24, 6, 6, generator=torch.Generator().manual_seed(1)), Y)


def images() -> tuple[Tensor, ...]:
    return (torch.randn(24, 1, 7, 7, generator=torch.Generator().manual_seed(1)), Y)


def words() -> tuple[Tensor, ...]:
    ids = torch.randint(0, 9, (24, 6), generator=torch.Generator().manual_seed(1))
    return (ids, (torch.arange(6)[None] < (1 + torch.arange(24) % 6)[:, None]).long(), Y)


RUNS: dict[str, tuple[Callable[[], ByHand], Callable[[], tuple[Tensor, ...]]]] = {
    "one activation for maps and features": (LeNet, images),
    "time first": (TimeFirst, series),
    "a layer called twice": (Twice, series),
    "a branch in training only": (Branch, series),
    "a padding mask": (Padded, words),
    "a padding mask of the outermost call": (PaddedOutermost, words),
    "two outermost calls with a padding mask": (PaddedPair, words),
}


def counted(
    make: Callable[[], ByHand], data: tuple[Tensor, ...], *, epochs: int = 2, **options: Any
) -> tuple[Any, ByHand, list[str]]:
    monitor, loader = (
        ActiveNeuronMonitor(feeding=0, maps=0, exemplars=0, **options),
        DataLoader(TensorDataset(*data), 6),
    )
    with explanation_warnings() as told:
        trainer = fit(monitor, model=make, data=(loader, loader), seed=2, num_sanity_val_steps=0, max_epochs=epochs)
    return monitor, trainer.lightning_module, told


@pytest.mark.parametrize("name", RUNS)
def test_rates_are_those_of_counting_by_hand(name: str) -> None:
    make, data = RUNS[name]
    monitor, model, told = counted(make, data(), on_error="raise", target=len(data()) - 1)
    assert model.noted and not told
    for key in model.noted:
        torch.testing.assert_close(monitor.profiles["val"][key].rates, model.expected(key))
        assert monitor.profiles["val"][key].n_samples.sum() == 24
    if name == "a branch in training only":
        # its first step was counted wrongly, which was seen and taken back; the second epoch is whole
        assert monitor.profiles["train"]["relu#1"].n_samples.sum() == 24


@pytest.mark.parametrize("make", [Padded, PaddedOutermost, PaddedPair])
def test_no_padding_is_counted_in_the_batch_that_is_followed(make: Callable[[], ByHand]) -> None:
    monitor, model, told = counted(make, words(), epochs=1, on_error="raise", target=2)
    assert not told
    for key in model.noted:
        torch.testing.assert_close(monitor.profiles["val"][key].rates, model.expected(key))


class Unknown(ByHand):
    def __init__(self) -> None:
        super().__init__()
        self.act, self.out = nn.Tanh(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(x)
        return self.out(self.note("act", h, h.transpose(1, 2)).mean(1))


def test_where_nothing_tells_the_monitor_asks_and_takes_the_answer() -> None:
    monitor, _, told = counted(Unknown, series())
    assert not monitor.profiles.get("val")
    assert [words for words in told if "unit_dims={'act': 1}" in words and "[6, 6, 6]" in words]
    monitor, model, told = counted(Unknown, series(), unit_dims={"a*": -1})
    assert not told
    torch.testing.assert_close(monitor.profiles["val"]["act"].rates, model.expected("act"))


def test_an_answer_about_no_layer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="matches no watched layer. Watched are: act"):
        counted(Unknown, series(), layers="act", unit_dims={"atc": 1})


class Sorted(ByHand):
    """Sorts its sequences by length, and puts what it found of them back into the order of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.inner, self.outer = nn.GRU(3, 5, batch_first=True), nn.Tanh(), nn.ReLU()
        self.fc, self.out = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        lengths, order = (x[..., 0] != 0).sum(1).sort(descending=True, stable=True)
        packed = pack_padded_sequence(x[order], lengths.clamp_min(1), batch_first=True)
        h = self.inner(self.rnn(packed)[1][-1])
        h = self.outer(self.fc(h)[order.argsort()])
        return self.out(self.note("outer", h, h))


def test_rows_in_another_order_than_the_labels_are_not_counted_and_those_put_back_are() -> None:
    x = torch.randn(24, 5, 3)
    for row in range(24):
        x[row, 1 + (row * 7) % 5 :] = 0
    monitor, model, told = counted(Sorted, (x, Y))
    (words,) = told
    assert "inner, rnn get the batch's samples in another order" in words and "enforce_sorted=False" in words
    assert list(monitor.profiles["val"]) == ["outer"] and monitor.latest is not None
    torch.testing.assert_close(monitor.profiles["val"]["outer"].rates, model.expected("outer"))
    assert list(monitor.latest.layers) == ["outer"]


class SortedByTheStep(ByHand):
    """Its step sorts samples and labels for one part of the module; another part gets them as they came."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Sequential(nn.Linear(3, 5), nn.Tanh()), nn.Sequential(nn.Linear(3, 5), nn.ReLU())
        self.out = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.inner(x))

    def step(self, batch: Any) -> Tensor:
        x, y = batch
        self.box = {}
        h = self.outer(x)
        self.note("outer.1", h, h)
        self.noted.setdefault("outer.1", []).append(self.box["outer.1"])
        self.labels.append(y)
        order = x[:, 0].argsort()
        return functional.cross_entropy(self(x[order]), y[order]) + h.mean()


def test_what_the_step_hands_on_in_another_order_is_not_counted() -> None:
    monitor, model, told = counted(SortedByTheStep, (torch.randn(24, 3), Y))
    assert [words for words in told if "inner.1 get the batch's samples in another order" in words]
    assert list(monitor.profiles["val"]) == ["outer.1"]
    torch.testing.assert_close(monitor.profiles["val"]["outer.1"].rates, model.expected("outer.1"))
