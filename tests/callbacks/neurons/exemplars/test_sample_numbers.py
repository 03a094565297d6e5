"""Numbers of validation samples are indices of the data set where the sampler shows them."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.neurons.exemplars.sample_numbers import SampleNumbers, index_order

DATA = TensorDataset(torch.arange(23))


def numbered(loaders: Sequence[Any]) -> list[tuple[list[int], list[int]]]:
    """Walk through loaders; return for each what passed, and the numbers in the data."""
    numbers = SampleNumbers(loaders, Ranks())
    passed: list[tuple[list[int], Tensor]] = []
    for index, loader in enumerate(loaders):
        batches = [batch[0] if isinstance(batch, list | tuple) else batch for batch in loader]
        found = [numbers.of_batch(index, i, len(batch)) for i, batch in enumerate(batches)]
        passed.append((torch.cat(batches).tolist(), torch.cat(found)))
    data = numbers.finish()
    return [(values, data.of(found).tolist()) for values, found in passed]


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Any:
        return iter(torch.arange(5))


def fewer(items: list[Any]) -> Tensor:
    return torch.stack([item[0] for item in items if int(item[0]) % 7])


@pytest.mark.parametrize(
    "sampler", [None, [5, 3, 20, 8], range(3, 23, 2), SequentialSampler(DATA)], ids=["none", "list", "range", "own"]
)
def test_numbers_are_indices(sampler: Any) -> None:
    ((passed, numbers),) = numbered([DataLoader(DATA, 4, sampler=sampler)])
    assert numbers == passed


@pytest.mark.parametrize("wrapped", [None, [5, 3, 20, 8, 1]], ids=["plain", "of a list"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_sample_of_a_divided_data_set_has_its_index_once(count: int, wrapped: Any) -> None:
    found: list[int] = []
    for rank in range(count):
        options: dict[str, Any] = {"num_replicas": count, "rank": rank, "shuffle": False}
        of = DistributedSampler(DATA, **options) if wrapped is None else DistributedSamplerWrapper(wrapped, **options)
        loader = DataLoader(DATA, 4, sampler=of)
        numbers = SampleNumbers([loader], Ranks(rank, count))
        for i, (batch,) in enumerate(loader):
            own = numbers.of_batch(0, i, len(batch))
            assert all(number in (-1, value) for number, value in zip(own.tolist(), batch.tolist(), strict=True))
            found += [number for number in own.tolist() if number >= 0]
    assert sorted(found) == sorted(range(23) if wrapped is None else wrapped)


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(DATA, 4, shuffle=True),
        DataLoader(DATA, 4, sampler=SubsetRandomSampler(range(9))),
        DataLoader(DATA, batch_sampler=[[1, 2], [3]]),
        DataLoader(DATA, batch_size=None),
        DataLoader(Stream(), 2),
        DataLoader(DATA, 4, sampler=DistributedSampler(DATA, num_replicas=2, rank=0, shuffle=True)),
        [torch.arange(3)],
    ],
    ids=["shuffled", "subset", "batches", "single", "stream", "shuffled shares", "list"],
)
def test_what_draws_at_random_shows_no_index(loader: Any) -> None:
    assert index_order(loader) is None


def test_samples_without_an_index_are_numbered_as_they_pass_and_by_process() -> None:
    ((passed, numbers),) = numbered([DataLoader(Stream(), 2)])
    assert passed == numbers == [0, 1, 2, 3, 4]
    of_rank = SampleNumbers([DataLoader(Stream(), 2)], Ranks(1, 3))
    assert of_rank.of_batch(0, 0, 2).tolist() == [1, 4] and of_rank.of_batch(0, 1, 1).tolist() == [7]


def test_a_collate_function_that_drops_samples_takes_the_index_away() -> None:
    loader = DataLoader(DATA, 4, collate_fn=fewer)
    numbers = SampleNumbers([loader], Ranks())
    assert numbers.has_index(0)
    for i, batch in enumerate(loader):
        numbers.of_batch(0, i, len(batch))
    assert not numbers.has_index(0) and numbers.finish().indexed == (False,)


def test_several_loaders_are_numbered_through() -> None:
    found = numbered([DataLoader(DATA, 4), DataLoader(Stream(), 2), DataLoader(DATA, 5)])
    assert [numbers for _, numbers in found] == [list(range(23)), list(range(23, 28)), list(range(28, 51))]
    numbers = SampleNumbers([DataLoader(DATA, 4), DataLoader(DATA, 4)], Ranks()).finish()
    assert numbers.place(22) == (0, 22) and numbers.place(23) == (1, 0)
    with pytest.raises(IndexError):
        numbers.place(46)


def test_samples_keep_numbers_of_their_own_where_a_collate_function_drops_one_late() -> None:
    order = [30, 31, 32, 33, 34, 35, 36, *range(30)]
    numbers = SampleNumbers([DataLoader(TensorDataset(torch.zeros(37)), batch_size=4, sampler=order)], Ranks())
    sizes = [4, 4, 4, 3, *[4] * 5, 1]
    found = torch.cat([numbers.of_batch(0, batch, size) for batch, size in enumerate(sizes)]).tolist()
    assert len(set(found)) == len(found) == 36
    assert max(found) < numbers.finish().sizes[0] and not numbers.has_index(0)


def test_processes_that_lose_the_order_number_beyond_the_indices_of_others() -> None:
    loader = DataLoader(TensorDataset(torch.zeros(8)), batch_size=4)
    late = torch.cat([SampleNumbers([loader], Ranks(rank, 2)).of_batch(0, 0, 3) for rank in range(2)]).tolist()
    assert sorted(late) == [8, 9, 10, 11, 12, 13]
