"""Units that died keep the exemplars from when they last fired."""

import torch

from lightning_explain.exemplars.last_fired import LastFired
from lightning_explain.exemplars.layer_exemplars import LayerExemplars
from lightning_explain.exemplars.peaks import as_places
from lightning_explain.exemplars.top_samples import TopSamples, keys_of


def report(values: list[list[float]], first: int, epoch: int) -> LayerExemplars:
    numbers = torch.arange(first, first + 6).reshape(3, 2)
    top = TopSamples(keys_of(torch.tensor(values), numbers), numbers % 3, as_places(numbers, (50,)))
    return LayerExemplars.of(top, numbers, shape=(50,), by="activation", epoch=epoch, before=None)


def test_each_unit_keeps_the_report_in_which_it_last_fired() -> None:
    first = report([[3.0, 2], [2, 1], [0, 0]], 0, 1)
    second = report([[4.0, 2], [0, 0], [0, 0]], 10, 2)
    third = report([[0.0, 0], [0, 0], [0, 0]], 20, 3)
    kept = LastFired.of(second, LastFired.of(first, None))
    assert kept.epochs.tolist() == [2, 1, -1]
    kept = LastFired.of(third, kept)
    assert kept.epochs.tolist() == [2, 1, -1]
    shown = kept.shown(third, [0, 1, 2])
    assert shown.earlier == {0: 2, 1: 1} and shown.epoch == 3
    assert shown.samples.tolist() == [[10, 11], [2, 3], [24, 25]]
    assert shown.values.tolist() == [[4.0, 2.0], [2.0, 1.0], [0.0, 0.0]]
    assert shown.labels.tolist() == [[1, 2], [2, 0], [0, 1]]
    assert shown.positions.flatten().tolist() == [10, 11, 2, 3, 24, 25]
    assert kept.shown(third, []) is third and kept.shown(third, [2]) is third
    # units that fire now are shown as they are
    assert LastFired.of(second, kept).shown(second, [0]) is second


def test_a_layer_of_other_units_begins_anew() -> None:
    before = LastFired.of(report([[3.0, 2], [2, 1], [0, 0]], 0, 1), None)
    numbers = torch.zeros(2, 2, dtype=torch.long)
    top = TopSamples(keys_of(torch.ones(2, 2), numbers), numbers, numbers)
    other = LayerExemplars.of(top, numbers, shape=(), by="activation", epoch=2, before=None)
    assert LastFired.of(other, before).epochs.tolist() == [2, 2]
