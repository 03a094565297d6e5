"""Exemplars of a layer over reports."""

import pytest
import torch

from lightning_explain.exemplars import LayerExemplars
from lightning_explain.exemplars.layer_exemplars import Remembered, purity, settled, stayed
from lightning_explain.exemplars.top_samples import TopSamples, keys_of


def exemplars(numbers: list[list[int]], epoch: int, before: LayerExemplars | None = None) -> LayerExemplars:
    samples = torch.tensor(numbers)
    values = torch.linspace(1, 0.5, samples.shape[1]).expand(samples.shape)
    top = TopSamples(keys_of(values, samples), samples % 3, torch.full_like(samples, 5))
    remembered = None if before is None else Remembered.from_state_dict(before.remembered.state_dict())
    return LayerExemplars.of(top, samples, shape=(9,), by="activation", epoch=epoch, before=remembered)


def test_shares_that_stayed_and_epochs_of_settling() -> None:
    first = exemplars([[0, 1, 2, 3], [10, 11, 12, 13]], 0)
    assert first.stayed.isnan().all() and first.settled.tolist() == [-1, -1]
    assert set(first.scalars()) == {"purity"}
    second = exemplars([[3, 1, 2, 9], [20, 11, 12, 21]], 1, first)
    assert second.stayed.tolist() == [0.75, 0.5] and second.settled.tolist() == [0, -1]
    third = exemplars([[3, 1, 2, 9], [12, 11, 20, 21]], 4, second)
    assert third.stayed.tolist() == [1, 1] and third.settled.tolist() == [0, 1]
    assert third.scalars()["settled"] == 1 and second.scalars()["settled"] == 0.5
    fourth = exemplars([[5, 6, 7, 8], [12, 11, 20, 21]], 5, third)
    assert fourth.settled.tolist() == [-1, 1]


def test_another_width_or_another_measure_begins_anew() -> None:
    first = exemplars([[0, 1]], 0)
    assert exemplars([[0, 1], [1, 0]], 1, first).stayed.isnan().all()
    samples = torch.tensor([[0, 1]])
    top = TopSamples(keys_of(torch.ones(1, 2), samples), samples, samples)
    other = LayerExemplars.of(top, samples, shape=(), by="relevance", epoch=1, before=first.remembered)
    assert other.stayed.isnan().all() and other.positions.shape == (1, 2, 0)


def test_places_without_a_sample_hold_nothing() -> None:
    found = exemplars([[4, -1]], 0)
    assert found.labels.tolist() == [[1, -1]] and found.positions.tolist() == [[[5], [-1]]]
    assert found.values[0, 1].isnan() and found.purity.tolist() == [1]
    (row,) = found.rows(["a", "b"])
    assert row == {"neuron": 0, "rank": 0, "sample": 4, "label": "b", "value": 1.0, "position": (5,)}
    assert found.record([0])["values"] == [[1.0, None]]


def test_purity_is_the_share_of_the_commonest_label() -> None:
    labels = torch.randint(-1, 3, (40, 8))
    for found, row in zip(purity(labels).tolist(), labels.tolist(), strict=True):
        known = [label for label in row if label >= 0]
        assert found == pytest.approx(max(map(known.count, known)) / len(known))
    assert settled(torch.tensor([-1]), torch.tensor([0.75]), 3).tolist() == [3]
    assert stayed(torch.tensor([[-1, 2]]), torch.tensor([[-1, 2]])).tolist() == [1]
