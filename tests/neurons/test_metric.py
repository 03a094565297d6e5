"""The counting metric: brute force, and everything torchmetrics does with a metric."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_explain.errors import ConfigurationError
from lightning_explain.neurons import ActiveNeurons, ClassRates, unit_activity
from lightning_explain.neurons.class_counts import ClassCounts, JointCounts, SummedLayer, class_rows


def batches(seed: int = 0, n_batches: int = 3, n_classes: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(5, 4, generator=generator), torch.randint(0, n_classes, (5,), generator=generator))
        for _ in range(n_batches)
    ]


def fed(data: list[tuple[Tensor, Tensor]], n_classes: int = 3) -> ActiveNeurons:
    metric = ActiveNeurons(n_classes, 4)
    for activations, labels in data:
        metric.update(activations, labels)
    return metric


def assert_same(found: ClassRates, expected: ClassRates) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, equal_nan=True)


@given(seed=st.integers(0, 999), n_classes=st.integers(2, 6))
@settings(max_examples=25)
def test_rates_and_means_are_those_of_loops(seed: int, n_classes: int) -> None:
    data = batches(seed, n_classes=n_classes)
    found = fed(data, n_classes).compute()
    rows, labels = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
    for c in range(n_classes):
        mine = rows[labels == c]
        assert int(found.n_samples[c]) == len(mine)
        for neuron in range(4):
            values = mine[:, neuron].tolist()
            if values:
                assert float(found.rates[c, neuron]) == pytest.approx(sum(v > 0 for v in values) / len(values))
                assert float(found.activation[c, neuron]) == pytest.approx(sum(values) / len(values), abs=1e-5)
            else:
                assert found.rates[c, neuron].isnan() and found.activation[c, neuron].isnan()
    assert found.alive.tolist() == (rows > 0).any(0).tolist()


def test_classes_without_samples_are_undefined_and_not_zero() -> None:
    metric = ActiveNeurons(3, 2)
    metric.update(torch.ones(2, 2), torch.tensor([1, 1]))
    found = metric.compute()
    assert found.rates.isnan().all(1).tolist() == [True, False, True]
    assert found.n_samples.tolist() == [0, 2, 0]


def test_a_neuron_that_was_active_once_is_alive() -> None:
    metric = ActiveNeurons(1, 2)
    for rows in ([[1.0, 0.0]], [[0.0, 0.0]]):
        metric.update(torch.tensor(rows), torch.tensor([0]))
    assert metric.compute().alive.tolist() == [True, False]


def test_ignored_and_left_out_samples_count_for_no_class() -> None:
    metric = ActiveNeurons(2, 1)
    metric.update(torch.ones(4, 1), torch.tensor([0, -100, 1, 1]), torch.tensor([True, True, True, False]))
    assert metric.compute().n_samples.tolist() == [1, 1]


@pytest.mark.parametrize(("shape", "unit_dim"), [((4, 3, 5, 5), 1), ((4, 6, 3), -1)])
def test_layouts_threshold_and_fraction_reach_the_count(shape: tuple[int, ...], unit_dim: int) -> None:
    output, labels = torch.randn(shape), torch.tensor([0, 1, 0, 1])
    options = {"unit_dim": unit_dim, "threshold": 0.3, "min_fraction": 0.4}
    metric = ActiveNeurons(2, 3, **options)
    metric.update(output, labels)
    ready = ActiveNeurons(2, 3)
    ready.update(unit_activity(output, **options), labels)
    assert_same(metric.compute(), ready.compute())


def gathered(activations: Tensor, labels: Tensor, n_classes: int) -> ClassCounts:
    activity = unit_activity(activations, unit_dim=1)
    sums = JointCounts(n_classes, [SummedLayer.of(activity)], torch.device("cpu"))
    sums.add([activity], class_rows(labels, n_classes))
    return sums.drain()[0]


def test_add_counts_as_update_does() -> None:
    metric = ActiveNeurons(3, 4)
    for activations, labels in batches():
        metric.add(gathered(activations, labels, 3))
    assert_same(metric.compute(), fed(batches()).compute())
    assert metric.update_count == fed(batches()).update_count == 3


def test_add_after_compute_is_counted_in_the_next_compute() -> None:
    metric = fed(batches())
    before = metric.compute().n_samples.sum()
    metric.add(gathered(torch.ones(2, 4), torch.tensor([0, 1]), 3))
    assert int(metric.compute().n_samples.sum() - before) == 2


@pytest.mark.parametrize("method", ["add", "update"])
def test_counts_keep_no_graph_alive(method: str) -> None:
    metric = ActiveNeurons(1, 2)
    rows, labels = torch.ones(3, 2, requires_grad=True), torch.zeros(3, dtype=torch.long)
    if method == "add":
        metric.add(gathered((rows * 2).detach(), labels, 1)._replace(activation=(rows * 2).sum(0, keepdim=True)))
    else:
        metric.update(rows * 2, labels)
    assert not metric.activation.requires_grad


def test_small_activations_are_not_lost_beside_a_large_sum() -> None:
    metric = ActiveNeurons(1, 1)
    for activation in (1e9, *[1.0] * 100, -1e9):
        metric.update(torch.tensor([[activation]]), torch.tensor([0]))
    assert float(metric.compute().activation) == pytest.approx(100 / 102)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ActiveNeurons(0, 3), "n_classes=0, n_neurons=3; expected at least 1"),
        (lambda: ActiveNeurons(1, 0), "n_neurons=0"),
        (lambda: ActiveNeurons(1, 3, min_fraction=1.1), "min_fraction=1.1; expected a share"),
        (lambda: ActiveNeurons(1, 3, min_fraction=-0.1), "min_fraction=-0.1"),
        (lambda: ActiveNeurons(2, 3).update(torch.ones(1, 3), torch.tensor([2])), "class index 2, but n_classes=2"),
        (lambda: ActiveNeurons(2, 3).update(torch.ones(1, 4), torch.tensor([0])), "4 neurons, but n_neurons=3"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call()


def test_a_refused_batch_leaves_no_trace() -> None:
    metric = fed(batches())
    before = copy.deepcopy(metric.metric_state)
    with pytest.raises(ConfigurationError):
        metric.update(torch.ones(1, 4), torch.tensor([7]))
    for name, state in metric.metric_state.items():
        torch.testing.assert_close(state, before[name])


def test_growing_keeps_what_was_counted_and_never_shrinks() -> None:
    metric = fed(batches())
    before = metric.compute()
    metric.grow(2)
    assert metric.n_classes == 3
    metric.grow(5)
    assert metric.n_classes == 5
    after = metric.compute()
    torch.testing.assert_close(after.rates[:3], before.rates, equal_nan=True)
    assert after.n_samples[3:].tolist() == [0, 0]
    assert torch.equal(after.alive, before.alive)
    metric.update(torch.ones(1, 4), torch.tensor([4]))
    assert metric.compute().n_samples[4] == 1
    metric.reset()
    assert metric.n_classes == 5 and int(metric.samples.sum()) == 0


def test_reset_forgets() -> None:
    metric = fed(batches())
    metric.reset()
    for activations, labels in batches(1):
        metric.update(activations, labels)
    assert_same(metric.compute(), fed(batches(1)).compute())


def test_forward_returns_the_batch_and_counts_on() -> None:
    metric = ActiveNeurons(3, 4)
    for activations, labels in batches():
        assert_same(metric(activations, labels), fed([(activations, labels)]).compute())
    assert_same(metric.compute(), fed(batches()).compute())


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda metric: pickle.loads(pickle.dumps(metric))])
def test_a_copy_goes_on_by_itself(twin: Callable[[ActiveNeurons], ActiveNeurons]) -> None:
    metric = fed(batches())
    other = twin(metric)
    assert_same(other.compute(), metric.compute())
    other.update(torch.ones(1, 4), torch.tensor([0]))
    assert int(other.samples.sum()) == int(metric.samples.sum()) + 1


def test_the_state_survives_a_checkpoint() -> None:
    metric = fed(batches())
    other = ActiveNeurons(3, 4)
    other.load_state_dict(metric.state_dict())
    for activations, labels in batches(1):
        other.update(activations, labels)
    assert_same(other.compute(), fed(batches() + batches(1)).compute())


def test_the_state_of_a_grown_metric_is_saved_whole() -> None:
    metric = fed(batches())
    metric.grow(6)
    assert metric.state_dict()["samples"].shape == (6,)
    assert set(metric.state_dict()) == {"active", "activation", "samples", "alive", "magnitude"}


@pytest.mark.parametrize("start", ["new", "reset", "grown", "forward"])
def test_counting_goes_on_in_training_after_validation_under_inference_mode(start: str) -> None:
    metric = ActiveNeurons(3, 4)
    with torch.inference_mode():
        if start == "reset":
            metric.reset()
        if start == "grown":
            metric.grow(4)
        for activations, labels in batches():
            (metric if start == "forward" else metric.update)(activations, labels)
        metric.compute()
    for activations, labels in batches(1):
        metric.update(activations.clone(), labels.clone())
    assert_same(metric.compute(), fed(batches() + batches(1), metric.n_classes).compute())


def test_processes_add_their_counts_up() -> None:
    metric = ActiveNeurons(3, 4)
    for name, reduction in metric._reductions.items():
        one, two = torch.tensor([[1, 2]]), torch.tensor([[3, 5]])
        assert reduction is not None, name
        torch.testing.assert_close(reduction(torch.stack([one, two])), one + two)


@given(order=st.permutations(range(3)))
def test_classes_are_counted_each_for_itself(order: list[int]) -> None:
    place = torch.tensor(order).argsort()
    found = fed([(x, place[y]) for x, y in batches()]).compute()
    torch.testing.assert_close(found.rates, fed(batches()).compute().rates[order], equal_nan=True)


def test_samples_left_out_do_not_count_for_dormancy() -> None:
    metric = ActiveNeurons(2, 2)
    output, labels = torch.tensor([[1.0, -3.0], [50.0, 0.0], [70.0, 0.0]]), torch.tensor([0, 1, -100])
    metric.update(output, labels, torch.tensor([True, False, True]))
    assert metric.compute().magnitude.tolist() == [1, 3]


def test_the_size_of_signed_maps_is_the_mean_of_absolute_values() -> None:
    maps = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    metric = ActiveNeurons(2, 4)
    metric.update(maps, torch.arange(6) % 2)
    expected = [float(maps[:, j].abs().mean()) for j in range(4)]
    assert metric.compute().magnitude.tolist() == pytest.approx(expected, rel=1e-5)
