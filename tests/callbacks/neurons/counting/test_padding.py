"""Samples that a distributed sampler repeats are marked."""

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from lightning_explain.callbacks.neurons.counting.padding import counted_samples

DATA = TensorDataset(torch.arange(7))
CPU = torch.device("cpu")


@pytest.mark.parametrize("n_processes", [2, 3, 4])
def test_every_sample_counts_once_over_all_processes(n_processes: int) -> None:
    counted: list[int] = []
    for rank in range(n_processes):
        sampler = DistributedSampler(DATA, num_replicas=n_processes, rank=rank, shuffle=False)
        loader = DataLoader(DATA, batch_size=2, sampler=sampler)
        for i, (batch,) in enumerate(loader):
            marked = counted_samples(loader, i, len(batch), CPU)
            counted += batch[torch.ones(len(batch), dtype=torch.bool) if marked is None else marked].tolist()
    assert sorted(counted) == list(range(7))


def test_all_count_where_nothing_is_repeated() -> None:
    assert counted_samples(DataLoader(DATA, 2), 0, 2, CPU) is None
    even = TensorDataset(torch.arange(8))
    sampler = DistributedSampler(even, num_replicas=2, rank=1)
    assert counted_samples(DataLoader(even, 2, sampler=sampler), 0, 2, CPU) is None
    dropping = DistributedSampler(DATA, num_replicas=2, rank=0, drop_last=True)
    assert counted_samples(DataLoader(DATA, 2, sampler=dropping), 0, 2, CPU) is None


def test_a_list_of_batches_is_no_sampler() -> None:
    assert counted_samples([torch.arange(3)], 0, 3, CPU) is None
