"""Shares of a batch and what becomes of them; processes that really talk are in test_sharding."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher, _SubprocessScriptLauncher

from lightning_explain.attribution.result import Attribution
from lightning_explain.callbacks.base.distributed import Ranks, assembled, communicating, is_spawned


@pytest.mark.parametrize("n_samples", [1, 2, 5, 7, 8])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shares_cover_the_batch_and_are_equally_large(n_samples: int, count: int) -> None:
    shares = [Ranks(rank, count).rows(n_samples) for rank in range(count)]
    assert {row for share in shares for row in share} == set(range(n_samples))
    assert {len(share) for share in shares} == {-(-n_samples // count)}


@pytest.mark.parametrize(("n_samples", "count"), [(5, 2), (3, 4), (6, 3)])
def test_shares_are_put_back_into_the_order_of_the_batch(n_samples: int, count: int) -> None:
    values, ids = torch.rand(n_samples, 3), torch.arange(n_samples)
    whole = Attribution(
        values=(values, ids),
        convergence_delta=values.sum(1),
        error=None,
        target=ids,
        baseline=None,
        n_evaluations=ids,
    )
    rows = [Ranks(rank, count).rows(n_samples) for rank in range(count)]
    shares = [
        Attribution(
            values=(values[own], ids[own]),
            convergence_delta=values[own].sum(1),
            error=None,
            target=ids[own],
            baseline=None,
            n_evaluations=ids[own],
        )
        for own in rows
    ]
    found = assembled([{"of": share} for share in shares], rows)["of"]
    assert found.error is None
    for mine, expected in zip(found.parts, whole.parts, strict=True):
        assert torch.equal(mine, expected)
    torch.testing.assert_close(found.convergence_delta, whole.convergence_delta)
    assert torch.equal(found.n_evaluations, ids)


def test_one_process_does_its_work_and_communicates_with_none() -> None:
    assert communicating(lambda: Ranks().exchanged("mine")) == (["mine"], False)
    with pytest.raises(ValueError, match="as it was raised"):
        Ranks().agreed(lambda: (_ for _ in ()).throw(ValueError("as it was raised")))


@pytest.mark.parametrize("spawned", [True, False])
def test_processes_that_end_with_the_fit_are_told_from_those_that_stay(spawned: bool) -> None:
    strategy: Any = DDPStrategy()
    multi, script = _MultiProcessingLauncher(strategy, start_method="spawn"), _SubprocessScriptLauncher
    launcher = multi if spawned else script(LightningEnvironment(), 2, 1)
    assert is_spawned(SimpleNamespace(strategy=SimpleNamespace(launcher=launcher))) is spawned
    assert not is_spawned(SimpleNamespace(strategy=SimpleNamespace()))
