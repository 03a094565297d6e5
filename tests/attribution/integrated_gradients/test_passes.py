"""Rows per pass: chosen by what a pass keeps in memory, halved when memory runs out."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightning_explain import IntegratedGradients
from lightning_explain.attribution.integrated_gradients.passes import (
    MOST_ROWS_ON_CPU,
    TRIAL_ROWS,
    Block,
    RowLimit,
    counting_kept_bytes,
    in_passes,
    memory_limited,
    ran_out_of_memory,
)
from lightning_explain.errors import ConfigurationError, ExplanationWarning

CPU = torch.device("cpu")


class Crowded:
    """A network that has memory for so many rows and no more, and notes how many it was given."""

    def __init__(self, *, room: int = 10**9, width: int = 64, problem: type[BaseException] = torch.OutOfMemoryError):
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 3))
        self.room, self.problem, self.rows = room, problem, list[int]()

    def __call__(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        if len(x) > self.room:
            raise self.problem("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return self.net(x)


def inputs(n: int = 20) -> Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("samples", [1, 3, 8, 9, 40])
@pytest.mark.parametrize("nodes", [1, 5])
@pytest.mark.parametrize("rows", [1, 2, 7, 8, 100])
def test_blocks_cover_everything_once(nodes: int, samples: int, rows: int) -> None:
    whole = Block(range(nodes), range(samples))
    every = [(n, s) for n in range(nodes) for s in range(samples)]
    for pieces in (whole.split(rows), [p for cut in whole.first(rows) for p in cut.split(rows)]):
        assert all(0 < piece.rows <= rows for piece in pieces)
        assert sorted((n, s) for piece in pieces for n in piece.nodes for s in piece.samples) == every


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8000 bytes"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_no_memory(problem: BaseException, expected: bool) -> None:
    assert ran_out_of_memory(problem) is expected


@pytest.mark.parametrize("problem", [torch.OutOfMemoryError, MemoryError])
@pytest.mark.parametrize("options", [{}, {"n_steps": 6}, {"chunk_size": 64}])
def test_a_pass_without_memory_is_run_again_in_halves(problem: Any, options: dict[str, Any]) -> None:
    """The result is that of enough memory, whatever was tried before."""
    x, target = inputs(), torch.arange(20) % 3
    expected = IntegratedGradients(**options)(Crowded(), x, target)
    small = Crowded(room=5, problem=problem)
    with pytest.warns(ExplanationWarning, match="ran out of memory, so the explanation goes on with"):
        found = IntegratedGradients(**options)(small, x, target)
    torch.testing.assert_close(found.values, expected.values)
    torch.testing.assert_close(found.convergence_delta, expected.convergence_delta, atol=1e-5, rtol=1e-4)
    assert found.n_evaluations.tolist() == expected.n_evaluations.tolist()
    assert max(small.rows) > 5, "there was a pass that failed"


def test_the_limit_found_is_kept_for_later_passes() -> None:
    small = Crowded(room=5)
    with pytest.warns(ExplanationWarning):
        IntegratedGradients(n_steps=16, chunk_size=64)(small, inputs(), 1)
    failed = [rows for rows in small.rows if rows > 5]
    assert failed == [64, 32, 16, 8], "halved until it fits, and never tried again"


def test_one_row_without_memory_is_an_error() -> None:
    # who asked tells of it: no word of passes that go on
    with pytest.raises(torch.OutOfMemoryError):
        IntegratedGradients(n_steps=4)(Crowded(room=0), inputs(), 1)


def test_other_problems_are_not_retried() -> None:
    limit, calls = RowLimit(4), list[int]()

    def run(block: Block) -> None:
        calls.append(block.rows)
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        in_passes(2, 2, limit=limit, device=CPU, run=run)
    assert calls == [4]


def test_kept_bytes_are_those_of_activations() -> None:
    """Against a count by hand: neither weights nor inputs, and what two operations share only once."""
    net = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 3))
    x = inputs(8).requires_grad_()
    with counting_kept_bytes() as kept:
        net(x)
    # tanh keeps its own output, and the second linear layer the same tensor as its input
    assert kept() == 8 * 64 * 4


def test_rows_follow_the_budget() -> None:
    """A pass keeps 256 bytes a row (the test above) and a few for the target, so that 11 KiB are 40 rows."""
    model = Crowded()
    IntegratedGradients(n_steps=20, memory_budget=40 * 280)(model, inputs(), 1)
    # first two samples are tried on their own
    assert next(rows for rows in model.rows if rows > 2) == TRIAL_ROWS and max(model.rows) == 40
    wide = Crowded(width=6400)
    IntegratedGradients(n_steps=32, memory_budget=40 * 280)(wide, inputs(), 1)
    assert set(wide.rows) <= {1, 2, TRIAL_ROWS} and wide.rows.count(1) >= 64, "less than a row is a row"
    default = Crowded()
    IntegratedGradients(n_steps=80)(default, inputs(), 1)
    assert max(default.rows) == 2 * 80 == MOST_ROWS_ON_CPU, "all nodes of two samples"


def test_a_linear_model_keeps_nothing_and_may_have_all_rows() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        IntegratedGradients()(lambda x: x.sum(1), inputs())


def test_counting_and_checkpointing_go_together() -> None:
    net = Crowded().net
    plain = IntegratedGradients()(net, inputs(), 1)
    saving = IntegratedGradients()(lambda x: checkpoint(net, x, use_reentrant=False), inputs(), 1)
    torch.testing.assert_close(saving.values, plain.values)


def test_models_that_forbid_counting_are_explained_all_the_same() -> None:
    """torch.func refuses the hooks that count."""

    def force(x: Tensor) -> Tensor:
        energy = torch.func.grad(lambda v: (v**3).sum())
        return energy(x).sum(1)

    result = IntegratedGradients(tolerance=0.001)(force, inputs())
    torch.testing.assert_close(result.values, 3 * inputs() ** 2, atol=0.02, rtol=0.01)


@pytest.mark.parametrize("option", ["chunk_size", "memory_budget", "n_draws"])
def test_options_below_one_are_refused(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{option}=0; expected at least 1"):
        IntegratedGradients(**{option: 0})


def test_a_few_rows_go_together_however_much_they_keep() -> None:
    """Unless a budget is given, or four rows keep more than 512 MiB."""
    cpu = torch.device("cpu")

    def rows(n_bytes: int, budget: int | None = None) -> int | None:
        limit, x = RowLimit(budget=budget), torch.ones(n_bytes // 4, requires_grad=True)
        with limit.measuring(1, cpu):
            (2 * x).exp()
        return limit.rows

    assert rows(2**20) == 64
    assert rows(100 * 2**20) == 4 and rows(100 * 2**20, budget=2**26) == 1
    with memory_limited(2**26):
        assert rows(100 * 2**20) == 1
