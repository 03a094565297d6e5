"""Counts of layers by class: sums over batches, growing classes, and what is thrown away."""

import pytest
import torch
from torch import Tensor

from lightning_explain.callbacks.neurons.counting.layer_counts import DRAIN_EVERY, CountShapes, LayerCounts, layer_of
from lightning_explain.neurons import LayerProfile
from lightning_explain.neurons.activity import unit_activity
from lightning_explain.neurons.class_counts import class_rows

CPU = torch.device("cpu")
OUTPUTS = torch.tensor([[1.0, -1.0], [2.0, 3.0], [-1.0, -1.0], [4.0, -2.0]])
LABELS = torch.tensor([0, 0, 1, 1])


def add(counts: LayerCounts, key: str, outputs: Tensor = OUTPUTS, labels: Tensor = LABELS) -> None:
    counts.add(key, unit_activity(outputs, unit_dim=1), class_rows(labels, counts.n_classes))


def profiles(counts: LayerCounts, *layers: str, shapes: CountShapes | None = None) -> dict[str, LayerProfile]:
    return counts.profiles(shapes or counts.shapes(), layers, device=CPU, min_rate=0.5)


def counted(*keys: str, n_classes: int = 2) -> LayerCounts:
    counts = LayerCounts(n_classes)
    for key in keys:
        add(counts, key)
    counts.end_batch()
    return counts


def test_rates_and_means_are_those_counted_by_hand() -> None:
    found = profiles(counted("fc"), "fc")["fc"]
    assert found.rates.tolist() == [[1.0, 0.5], [0.5, 0.0]]
    assert found.activation.tolist() == [[1.5, 1.0], [1.5, -1.5]]
    assert found.n_samples.tolist() == [2, 2]
    assert found.magnitude.tolist() == [2.0, 1.75]


@pytest.mark.parametrize("n_batches", [1, DRAIN_EVERY, DRAIN_EVERY + 3])
def test_batches_add_up_across_the_drain_and_a_reset_forgets_them(n_batches: int) -> None:
    counts = LayerCounts(2)
    assert counts.is_empty
    for _ in range(n_batches):
        add(counts, "fc")
        counts.end_batch()
    assert not counts.is_empty
    found = profiles(counts, "fc")["fc"]
    assert found.n_samples.tolist() == [2 * n_batches] * 2
    assert found.rates.tolist() == [[1.0, 0.5], [0.5, 0.0]]
    counts.reset()
    assert profiles(counts, "fc") == {} and counts.counted_layers() == set()


def test_classes_that_are_met_later_get_rows_and_can_be_put_together() -> None:
    counts = counted("fc", n_classes=2)
    counts.grow(4)
    add(counts, "fc", labels=torch.tensor([3, 3, -1, 0]))
    found = profiles(counts, "fc")["fc"]
    assert found.n_samples.tolist() == [3, 2, 0, 2]
    assert found.rates[0].tolist() == pytest.approx([1.0, 1 / 3]) and found.rates[3].tolist() == [1.0, 0.5]
    counts.put_together()
    assert profiles(counts, "fc")["fc"].rates.tolist() == [pytest.approx([6 / 7, 2 / 7])]


def test_calls_are_told_apart_and_come_in_the_order_of_the_model() -> None:
    counts = counted("b", "a#1", "a", "gone")
    assert list(profiles(counts, "a", "b")) == ["a", "a#1", "b"]
    assert counts.counted_layers() == {"a", "b", "gone"}
    assert [layer_of(key) for key in ("a", "a#11")] == ["a", "a"]
    add(counts, "a#1")
    add(counts, "b")
    counts.discard_gathered("a")
    found = profiles(counts, "a", "b")
    assert int(found["a#1"].n_samples.sum()) == 4 and int(found["b"].n_samples.sum()) == 8


def test_what_only_another_process_counted_is_made_room_for_but_has_no_profile() -> None:
    counts = counted("a")
    found = profiles(counts, "a", "b", shapes=CountShapes(3, {"a": 2, "b": 5}))
    assert list(found) == ["a"] and found["a"].rates.shape == (3, 2)
    assert counts.shapes() == CountShapes(3, {"a": 2, "b": 5})


def test_counts_go_on_from_what_was_saved() -> None:
    saved = counted("a").state_dict()
    resumed = LayerCounts(1)
    resumed.load_state_dict(saved, CPU)
    assert resumed.n_classes == 2
    add(resumed, "a")
    assert profiles(resumed, "a")["a"].n_samples.tolist() == [4, 4]
    damaged = {"a": saved["a"], "b": {"active": torch.zeros(2, 3)}}
    untouched = LayerCounts(1)
    with pytest.raises(TypeError):
        untouched.load_state_dict(damaged, CPU)
    assert untouched.shapes().layers == {}
