"""Faults, as data: what is done to a run, what its one warning must say, and whether the run survived.

`python -m tests.reliability.faults` prints the table; `run` tries one fault in a run of its own.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, IntegratedGradients
from lightning_explain.errors import ExplanationWarning
from tests.reliability.small import SmallNet, fit_small, loaders, weights_of
from tests.reliability.wholeness import broken_files, different, left_behind

NEURONS, ATTRIBUTION, PATH = "neurons", "attribution", "path"
ALL = (NEURONS, ATTRIBUTION, PATH)
MONITORS: dict[str, Callable[..., Any]] = {
    NEURONS: lambda **o: ActiveNeuronMonitor(**{"feeding": 1, "layers": ["frozen.2", "head.1"], **o}),
    ATTRIBUTION: lambda **o: AttributionMonitor(**{"method": IntegratedGradients(n_steps=8), **o}),
    PATH: lambda **o: DecisionPathMonitor(**{"n_units": 4, "n_paths": 3, **o}),
}


@dataclass
class Run:
    """A run that is about to go wrong; a fault changes it.

    Attributes:
        model: The module.
        data: Arguments of `fit`.
        logger: Kind of logger.
        options: Of the monitor.
        trainer: Options of the Trainer.
        callbacks: Further callbacks, after the monitor.
        prepare: Called with the monitor before the fit.
        patches: What to replace while it runs: owner, name, replacement.
    """

    folder: Path
    model: pl.LightningModule = field(default_factory=SmallNet)
    data: dict[str, Any] = field(default_factory=loaders)
    logger: type[Any] = TensorBoardLogger
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    trainer: dict[str, Any] = field(default_factory=dict[str, Any])
    callbacks: list[pl.Callback] = field(default_factory=list[pl.Callback])
    prepare: Callable[[Any], None] = lambda monitor: None
    patches: list[tuple[Any, str, Any]] = field(default_factory=list[tuple[Any, str, Any]])

    def go(self, monitors: Sequence[pl.Callback]) -> BaseException | None:
        """Fit; return what ended it before its time."""
        logger = self.logger(self.folder, name="run", version="")
        try:
            with ExitStack() as stack:
                for owner, name, replacement in self.patches if monitors else []:
                    stack.enter_context(mock.patch.object(owner, name, replacement))
                fit_small(self.model, self.data, callbacks=[*monitors, *self.callbacks], logger=logger, **self.trainer)
        except (Exception, KeyboardInterrupt, SystemExit) as ended:  # noqa: BLE001 - how it ended is the question
            return ended
        finally:
            if self.logger is TensorBoardLogger:
                logger.experiment.close()
        return None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong in a run.

    Attributes:
        name: What goes wrong.
        monitor: Which callback watches.
        inflict: Makes it go wrong.
        says: What the one warning must name: the cause, and what to do.
        ends: How the run ends by the user's own doing; None where it must go on to its end.
        records: Fewest reports that the monitor must have made all the same.
        raises: Whether `on_error="raise"` must raise.
        most: Most warnings; more than one only where each says something of its own.
    """

    name: str
    monitor: str
    inflict: Callable[[Run], None]
    says: tuple[str, ...] = ()
    ends: tuple[type[BaseException], ...] = ()
    records: int = 0
    raises: bool = True
    most: int = 1

    def __str__(self) -> str:
        return f"{self.monitor}: {self.name}"


@dataclass(frozen=True)
class Outcome:
    """How a run went that had a fault.

    Attributes:
        fault: The fault.
        warned: What the monitor said.
        n_files: Files that were parsed afterwards.
        problems: What should not be; empty if the run survived.
    """

    fault: Fault
    warned: tuple[str, ...]
    n_files: int
    problems: tuple[str, ...]

    @property
    def survived(self) -> bool:
        """Whether everything is as it should be."""
        return not self.problems


def run(fault: Fault, *, also_raising: bool = True) -> Outcome:
    """Try a fault with `on_error="warn"` and with `"raise"`, beside a run that nobody watches."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        wounded = _wounded(fault.inflict, folder)
        monitor = MONITORS[fault.monitor](**wounded.options)
        wounded.prepare(monitor)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")  # each text once, as a user sees it
            ended = wounded.go([monitor])
        told = tuple(str(w.message) for w in caught if issubclass(w.category, ExplanationWarning))
        n_files, wrong = broken_files(Path(folder))
        problems += [*_ended(fault, ended), *_told(fault, told), *left_behind(wounded.model), *wrong]
        how, weights = unwatched(fault.inflict)
        # where the monitor's own work is interrupted, an unwatched run trains on
        problems += different(weights_of(wounded.model), weights) if how is type(ended) else []
        if len(monitor.records) < fault.records:
            problems.append(f"{len(monitor.records)} reports, expected at least {fault.records}")
    if fault.raises and also_raising:
        problems += _refuses(fault)
    return Outcome(fault, told, n_files, tuple(problems))


def _wounded(inflict: Callable[[Run], None], folder: str) -> Run:
    torch.manual_seed(2)  # a net that is alive
    wounded = Run(Path(folder))
    inflict(wounded)
    return wounded


def _ended(fault: Fault, ended: BaseException | None) -> list[str]:
    if isinstance(ended, fault.ends) if fault.ends else ended is None:
        return []
    return [f"the run ended with {type(ended).__name__}: {ended}"]


def _told(fault: Fault, told: Sequence[str]) -> list[str]:
    if not 0 < len(told) <= fault.most if fault.says else told:
        return [f"{len(told)} warnings: {' // '.join(told)}"]
    return [f"the warning lacks {words!r}: {told[0]}" for words in fault.says if words not in told[0]]


def _refuses(fault: Fault) -> list[str]:
    """Say if `on_error="raise"` lets the failure pass."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wounded = _wounded(fault.inflict, folder)
        monitor = MONITORS[fault.monitor](**wounded.options, on_error="raise")
        wounded.prepare(monitor)
        ended = wounded.go([monitor])
        left = left_behind(wounded.model)
    raised = ended is not None and not isinstance(ended, KeyboardInterrupt)
    return [*([] if raised else ["on_error='raise' did not raise"]), *(f"after raising: {words}" for words in left)]


@cache
def unwatched(inflict: Callable[[Run], None]) -> tuple[type[Any], dict[str, Tensor]]:
    """Return how the same run ends without a monitor, and its weights."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bare = _wounded(inflict, folder)
        ended = bare.go([])
        return type(ended), weights_of(bare.model)


def table(outcomes: Sequence[Outcome] | None = None) -> str:
    """Print each fault, and by which monitors' runs it was survived; tries them all if no outcomes are given."""
    from tests.reliability.fault_list import FAULTS

    tried = [run(fault) for fault in FAULTS] if outcomes is None else list(outcomes)
    rows = ["| fault | neurons | attribution | path |", "|---|---|---|---|"]
    for name in dict.fromkeys(outcome.fault.name for outcome in tried):
        these = [outcome for outcome in tried if outcome.fault.name == name]
        by_monitor = {o.fault.monitor: "survived" if o.survived else "NOT SURVIVED" for o in these}
        rows.append(f"| {name} | " + " | ".join(by_monitor.get(monitor, "") for monitor in ALL) + " |")
    survived, files = sum(outcome.survived for outcome in tried), sum(outcome.n_files for outcome in tried)
    raised = sum(outcome.fault.raises for outcome in tried)
    rows += ["", f"{len(tried)} faults tried, {survived} survived; {raised} of them raise with on_error='raise'; "
             f"{files} files parsed."]  # fmt: skip
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
