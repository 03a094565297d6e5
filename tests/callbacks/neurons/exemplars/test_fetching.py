"""Samples are had again by their numbers, as the loader and the Trainer give them."""

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.neurons.exemplars.fetching import NotFetchedError, fetched
from lightning_explain.callbacks.neurons.exemplars.sample_numbers import DataNumbers
from tests.callbacks.neurons.exemplars.small_data import trainer_of

A, B = torch.randn(7, 3), torch.randn(5, 3)
LOADERS = [DataLoader(TensorDataset(part, torch.zeros(len(part))), 2) for part in (A, B)]
NUMBERS = DataNumbers((7, 5), (True, True), 100)


def test_samples_of_several_loaders_in_the_order_asked_for() -> None:
    asked = [11, 0, 6, 7, 0]
    (found,) = fetched(trainer_of(*LOADERS), Question(), NUMBERS, asked, {})
    assert torch.equal(found, torch.cat([A, B])[asked])


def test_several_inputs_are_each_fetched() -> None:
    loader = DataLoader(TensorDataset(A, 2 * A, torch.zeros(7)), 2)
    found = fetched(trainer_of(loader), Question(input=[1, 0]), DataNumbers((7,), (True,), 100), [4, 1], {})
    assert [part.tolist() for part in found] == [(2 * A)[[4, 1]].tolist(), A[[4, 1]].tolist()]


def doubled(batch: Any) -> Any:
    return [2 * part for part in batch]


def negative(items: list[Any]) -> list[Any]:
    return [-torch.stack([item[0] for item in items]), torch.stack([item[1] for item in items])]


def test_they_are_collated_and_converted_like_batches() -> None:
    loader = DataLoader(TensorDataset(A, torch.zeros(7)), 2, collate_fn=negative)
    trainer = trainer_of(loader, convert=doubled)
    (found,) = fetched(trainer, Question(), DataNumbers((7,), (True,), 100), [3], {})
    assert torch.equal(found, -2 * A[3:4])
    assert trainer.state.stage == "train"


def test_what_was_kept_is_used_where_there_is_no_index() -> None:
    numbers, kept = DataNumbers((7, 5), (True, False), 100), {9: (torch.ones(3),), 10: (torch.zeros(3),)}
    (found,) = fetched(trainer_of(*LOADERS), Question(), numbers, [9, 2], kept)
    assert torch.equal(found, torch.stack([torch.ones(3), A[2]]))
    found[0] = 5
    assert torch.equal(kept[9][0], torch.ones(3))
    with pytest.raises(NotFetchedError, match="Give a validation loader that does not shuffle"):
        fetched(trainer_of(*LOADERS), Question(), numbers, [9, 8], kept)


def pairs(items: list[Any]) -> list[Any]:
    return [torch.stack([item[0] for item in items]).repeat(2, 1), torch.zeros(2 * len(items))]


def test_items_that_make_several_samples_are_refused() -> None:
    loader = DataLoader(TensorDataset(A, torch.zeros(7)), 2, collate_fn=pairs)
    with pytest.raises(NotFetchedError, match="2 items of the validation data make 4 samples"):
        fetched(trainer_of(loader), Question(), DataNumbers((7,), (True,), 100), [3, 1], {})


class Noisy(TensorDataset):
    def __getitem__(self, index: int) -> Any:
        return self.tensors[0][index] + torch.randn(3), torch.zeros(1)


def test_random_streams_end_as_they_began() -> None:
    before = torch.get_rng_state()
    trainer = trainer_of(DataLoader(Noisy(A), 2))
    one, other = (fetched(trainer, Question(), DataNumbers((7,), (True,), 100), [3], {})[0] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, other) and not torch.equal(one, A[3:4])
