"""Samples that no index leads to are kept as they pass."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_explain import ActiveNeuronMonitor
from lightning_explain.callbacks.neurons.exemplars.passing import PassingSamples, followed_units
from lightning_explain.exemplars.top_samples import TopSamples, keys_of
from tests.callbacks.neurons.exemplars.test_card_maker import Validated, by_autograd, cards
from tests.training import fit

X, Y = torch.randn(60, 6), torch.arange(60) % 2


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(zip(X, Y, strict=True))


def rows_of(crop: Tensor) -> list[int]:
    return (crop == X).all(1).nonzero().flatten().tolist()


@pytest.mark.filterwarnings("ignore:.*shuffling enabled")
@pytest.mark.parametrize(
    "loader",
    [DataLoader(TensorDataset(X, Y), 7, shuffle=True), DataLoader(Stream(), 7)],
    ids=["shuffled", "without an index"],
)
def test_the_samples_shown_are_those_that_passed(loader: Any) -> None:
    net = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 2))
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, ablation=0, on_error="raise")
    fit(monitor, model=lambda: Validated(net), data=(DataLoader(TensorDataset(X, Y), 10), loader), max_epochs=2)
    found = cards(monitor)["net.1"]
    with torch.no_grad():
        hidden = net[:2](X)
    assert found
    for card in found:
        best = hidden[:, card.unit].topk(4)
        assert [rows_of(exemplar.crop) for exemplar in card.exemplars] == [[row] for row in best.indices.tolist()]
        assert [exemplar.value for exemplar in card.exemplars] == pytest.approx(best.values.tolist(), rel=1e-5)
        value, heat = by_autograd(net, "1", card.exemplars[0].crop, card.unit, ())
        torch.testing.assert_close(card.exemplars[0].heatmap, heat)
        assert value == pytest.approx(card.exemplars[0].value, rel=1e-4)


def test_only_the_best_of_some_units_are_kept() -> None:
    kept, values, k = PassingSamples(2), torch.randn(50, 100), 3
    tops = TopSamples.none(100, k, torch.device("cpu"))
    for start in range(0, 50, 10):
        numbers = torch.arange(start, start + 10)
        keys = keys_of(values[: start + 10].T, torch.arange(start + 10)).topk(k, 1).values
        tops = TopSamples(keys, torch.zeros_like(keys), torch.zeros_like(keys))
        kept.add({"a": tops}, numbers.tolist(), (values[start : start + 10],))
    units = kept.units(100)
    assert len(units) == 16
    wanted = {row for unit in units for row in values[:, unit].topk(2).indices.tolist()}
    found = kept.of(range(50))
    assert set(found) == wanted
    assert all(torch.equal(sample[0], values[number]) for number, sample in found.items())


def test_few_units_are_followed_where_samples_are_large() -> None:
    kept, large = PassingSamples(4), torch.zeros(2, 1 << 20)
    tops = {str(i): TopSamples.none(64, 8, torch.device("cpu")) for i in range(4)}
    kept.add(tops, [0, 1], (large,))
    assert len(kept.units(64)) == 1 and followed_units(64, 1) == [0]
