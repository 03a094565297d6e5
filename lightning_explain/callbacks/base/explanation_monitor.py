"""The base class of monitors that explain the probe as a whole: when they explain, report, resume and start over."""

from typing import Any, ClassVar, Generic, Literal, TypeVar

import lightning.pytorch as pl
from torch import Tensor

from lightning_explain.callbacks.base.compatibility import (
    DATA_CHANGED,
    PROBE_CHANGED,
    ComparedOptions,
    ExplanationHistory,
    begins_anew,
    in_words,
    what_changed,
)
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import CALLING, DRAWING_A_PROBE
from lightning_explain.callbacks.base.monitor import ProbeMonitor
from lightning_explain.callbacks.base.output_choice import explained_targets
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import is_whole
from lightning_explain.log import current_step
from lightning_explain.log.console import hint_when_slow
from lightning_explain.probe import Probe

SET_UP = f"{DRAWING_A_PROBE} {CALLING}"


E = TypeVar("E")
H = TypeVar("H", bound=ExplanationHistory)


class ExplanationMonitor(ProbeMonitor, Generic[E, H]):
    """Explains the probe at the first batch of a validation that ends a due epoch; reports at that validation's end.

    At the first batch averaged weights (EMA, SWA) are in place whatever the order of callbacks; at the end metrics are
    in time for callbacks that monitor them. Epochs without validation are explained at their end. The end of training
    makes up for a last explanation that was skipped, and explains weights that arrive there: averages of SWA.

    Args:
        explained: The output that is explained: the sample's `"label"`, or the class that was `"predicted"` for it at
            the first explanation. Either way it stays the same for the whole run.
        options: The options of `ProbeMonitor`.

    Attributes:
        latest: The last explanation; None before the first.
    """

    _curve: ClassVar[str]
    """The curve that starts over where the history does, for messages."""

    def __init__(self, *, explained: Literal["label", "predicted"] = "label", **options: Any) -> None:
        super().__init__(**options)
        if explained not in ("label", "predicted"):
            raise ConfigurationError(f"explained={explained!r}; expected 'label' or 'predicted'.")
        self.explained = explained
        self.latest: E | None = None
        self._history: H = self._new_history()
        self._pending: E | None = None

    # -- what each monitor does in its own way -----------------------------------------------------------------

    def _new_history(self, state: dict[str, Any] | None = None) -> H:
        """Return an empty history, or the one whose `state_dict` is given."""
        raise NotImplementedError

    def _check_model(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Try the model with the probe, so that what is wrong is reported before training.

        Raises:
            ConfigurationError: The model, the probe or an option makes explanations impossible.
        """
        raise NotImplementedError

    def _explain(self, trainer: pl.Trainer, pl_module: pl.LightningModule, probe: Probe, *, step: int) -> E | None:
        """Explain the probe; None if it fails."""
        raise NotImplementedError

    def _report(self, trainer: pl.Trainer, explanation: E, probe: Probe, *, monitored: bool) -> None:
        """Log an explanation and add it to the history; `monitored` makes its metrics available to callbacks."""
        raise NotImplementedError

    def _draw_last(self, trainer: pl.Trainer) -> None:
        """Draw the pictures that grow with every explanation and were not drawn with the last one."""
        raise NotImplementedError

    def _compared_options(self) -> ComparedOptions:
        """Return the options that decide what is compared, as text: with others, a resumed run starts over."""
        return {"explained": in_words(self.explained), **self.question.description}

    # -- history -----------------------------------------------------------------------------------------------

    def _current_state(self) -> dict[str, Any]:
        return {
            "probe": self._keeper.state_dict(),
            "history": self._history.state_dict(),
            "explained_step": self._schedule.last_step,
            "pacing": self._schedule.state_dict(),
            "asked": self._compared_options(),
        }

    def _start_over(self, caveat: str = "") -> None:
        self._history = self._new_history()
        self._history.caveat = caveat
        self._keeper.forget()

    def _resume(self, loaded: dict[str, Any]) -> None:
        """Continue with a checkpoint's probe and history; a probe given by the user must be the same."""
        history, last_step = self._new_history(loaded["history"]), int(loaded["explained_step"])
        saved = None if loaded["probe"] is None else Probe.from_state_dict(loaded["probe"])
        # time that was spent stays spent, whatever is compared from here on
        self._schedule.load_state_dict(loaded["pacing"])
        if saved is None:
            self._history.caveat = ""
            return
        history.check(len(saved))
        if not self._keeper.take_up(saved):
            self._tell_start_over("another probe", "give the same probe or none")
            return
        changed = what_changed(loaded.get("asked"), self._compared_options())
        if changed:
            self._tell_start_over(changed, "give the same options")
            return
        self._history, self._schedule.last_step = history, last_step

    def _tell_start_over(self, with_: str, cure: str) -> None:
        self._history.caveat = begins_anew(with_)
        self._guard.note(
            f"the checkpoint was written with {with_}, so {self._curve} restarts from this run's own first "
            f"explanation. To go on with the old curve, {cure}."
        )

    def _check_probe(self, probe: Probe) -> None:
        """Start over if the samples of the probe are not those of the last explanation; warn of other changes."""
        fingerprint = probe.fingerprint
        if self._history.probe not in ("", fingerprint):
            self._history = self._new_history()
            self._history.caveat = PROBE_CHANGED
            self._guard.note(
                f"the samples of the probe have changed since the explanation before, so {self._curve} restarts. "
                "Leave the tensors of monitor.probe as they are; give another monitor another probe."
            )
        self._history.probe = fingerprint
        if self._keeper.data_changed and not self._history.caveat:
            self._history.caveat = DATA_CHANGED
            self._guard.note(f"{DATA_CHANGED} To explain the new data, go on without the monitor's state.")

    def _targets(self, scores: Tensor) -> Tensor | None:
        """Return the explained outputs, chosen at the first explanation and fixed from there on."""
        if self._history.target is None and self.probe is not None:
            self._history.target = explained_targets(self.probe, scores, self.explained)
        return self._history.target

    # -- explaining and reporting ------------------------------------------------------------------------------

    def _explain_and_report(self, trainer: Any, pl_module: pl.LightningModule, *, step: int, monitored: bool) -> None:
        explanation = self._explained(trainer, pl_module, step)
        if explanation is not None:
            self._reported(trainer, explanation, monitored=monitored)

    def _explained(self, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int) -> E | None:
        """Explain the probe, if there is one; None otherwise, and if it fails."""
        if self.probe is None:
            return None
        self._schedule.start_report()
        self._check_probe(self.probe)
        with hint_when_slow(self._guard.owner):
            explanation = self._explain(trainer, pl_module, self.probe, step=step)
        if explanation is None:
            self._schedule.end_report()
        else:
            self._weights.explained(pl_module)
        return explanation

    def _reported(self, trainer: pl.Trainer, explanation: E, *, monitored: bool) -> None:
        assert self.probe is not None
        self.latest = explanation
        with self._schedule.stopwatch.spending():
            self._report(trainer, explanation, self.probe, monitored=monitored)
        self._schedule.end_report()

    def _explain_in_validation(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain, to report at the validation's end, unless the budget makes this explanation be skipped."""
        skipped = self._schedule.skips(trainer)
        if skipped or (self._schedule.limit is not None and self.probe is not None):
            # decided once and by all processes together: one that fails must not ask again alone
            self._schedule.mark(trainer)
        if not skipped:
            self._pending = self._explained(trainer, pl_module, current_step(trainer))

    def _find_probe(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe and try the model with it; a collective call, after which all have the first one's."""
        ranks = Ranks.of(trainer)
        self._guard.begin_shared_work(speaks=ranks.rank == 0)
        ranks.agreed(lambda: self._keeper.find(trainer))
        self._agree_on_probe(trainer, pl_module, ranks)

    def _agree_on_probe(self, trainer: pl.Trainer, pl_module: pl.LightningModule, ranks: Ranks) -> None:
        self._keeper.agree(ranks)
        ranks.agreed(lambda: self._check_model(trainer, pl_module))

    def _explain_new_weights(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
        """Explain weights that were exchanged after the last epoch; return True if there were any."""
        with self._guard.doing("comparing the weights with those explained last"):
            if self.probe is not None and self._weights.are_new(trainer, pl_module):
                self._explain_and_report(trainer, pl_module, step=current_step(trainer), monitored=False)
                return True
        return False

    # -- hooks -------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; resume from a checkpoint, or start a new history for a new module."""
        super().on_fit_start(trainer, pl_module)
        self._pending = None
        self.question.begin_run()
        self.question.check(pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe, try the model with it, and explain the network before training if the run begins here.

        A network whose lazy layers have no weights yet is explained from its first epoch on.
        """
        with self._schedule.stopwatch.spending(), self._guard.doing("setting up", at_set_up=True, cure=SET_UP):
            self._find_probe(trainer, pl_module)
        if self._history.count == 0 and is_whole(pl_module):
            self._explain_and_report(trainer, pl_module, step=current_step(trainer), monitored=False)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Explain after every n-th step."""
        del outputs, batch, batch_idx
        if self._schedule.due_after_step(trainer):
            self._schedule.mark(trainer)
            if not self._schedule.skips(trainer):
                self._explain_and_report(trainer, pl_module, step=current_step(trainer), monitored=True)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe where training could not: in a late first validation, or in `trainer.validate` alone."""
        if trainer.sanity_checking or self.probe is not None:
            return
        is_early = not trainer.fit_loop.epoch_loop.global_step
        with self._guard.doing("setting up", at_set_up=is_early, cure=SET_UP):
            self._find_probe(trainer, pl_module)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Collect the probe where it cannot be drawn; explain at the first batch of the validation of a due epoch."""
        if trainer.sanity_checking or dataloader_idx != 0:
            return
        if self._keeper.collecting:
            with self._guard.doing("collecting the probe", cure=SET_UP):
                self._keeper.collect(batch)
        if batch_idx == 0 and self._schedule.due_in_validation(trainer):
            self._explain_in_validation(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the explanation of this validation, in time for callbacks that monitor it."""
        if trainer.sanity_checking:
            return
        if self._keeper.collecting:
            with self._guard.doing("collecting the probe", cure=SET_UP):
                ranks = Ranks.of(trainer)
                ranks.agreed(self._keeper.finish_collecting)
                self._agree_on_probe(trainer, pl_module, ranks)
            if self._schedule.due_in_validation(trainer):
                self._explain_in_validation(trainer, pl_module)
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._schedule.mark(trainer)
            self._reported(trainer, pending, monitored=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain at the end of a due epoch that no validation explained."""
        if self._schedule.due_after_epoch(trainer):
            self._schedule.mark(trainer)
            if not self._schedule.skips(trainer):
                now = current_step(trainer, after_train_epoch=True)
                self._explain_and_report(trainer, pl_module, step=now, monitored=True)
        self._weights.epoch_ended(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain the trained network if its last explanation was skipped or its weights are new; draw what is left."""
        if self._schedule.n_skipped:
            step = current_step(trainer, after_train_epoch=True)
            self._explain_and_report(trainer, pl_module, step=step, monitored=False)
        else:
            self._explain_new_weights(trainer, pl_module)
        self._draw_last(trainer)
        self._schedule.close(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain averaged weights that a callback listed later brought in `on_train_end`."""
        super().on_fit_end(trainer, pl_module)
        if self._explain_new_weights(trainer, pl_module):
            self._draw_last(trainer)
