"""Faults are found out: with one of the safeguards taken away, the fault it stands against is not survived."""

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from lightning_explain import ActiveNeuronMonitor
from lightning_explain import isolation as isolating
from lightning_explain.attribution.integrated_gradients import passes
from lightning_explain.callbacks.attribution import history
from lightning_explain.callbacks.base import error_handling as guard
from lightning_explain.callbacks.base import explanation_monitor
from lightning_explain.callbacks.neurons.counting import stage_counts as neuron_counts
from lightning_explain.capture import recorder
from lightning_explain.log import sinks
from lightning_explain.neurons import LayerProfile
from tests.reliability.fault_list import FAULTS
from tests.reliability.faults import run, unwatched


def nothing(*args: Any, **kwargs: Any) -> None:
    """A safeguard that was forgotten."""


def raising(self: Any, what: str, error: BaseException, *rest: Any) -> None:
    raise error


def chatty(self: Any, what: str, error: BaseException, *rest: Any) -> None:
    import warnings

    from lightning_explain.errors import ExplanationWarning

    warnings.warn(f"{what}: {error}, training goes on; forward_fn", ExplanationWarning, stacklevel=2)


@contextmanager
def never_resumed() -> Any:
    recorder._Pause.depth += 1
    yield
    recorder._Pause.depth -= 1


def plainly(path: Path, content: bytes) -> None:
    with path.with_name(f"{path.name}.part").open("wb") as file:
        file.write(content)


def carelessly(path: Path, line: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(line + b"\n")


Mutation = tuple[str, Any, str, Any]

MUTATIONS: list[Mutation] = [
    ("path: forward raises on the probe", guard.Guard, "tell", raising),
    ("attribution: forward raises on the probe from the start", guard.Guard, "tell", chatty),
    ("neurons: training_step raises", recorder.Recorder, "detach", nothing),
    ("neurons: Ctrl-C in a step", ActiveNeuronMonitor, "on_exception", nothing),
    ("attribution: Ctrl-C in an explanation", isolating, "recording_paused", never_resumed),
    ("attribution: forward raises on the probe", isolating._SavedModule, "restore", nothing),
    ("attribution: the disk is full when writing .part", sinks, "write_whole", plainly),
    ("neurons: the disk is full when writing .jsonl", sinks, "append_line", carelessly),
    ("attribution: the event file has no room", guard, "remedy_for", lambda error, cure: ""),
    ("path: a pass runs out of memory", passes, "ran_out_of_memory", lambda problem: False),
    ("attribution: tensors of the checkpoint are cut off", history.History, "check", nothing),
    (
        "attribution: the checkpoint explained something else",
        explanation_monitor,
        "what_changed",
        lambda earlier, now: "",
    ),
    ("neurons: a submodule is taken out", neuron_counts.StageCounts, "silent_layers", lambda self: []),
    ("neurons: weights turn NaN", LayerProfile, "not_finite", property(lambda self: torch.zeros_like(self.alive))),
    ("path: inputs are NaN", guard, "identity_of", lambda error: f"{type(error).__name__}: {error}"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "owner", "safeguard", "without"), MUTATIONS, ids=[f"{row[0]}-{row[2]}"[:90] for row in MUTATIONS]
)
def test_without_its_safeguard_a_fault_is_not_survived(
    name: str, owner: Any, safeguard: str, without: Callable[..., Any]
) -> None:
    (fault,) = (fault for fault in FAULTS if str(fault) == name)
    try:
        with mock.patch.object(owner, safeguard, without):
            assert not run(fault, also_raising=False).survived
    finally:
        recorder._Pause.depth = 0
        unwatched.cache_clear()  # a run of a monitor without its safeguard may have come before
        _no_global_hooks()


def _no_global_hooks() -> None:
    from torch.nn.modules import module as module_hooks

    from tests.reliability.wholeness import GLOBAL_HOOKS

    for kind in GLOBAL_HOOKS:
        vars(module_hooks)[kind].clear()


def test_cures_know_the_common_causes() -> None:
    assert "Make room" in guard.remedy_for(OSError(28, "No space left on device"))
    assert "chunk_size" in guard.remedy_for(torch.OutOfMemoryError("CUDA out of memory"))
