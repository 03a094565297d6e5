"""What a monitor of a probe carries on: from explanation to explanation, from fit to fit, through checkpoints."""

import weakref
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from lightning_explain.callbacks.base.compatibility import (
    DATA_CHANGED,
    PROBE_CHANGED,
    UNREADABLE,
    Asked,
    begins_anew,
    what_changed,
)
from lightning_explain.callbacks.base.error_handling import BEGINNING_ANEW, TAKING_UP, Guard
from lightning_explain.callbacks.base.moments import Moments
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.callbacks.base.output_choice import explained_targets
from lightning_explain.callbacks.base.overhead import Pacing
from lightning_explain.probe import Probe


@runtime_checkable
class Remembered(Protocol):
    """What a monitor remembers of earlier explanations.

    Attributes:
        target: The explained output of each sample, fixed for the whole run.
        caveat: A sentence that must be known to read what is compared; empty if there is none.
        probe: Fingerprint of the probe; empty before the first explanation.
    """

    target: Tensor | None
    caveat: str
    probe: str

    def check(self, n_samples: int) -> None:
        """Refuse what is no history of so many samples."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain tensors, numbers, strings, lists and dicts."""
        ...


H = TypeVar("H", bound=Remembered)


class Continuity(Generic[H]):
    """The history of a probe's explanations, and the decision whose history a fit goes on with.

    Args:
        anew: Makes an empty history; `caveat=` is what must be known of it.
        restored: Makes a history of what its `state_dict` returned.
        keeper: Keeps the probe.
        moments: When was explained.
        pacing: What was spent.
        guard: For what must be said.
        explained: Which output is explained: `"label"` or `"predicted"`.
        asked: What this run asks, in words.
        curve: What begins anew where the history does, in words.
        taken_up: Called with a history that was taken up from a checkpoint.

    Attributes:
        history: What is remembered of earlier explanations.
    """

    def __init__(
        self,
        anew: Callable[..., H],
        restored: Callable[[dict[str, Any]], H],
        *,
        keeper: ProbeKeeper,
        moments: Moments,
        pacing: Pacing,
        guard: Guard,
        explained: str,
        asked: Asked,
        curve: str,
        taken_up: Callable[[H], None] | None = None,
    ) -> None:
        self.history = anew()
        self._anew = anew
        self._restored = restored
        self._keeper = keeper
        self._moments = moments
        self._pacing = pacing
        self._guard = guard
        self._explained = explained
        self._asked = asked
        self._curve = curve
        self._taken_up = taken_up
        self._module: weakref.ref[nn.Module] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return probe and history, so that a resumed run compares with the same reference."""
        return {
            "probe": self._keeper.state_dict(),
            "history": self.history.state_dict(),
            "explained_step": self._moments.last,
            "pacing": self._pacing.state_dict(),
            "asked": self._asked,
        }

    def begin(self, pl_module: nn.Module, loaded: dict[str, Any] | None) -> None:
        """Begin a fit: with the history of the checkpoint, of the last fit of this module, or with none."""
        known = self._module is not None and self._module() is pl_module
        self._module = weakref.ref(pl_module)
        if loaded is None and known:
            return
        # another network's explanations are no reference for this one's
        self.history = self._anew()
        self._keeper.forget()
        if loaded is not None:
            self.history.caveat = UNREADABLE
            with self._guard.doing(TAKING_UP, consequence=BEGINNING_ANEW):
                self._resume(loaded)

    def _resume(self, state_dict: dict[str, Any]) -> None:
        """Take up probe and history of the run that is resumed; a probe given by the user must be the same."""
        history, last = self._restored(state_dict["history"]), int(state_dict["explained_step"])
        saved = None if state_dict["probe"] is None else Probe.from_state_dict(state_dict["probe"])
        # what was spent was spent, whatever is compared from here on
        self._pacing.load_state_dict(state_dict["pacing"])
        if saved is None:
            self.history.caveat = ""
            return
        history.check(len(saved))
        if not self._keeper.take_up(saved):
            self._begin_anew("another probe", "give the same probe or none")
            return
        changed = what_changed(state_dict.get("asked"), self._asked)
        if changed:
            self._begin_anew(changed, "give the same options")
            return
        self.history, self._moments.last = history, last
        if self._taken_up is not None:
            self._taken_up(history)

    def _begin_anew(self, with_: str, cure: str) -> None:
        self.history.caveat = begins_anew(with_)
        self._guard.note(
            f"the checkpoint was written with {with_}, so {self._curve} starts anew from this run's own first "
            f"explanation. To go on with the old curve, {cure}."
        )

    def check_probe(self) -> None:
        """Begin anew if the samples of the probe are not those of the explanation before; say what else changed."""
        probe = self._keeper.probe
        if probe is None:
            return
        now = probe.fingerprint
        if self.history.probe not in ("", now):
            self.history = self._anew(caveat=PROBE_CHANGED)
            self._guard.note(
                f"the samples of the probe have changed since the explanation before, so {self._curve} starts anew. "
                "Leave the tensors of monitor.probe as they are; give another monitor another probe."
            )
        self.history.probe = now
        if self._keeper.data_changed and not self.history.caveat:
            self.history.caveat = DATA_CHANGED
            self._guard.note(f"{DATA_CHANGED} To explain the new data, go on without the monitor's state.")

    def targets(self, scores: Tensor) -> Tensor | None:
        """Return the explained outputs: decided at the first explanation, the same ever after."""
        if self.history.target is None and self._keeper.probe is not None:
            self.history.target = explained_targets(self._keeper.probe, scores, self._explained)
        return self.history.target
