"""Rows of a forward pass: chosen from a memory budget, halved when memory runs out."""

import math
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from lightning_explain.errors import doubt

T = TypeVar("T")

CPU_BUDGET = 64 * 2**20
"""Bytes that one pass may keep for its backward pass on the CPU. Larger passes were slower there: the C library gives
free memory beyond 64 MiB back after each of them, and fresh pages take longer than what is done in them."""

MOST_ROWS_ON_CPU = 160
"""Beyond this, passes get hardly faster on the CPU, those of convolutions slower, and all need more memory."""

FEW_ROWS, BYTES_OF_FEW_ROWS = 4, 2**29
"""So many rows a pass has on the CPU whatever they keep, up to so many bytes: with one row, matrix products and weights
that are read again take longer than fresh memory (ResNet-50 a third, ViT-S a seventh)."""

SHARE_OF_FREE_MEMORY = 0.25
"""On an accelerator, the share of its free memory that one pass may keep: the training step needs the rest."""

TRIAL_ROWS = 16
"""The first pass is this small; what it keeps in memory says how large the others may be."""

TRIAL_BYTES = 2**20
"""The first pass has no more rows than make so many bytes of inputs, or a photograph's would need a gigabyte."""

MOST_ROWS = 4096
"""Most rows of a pass on an accelerator."""

UNMEASURED_ROWS = 64
"""Rows of a pass where the model forbids counting (it uses `torch.func`)."""

