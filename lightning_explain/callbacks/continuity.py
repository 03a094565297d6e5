"""What an attribution monitor carries on: from explanation to explanation, from fit to fit, through checkpoints."""

import weakref
from typing import Any

from torch import Tensor, nn

from lightning_explain.callbacks.explanation import explained_targets
from lightning_explain.callbacks.guard import Guard
from lightning_explain.callbacks.history import History
from lightning_explain.callbacks.moments import Moments
from lightning_explain.callbacks.pacing import Pacing
from lightning_explain.callbacks.probe_keeper import ProbeKeeper
from lightning_explain.callbacks.training_baselines import TrainingBaselines


class Continuity:
    """The probe, the history of its explanations, and the decision whose history a fit goes on with.

    Args:
        keeper: Keeps the probe.
        moments: When was explained.
        pacing: What was spent.
        guard: For what must be said.
        full_names: Full names of the methods, under which their histories are kept.
        explained: Which output is explained: `"label"` or `"predicted"`.
        baselines: Means of the training data that methods compare with.

    Attributes:
        history: What is remembered of earlier explanations.
    """

    def __init__(
        self,
        *,
        keeper: ProbeKeeper,
        moments: Moments,
        pacing: Pacing,
        guard: Guard,
        full_names: list[str],
        explained: str,
        baselines: TrainingBaselines,
    ) -> None:
        self.history = History()
        self._keeper = keeper
        self._moments = moments
        self._pacing = pacing
        self._guard = guard
        self._full_names = full_names
        self._explained = explained
        self._baselines = baselines
        self._loaded: dict[str, Any] | None = None
        self._module: weakref.ref[nn.Module] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return probe and history, so that a resumed run compares with the same reference."""
        if self._loaded is not None:
            return self._loaded  # loaded, but no fit has taken it up yet
        return {
            "probe": self._keeper.state_dict(),
            "history": self.history.state_dict(),
            "explained_step": self._moments.last,
            "baselines": self._baselines.state_dict(),
            "pacing": self._pacing.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's probe and history until a fit takes them up."""
        self._loaded = state_dict

    def begin(self, pl_module: nn.Module) -> None:
        """Begin a fit: with the history of the checkpoint, of the last fit of this module, or with none."""
        known = self._module is not None and self._module() is pl_module
        self._module = weakref.ref(pl_module)
        if self._loaded is not None:
            loaded, self._loaded = self._loaded, None
            self._resume(loaded)
        elif not known:
            # another network's explanations are no reference for this one's
            self.history = History()
            self._keeper.forget()

    def _resume(self, state_dict: dict[str, Any]) -> None:
        """Take up probe and history of the run that is resumed; a probe given by the user must be the same."""
        if self._keeper.load_state_dict(state_dict["probe"]):
            self.history = History.from_state_dict(state_dict["history"])
            self._moments.last = state_dict["explained_step"]
            self._baselines.load_state_dict(state_dict["baselines"])
            self._pacing.load_state_dict(state_dict["pacing"])
            self._keep_own_methods()
        elif state_dict["probe"] is not None:
            self._guard.note(
                "the checkpoint was written with another probe, so the drift curve starts anew from this run's own "
                "first explanation. To go on with the old curve, give the same probe or none."
            )

    def _keep_own_methods(self) -> None:
        known = list(self.history.memories)
        self.history.keep(self._full_names)
        new = [name for name in self._full_names if name not in known]
        if new and known:
            self._guard.note(
                f"the checkpoint was written with {'; '.join(known)}, so the drift curve of {'; '.join(new)} starts "
                "anew. To go on with an old curve, give the same method with the same baseline, under the same name."
            )

    def targets(self, scores: Tensor) -> Tensor | None:
        """Return the explained outputs: decided at the first explanation, the same ever after."""
        if self.history.target is None and self._keeper.probe is not None:
            self.history.target = explained_targets(self._keeper.probe, scores, self._explained)
        return self.history.target
