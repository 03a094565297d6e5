"""Top samples of units equal a sort of everything, whatever the batches, loaders and processes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_explain.exemplars import batch_samples, candidates
from lightning_explain.exemplars.batch_samples import BatchSamples
from lightning_explain.exemplars.candidates import Candidates, _keys, _values, batch_threshold
from lightning_explain.exemplars.top_samples import (
    EMPTY,
    LAST_NUMBER,
    TopSamples,
    keys_of,
    merged,
    merged_layers,
    of_batch,
    values_of,
)

CPU = torch.device("cpu")
Entry = tuple[float, int, int, int]


def sorted_all(values: Tensor, numbers: Tensor, labels: Tensor, places: Tensor, k: int) -> list[list[Entry]]:
    """Sort all samples of each unit with Python's own sort: larger values first, then lower numbers."""
    units: list[list[Entry]] = []
    for unit in range(values.shape[1]):
        found = [
            (float(values[row, unit]), int(numbers[row]), int(labels[row]), int(places[row, unit]))
            for row in range(len(values))
            if numbers[row] >= 0 and torch.isfinite(values[row, unit])
        ]
        units.append(sorted(found, key=lambda entry: (-entry[0], entry[1]))[:k])
    return units


def entries(top: TopSamples) -> list[list[Entry]]:
    columns = (top.values.tolist(), top.numbers.tolist(), top.labels.tolist(), top.places.tolist())
    return [[entry for entry in zip(*unit, strict=True) if entry[1] >= 0] for unit in zip(*columns, strict=True)]


def by_layers(batches: Any, n_units: int, k: int) -> TopSamples:
    kept = {key: TopSamples.none(n_units, k, CPU) for key in ("a", "b")}
    for values, places, numbers, labels in batches:
        found = of_batch(values, places, numbers, labels)
        kept |= merged_layers(kept, {"a": found, "b": found})
    assert all(torch.equal(a, b) for a, b in zip(kept["a"], kept["b"], strict=True))
    return kept["a"]


def by_candidates(batches: Any, n_units: int, k: int, *, has_positions: bool = True) -> TopSamples:
    kept, last = Candidates(n_units, k), -1
    for values, places, numbers, labels in batches:
        samples = BatchSamples.of(numbers, labels, None, after=last)
        last = max(last, samples.last)
        if has_positions:
            at = places.numpy()
            kept.add(values, samples, lambda rows, units, at=at: at[rows, units], (100,))
        else:
            kept.add(values, samples)
    return kept.top()


def by_blocks(batches: Any, n_units: int, k: int) -> TopSamples:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "FEW", 0)
        patch.setattr(candidates, "BLOCK", 3)
        return by_candidates(batches, n_units, k)


def flat(batches: Any, n_units: int, k: int) -> TopSamples:
    """As flat layers, whose batches wait for each other; they have no positions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "FEW", 0)
        patch.setattr(candidates, "BLOCK", 3)
        patch.setattr(batch_samples, "MOST_ROWS", 12)
        top = by_candidates(batches, n_units, k, has_positions=False)
    assert not bool(top.places.any())
    numbers, places = torch.cat([part[2] for part in batches]), torch.cat([part[1] for part in batches])
    rows = (top.numbers[:, :, None] == numbers).float().argmax(2)
    return top._replace(places=places[rows, torch.arange(n_units)[:, None]])


def by_processes(batches: Any, n_units: int, k: int) -> TopSamples:
    shares = [by_candidates(batches[rank::3], n_units, k) for rank in range(3)]
    return merged(shares[2], merged(shares[1], shares[0]))


WAYS = {
    "all layers at once": by_layers,
    "candidates": by_candidates,
    "candidates in blocks": by_blocks,
    "flat layers": flat,
    "three processes": by_processes,
}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_samples=st.integers(1, 60),
    batch=st.integers(1, 20),
    k=st.integers(1, 9),
    coarse=st.booleans(),
    spoiled=st.booleans(),
    in_order=st.booleans(),
)
@pytest.mark.parametrize("way", list(WAYS))
def test_equal_to_a_sort_of_everything(
    way: str, *, seed: int, n_samples: int, batch: int, k: int, coarse: bool, spoiled: bool, in_order: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n_samples, 5, generator=generator)
    values = (2 * values).round() / 2 if coarse else values  # many ties, -0.0 among them
    values[:, 0] = values[:, 0].relu()
    numbers = torch.arange(n_samples) if in_order else torch.randperm(n_samples, generator=generator)
    if spoiled:
        values[::3, 1], values[::4, 2], values[1::2, 3] = torch.nan, torch.inf, -torch.inf
        numbers[torch.randint(0, n_samples, (n_samples // 4,), generator=generator)] = -1
    labels = torch.randint(0, 5, (n_samples,), generator=generator)
    places = torch.randint(0, 100, (n_samples, 5), generator=generator)
    parts = (values, places, numbers, labels)
    batches = [tuple(part[start : start + batch] for part in parts) for start in range(0, n_samples, batch)]
    found = WAYS[way](batches, 5, k)
    assert entries(found) == sorted_all(values, numbers, labels, places, k)


def test_keys_order_values_first_and_then_numbers() -> None:
    values = torch.tensor([-3.5e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3.4e38])
    keys = keys_of(values.clamp(-3.4e38), torch.tensor([7, 6, 5, 4, 3, 2, 1, 0]))
    assert keys.argsort().tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    torch.testing.assert_close(values_of(keys)[1:], values[1:], rtol=0, atol=0)
    first, last = keys_of(torch.zeros(2), torch.tensor([0, LAST_NUMBER]))
    assert first > last > EMPTY


def test_fewer_samples_than_places_leave_some_empty() -> None:
    found = by_candidates(
        [(torch.tensor([[2.0], [3.0]]), torch.zeros(2, 1).long(), torch.arange(2), torch.arange(2))], 1, 4
    )
    assert found.numbers.tolist() == [[1, 0, -1, -1]] and found.values[0, 2:].isnan().all()
    assert found.labels.tolist() == [[1, 0, -1, -1]]


def test_at_least_k_samples_reach_the_threshold_of_a_batch() -> None:
    values = torch.randn(50, 30).numpy()
    threshold = batch_threshold(values, 8)
    assert ((values >= threshold).sum(0) >= 8).all() and np.isfinite(threshold).all()
    assert np.isneginf(batch_threshold(values[:5], 8)).all()
    values[3] = np.inf
    assert np.isneginf(batch_threshold(values, 8)).all()


def test_keys_on_a_processor_are_the_same() -> None:
    values = torch.tensor([-3.5e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3.4e38, torch.nan, torch.inf])
    numbers = torch.randperm(10)
    keys = _keys(values.numpy(), numbers.numpy())
    assert keys.tolist() == keys_of(values, numbers).tolist()
    assert _values(keys)[:8].tolist() == [-torch.inf, *values_of(torch.from_numpy(keys[1:8])).tolist()]
    assert np.isneginf(_values(keys)[8:]).all()