NO_COUNTING = "saved tensor hooks"
"""What torch says where counting is forbidden."""

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""How torch says it when the CPU or a device that has no exception of its own runs out of memory."""


def ran_out_of_memory(problem: BaseException) -> bool:
    """Return True if an exception means that memory was too small.

    Example:
        >>> ran_out_of_memory(MemoryError()), ran_out_of_memory(RuntimeError("shapes do not match"))
        (True, False)
    """
    if isinstance(problem, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(problem, RuntimeError) and any(words in str(problem) for words in NO_MEMORY)


def memory_budget(device: torch.device) -> int:
    """Return the bytes that one pass may keep for its backward pass.

    Example:
        >>> memory_budget(torch.device("cpu")) // 2**20
        64
    """
    limit = _limit.get()
    if limit is not None:
        return limit
    if device.type != "cuda":
        return CPU_BUDGET
    free, _ = torch.cuda.mem_get_info(device)
    return int(free * SHARE_OF_FREE_MEMORY)


_limit: ContextVar[int | None] = ContextVar("memory limit", default=None)


@contextmanager
def memory_limited(n_bytes: int | None) -> Generator[None, None, None]:
    """Set the value of `memory_budget`, e.g. the smallest budget of several processes; None changes nothing.

    Example:
        >>> with memory_limited(4096):
        ...     memory_budget(torch.device("cpu"))
        4096
    """
    before = _limit.set(_limit.get() if n_bytes is None else n_bytes)
    try:
        yield
    finally:
        _limit.reset(before)


@contextmanager
def counting_kept_bytes() -> Generator[Callable[[], int], None, None]:
    """Count the bytes that forward passes keep for their backward passes; parameters and inputs do not count.

    Example:
        >>> x = torch.ones(8, 3, requires_grad=True)
        >>> with counting_kept_bytes() as kept:
        ...     _ = (2 * x).exp().sum()
        >>> kept()
        96
    """
    storages: dict[int, int] = {}
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        # what autograd keeps of `weight.t()` is a view of a leaf
        source = tensor._base if tensor._is_view() and tensor._base is not None else tensor
        storage = tensor.untyped_storage()
        if not source.is_leaf and storage.data_ptr() not in storages:
            storages[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor.detach())  # or its address might be given to another tensor
        # the tensor itself would be a reference cycle where an operation keeps its own output
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield lambda: sum(storages.values())
    kept.clear()


@dataclass
class RowLimit:
    """Largest number of rows (points times samples) of one forward pass.

    Attributes:
        rows: The limit; None until a first small pass was measured.
        budget: Bytes one pass may keep; None for `memory_budget` of the device.
        trial: Rows of the pass that is measured.
    """

    rows: int | None = None
    budget: int | None = None
    trial: int = TRIAL_ROWS

    @classmethod
    def of(cls, inputs: tuple[Tensor, ...], rows: int | None, budget: int | None) -> "RowLimit":
        """Return a limit for rows such as those of the inputs, each [batch, ...]."""
        row = sum(part[:1].nbytes for part in inputs)
        return cls(rows, budget, trial=max(1, min(TRIAL_ROWS, TRIAL_BYTES // max(1, row))))

    @property
    def allowed(self) -> int:
        """Rows that the next pass may have."""
        return self.trial if self.rows is None else self.rows

    @contextmanager
    def measuring(self, n_rows: int, device: torch.device) -> Generator[None, None, None]:
        """Set the limit by what a pass of `n_rows` keeps in memory, unless it is known."""
        if self.rows is not None:
            yield
            return
        with counting_kept_bytes() as kept:
            yield
        budget = memory_budget(device) if self.budget is None else self.budget
        most = MOST_ROWS_ON_CPU if device.type == "cpu" else MOST_ROWS
        allowed = budget * n_rows // max(1, kept())
        if self.budget is None and device.type == "cpu" and _limit.get() is None:
            allowed = max(allowed, min(FEW_ROWS, BYTES_OF_FEW_ROWS * n_rows // max(1, kept())))
        self.rows = max(1, min(most, allowed))

    def adapt(self, n_rows: int, problem: BaseException) -> None:
        """Allow half of the rows of a pass that ran out of memory; do without measuring where that is forbidden.

        Raises:
            BaseException: The problem itself, if it is another one or the pass had a single row.
        """
        if self.rows is None and NO_COUNTING in str(problem):
            self.rows = UNMEASURED_ROWS
            return
        if n_rows == 1 or not ran_out_of_memory(problem):
            raise problem
        self.rows = n_rows // 2


def _tell(failed: int, fitting: int, cure: str) -> None:
    """Warn that passes were made smaller; only once it helped, since complete failures are reported by the caller."""
    doubt(f"A pass of {failed} rows ran out of memory, so the explanation goes on with {fitting}. {cure}", stacklevel=3)


def in_halves(n_samples: int, run: Callable[[slice], T]) -> list[T]:
    """Run all samples in one pass, or in halves, quarters, ... where memory runs out.

    Args:
        n_samples: Samples.
        run: Runs some of them, on their own; what one sample gets must not depend on the others.

    Returns:
        What each pass gave, in the samples' order.

    Raises:
        MemoryError, RuntimeError: A single sample needs more memory than there is; or another error of `run`.

    Example:
        >>> in_halves(4, lambda samples: list(range(4)[samples]))
        [[0, 1, 2, 3]]
    """
    pending, found, smallest = [slice(0, n_samples)], list[T](), n_samples
    while pending:
        samples = pending.pop()
        n = samples.stop - samples.start
        try:
            found.append(run(samples))
            continue
        except (MemoryError, RuntimeError) as problem:
            if n <= 1 or not ran_out_of_memory(problem):
                raise
        # after the handler: the exception holds on to all that the pass kept
        smallest = min(smallest, n // 2)
        middle = samples.start + n // 2
        pending += [slice(middle, samples.stop), slice(samples.start, middle)]
    if smallest < n_samples:
        _tell(n_samples, smallest, "To start there, give a smaller probe.")
    return found


@dataclass(frozen=True)
class Block:
    """Some nodes of the path for some samples: what goes through the model in one pass."""

    nodes: range
    samples: range

    @property
    def rows(self) -> int:
        """Rows of the pass."""
        return len(self.nodes) * len(self.samples)

    def split(self, rows: int) -> "list[Block]":
        """Cut into blocks of at most `rows` rows, several samples in one where all nodes fit.

        Example:
            >>> [block.rows for block in Block(range(3), range(4)).split(8)]
            [6, 6]
        """
        if len(self.nodes) <= rows:
            step = rows // len(self.nodes)
            return [Block(self.nodes, self.samples[i : i + step]) for i in range(0, len(self.samples), step)]
        step = math.ceil(len(self.nodes) / math.ceil(len(self.nodes) / rows))
        return [
            Block(self.nodes[i : i + step], self.samples[j : j + 1])
            for j in range(len(self.samples))
            for i in range(0, len(self.nodes), step)
        ]

    def first(self, rows: int) -> "list[Block]":
        """Cut off a block of at most `rows` rows and return it with what is left."""
        nodes, samples = self.nodes, self.samples
        pieces = [
            Block(nodes[:rows], samples[:1]),
            Block(nodes[rows:], samples[:1]),
            Block(nodes, samples[1:]),
        ]
        return [piece for piece in pieces if piece.rows]


def in_passes(
    n_nodes: int, n_samples: int, *, limit: RowLimit, device: torch.device, run: Callable[[Block], None]
) -> None:
    """Run every node for every sample in passes that fit into memory.

    Args:
        n_nodes: Nodes of the path.
        n_samples: Samples.
        limit: Rows allowed in one pass; found at the first pass if unknown, halved when memory runs out.
        device: Where the model runs.
        run: Does one pass. It may fail for want of memory, and is then called again with smaller blocks; so it must
            change nothing before it has succeeded.
    """
    pending, failed = deque([Block(range(n_nodes), range(n_samples))]), 0
    while pending:
        block = pending.popleft()
        if block.rows > limit.allowed:
            pieces = block.first(limit.allowed) if limit.rows is None else block.split(limit.allowed)
            pending.extendleft(reversed(pieces))
            continue
        try:
            with limit.measuring(block.rows, device):
                run(block)
        except (MemoryError, RuntimeError) as problem:
            limit.adapt(block.rows, problem)
            pending.appendleft(block)
            failed = max(failed, block.rows if ran_out_of_memory(problem) else 0)
    if failed and limit.rows is not None:
        _tell(failed, limit.rows, f"To start there, give chunk_size={limit.rows}.")
