"""The processes of a distributed run, explaining one probe together: who takes which samples, what failures become."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from lightning_explain.errors import ConfigurationError, ExplanationError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run.

    Everything here is a collective call: each process must make it, in the same order.

    Attributes:
        rank: Place of this process.
        count: Number of processes; 1 where nothing is to be shared.

    Example:
        >>> Ranks(1, 3).rows(5), Ranks(2, 3).rows(5), Ranks(3, 4).rows(2)
        ([1, 4], [2, 0], [1])
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def of(cls, trainer: Any) -> "Ranks":
        """Look at a Trainer's processes; alone where they have no group through which to talk."""
        distributed = torch.distributed
        # a Trainer of one process may live in one of many that know each other
        if trainer.world_size == 1 or not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def rows(self, n_samples: int) -> list[int]:
        """Return the samples of this process: every `count`-th, because neighbours are alike and cost alike.

        All processes get equally many, at least one; where samples do not divide, the first ones are taken twice.
        """
        return [(self.rank + turn * self.count) % n_samples for turn in range(-(-n_samples // self.count))]

    def exchanged(self, own: T) -> list[T]:
        """Return the objects of all processes, in the order of ranks."""
        if self.count == 1:
            return [own]
        found: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(found, own)
        return cast("list[T]", found)

    def agreed(self, work: Callable[[], T]) -> T:
        """Do something that every process does; where one fails, all do, so that none waits for another.

        Raises:
            Exception: What `work` raised here.
            ConfigurationError: One was raised in another process.
            ExplanationError: It failed in another process in some other way.
        """
        if self.count == 1:
            return work()
        answer: Any = None
        problem: Exception | None = None
        try:
            answer = work()
        except Exception as error:  # noqa: BLE001 - raised below, once all know
            problem = error
        cause = "" if problem is None else f"{type(problem).__name__}: {problem}"
        causes = self.exchanged((cause, isinstance(problem, ConfigurationError)))
        if problem is not None:
            raise problem
        for rank, (told, is_configuration) in enumerate(causes):
            if told:
                # of the same kind everywhere: at set-up one ends the run, and the other does not
                kind = ConfigurationError if is_configuration else ExplanationError
                raise kind(f"It failed in process {rank} of {self.count}, so all leave it. There: {told}")
        return answer

    def gathered(self, own: T, n_samples: int) -> T:
        """Put together, sample by sample, what the processes found for their `rows`.

        Args:
            own: Tensors [rows, ...] on the CPU, or tuples, dicts or dataclasses of them, or None.
            n_samples: Samples in all.
        """
        if self.count == 1:
            return own
        return assembled(self.exchanged(own), [Ranks(r, self.count).rows(n_samples) for r in range(self.count)])


def assembled(shares: Sequence[T], rows: Sequence[Sequence[int]]) -> T:
    """Put shares of a batch back into its order.

    Args:
        shares: Tensors [rows, ...], or tuples, dicts or dataclasses of them, or None; alike in form.
        rows: The samples of each share.

    Example:
        >>> assembled([torch.tensor([1.0, 3.0]), torch.tensor([2.0])], [[0, 2], [1]])
        tensor([1., 2., 3.])
    """
    first: Any = shares[0]
    if isinstance(first, Tensor):
        n_samples = 1 + max(max(own) for own in rows)
        whole = first.new_empty((n_samples, *first.shape[1:]))
        for share, own in zip(shares, rows, strict=True):
            whole[list(own)] = cast(Tensor, share)
        return cast(T, whole)
    if isinstance(first, tuple):
        columns = zip(*cast("Sequence[tuple[Any, ...]]", shares), strict=True)
        return cast(T, tuple(assembled(column, rows) for column in columns))
    if isinstance(first, dict):
        mappings = cast("Sequence[dict[str, Any]]", shares)
        return cast(T, {key: assembled([m[key] for m in mappings], rows) for key in mappings[0]})
    if is_dataclass(first) and not isinstance(first, type):
        changed = {f.name: assembled([getattr(share, f.name) for share in shares], rows) for f in fields(first)}
        return cast(T, replace(cast(Any, first), **changed))
    return shares[0]


def communicating(work: Callable[[], T]) -> tuple[T, bool]:
    """Run something; return its result, and True if it communicates with other processes.

    Collective operations are counted by torch for each group of processes. Where a backend does not count them, the
    answer is True.

    Example:
        >>> communicating(lambda: 1 + 1)
        (2, False)
    """
    before = _n_collectives()
    found = work()
    return found, before is None or _n_collectives() != before


def _n_collectives() -> int | None:
    if not torch.distributed.is_available():
        return 0
    # torch has no public name for them
    world: Any = vars(torch.distributed.distributed_c10d)["_world"]
    try:
        return sum(group._get_sequence_number_for_group() for group in world.pg_map)
    except RuntimeError:
        return None


SPAWNED = (
    "this strategy trains in processes that it starts and that end with the fit (ddp_spawn, ddp_notebook), so that "
    "records and latest of the monitors stay behind in them: in the process that called fit they are as before. Read "
    "what the loggers got and each monitor's record.jsonl, or train with strategy='ddp'."
)


def is_spawned(trainer: Any) -> bool:
    """Return True if the processes of a run end with it, and what callbacks hold with them."""
    return hasattr(getattr(trainer.strategy, "launcher", None), "_start_method")
