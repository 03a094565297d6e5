"""The sample in which strategies are looked for: which samples, how many, under which names."""

import math
from typing import Any

import pytest
import torch

from lightning_explain import AttributionMonitor, Probe, Saliency, Strategies
from lightning_explain.callbacks.attribution.strategies.larger_sample import named_like
from tests.callbacks.attribution.strategies.marked_digits import loaders, net, two_kinds
from tests.training import explanation_warnings, fit


def sample_of(**options: Any) -> Probe:
    images, labels, _ = two_kinds()
    monitor = AttributionMonitor(
        method=Saliency(), measures=["cosine"], strategies=Strategies(**options), on_error="raise"
    )
    fit(monitor, model=net, data=loaders(images, labels), max_epochs=1)
    assert monitor.latest is not None
    assert monitor.latest.strategies is not None
    return monitor.latest.strategies.sample


@pytest.mark.parametrize(("data", "first"), [("training", 40), ("validation", 0)])
def test_it_is_drawn_from_the_data_asked_for_as_many_of_each_class(data: str, first: int) -> None:
    images, labels, _ = two_kinds()
    sample = sample_of(per_class=18, data=data)
    assert sample.labels is not None
    assert torch.bincount(sample.labels).tolist() == [18, 18]
    rows = torch.tensor(sample.indices) + first
    assert len(rows.unique()) == len(rows)
    assert torch.equal(sample.parts[0], images[rows])
    assert torch.equal(sample.labels, labels[rows])


def test_there_are_at_most_max_samples() -> None:
    assert 32 <= len(sample_of(max_samples=40)) <= 40


def test_another_seed_draws_others() -> None:
    assert sample_of(per_class=18).indices == sample_of(per_class=18).indices
    assert sample_of(per_class=18).indices != sample_of(per_class=18, seed=1).indices


def test_classes_of_too_few_samples_are_told() -> None:
    images, labels, _ = two_kinds(n=80)
    few = Probe(inputs=images[:50], targets=torch.tensor([0] * 40 + [1] * 10))
    with explanation_warnings() as told:
        monitor = AttributionMonitor(method=Saliency(), measures=["cosine"], strategies=Strategies(samples=few))
        fit(monitor, model=net, data=loaders(images, labels), max_epochs=1)
    assert any("1 of 2 classes have fewer than 16 samples" in words for words in told)
    assert monitor.records[-1]["scalars"]["explain/attribution/strategies/0"] >= 1
    assert math.isnan(monitor.records[-1]["scalars"]["explain/attribution/strategies/1"])


def test_a_sample_without_names_takes_the_probes() -> None:
    inputs = torch.rand(4, 3)
    sample = Probe(inputs=inputs, targets=torch.tensor([0, 1, 0, 1]))
    probe = Probe(inputs=inputs, targets=torch.tensor([0, 1, 0, 1]), class_names=("cat", "dog"))
    assert named_like(sample, probe).class_names == ("cat", "dog")
    own = Probe(inputs=inputs, targets=torch.tensor([0, 1, 0, 1]), class_names=("a", "b"))
    assert named_like(own, probe).class_names == ("a", "b")
    values = Probe(inputs=inputs, targets=torch.rand(4))
    assert named_like(sample, values).targets is None
