"""When a monitor explains its probe and when it reports: Lightning's hooks in, two calls out."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import CALLING, DRAWING_A_PROBE, Guard
from lightning_explain.callbacks.base.moments import Moments
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.callbacks.base.overhead import Pacing
from lightning_explain.callbacks.base.weight_changes import WeightChanges
from lightning_explain.isolation import is_whole
from lightning_explain.log import current_step

T = TypeVar("T")

SET_UP = f"{DRAWING_A_PROBE} {CALLING}"


class Cadence(Generic[T]):
    """Explains at the first batch of a validation that ends a due epoch, and reports at the end of that validation.

    At the first batch averaged weights (EMA, SWA) are in place whatever the order of callbacks; at the end figures can
    be logged in time for callbacks that monitor them. Epochs without validation are explained at their end. What a
    budget let pass last is explained at the end of training, and so are weights that arrive there: averages of SWA.

    Args:
        moments: When an explanation is due.
        pacing: Which of these moments are used.
        keeper: The probe.
        guard: Of the monitor.
        try_probe: Called as `try_probe(trainer, pl_module)` when there is a new probe; raises what is wrong with it.
        explain: Called as `explain(trainer, pl_module, step)`; returns None where it failed.
        report: Called as `report(trainer, pl_module, explanation, monitored)`; the last says whether the hook allows
            `pl_module.log`.
    """

    def __init__(
        self,
        moments: Moments,
        pacing: Pacing,
        keeper: ProbeKeeper,
        guard: Guard,
        *,
        try_probe: Callable[[Any, Any], None],
        explain: Callable[[Any, Any, int], T | None],
        report: Callable[[Any, Any, T, bool], None],
    ) -> None:
        self._moments = moments
        self._pacing = pacing
        self._keeper = keeper
        self._guard = guard
        self._try_probe = try_probe
        self._explain = explain
        self._report = report
        self._pending: T | None = None
        self._weights = WeightChanges()

    def begin(self, trainer: Any) -> None:
        """Forget where the last fit stood; start the clock."""
        self._moments.last, self._pending = -1, None
        self._weights.begin()
        self._pacing.begin(trainer)

    def _now(self, trainer: Any, pl_module: Any, *, step: int, monitored: bool) -> None:
        self._pacing.start()
        explanation = self._explained(trainer, pl_module, step)
        if explanation is not None:
            self._report(trainer, pl_module, explanation, monitored)
        self._done()

    def _explained(self, trainer: Any, pl_module: Any, step: int) -> T | None:
        explanation = self._explain(trainer, pl_module, step)
        if explanation is not None:
            self._weights.explained(pl_module)
        return explanation

    def _done(self) -> None:
        if self._keeper.probe is not None:
            self._pacing.done()

    def _before_report(self, trainer: Any, pl_module: Any) -> T | None:
        """Explain in a validation, to report at its end, unless a budget lets this moment pass."""
        allowed = self._pacing.allows(trainer)
        if not allowed or (self._pacing.limit is not None and self._keeper.probe is not None):
            # decided once and by all processes together: one that fails must not ask again alone
            self._moments.take(trainer)
        if not allowed:
            return None
        self._pacing.start()
        explanation = self._explained(trainer, pl_module, current_step(trainer))
        if explanation is None:
            self._done()
        return explanation

    def _find(self, trainer: Any, pl_module: Any) -> None:
        """Find the probe and try it; every process must, and all have the first one's."""
        ranks = Ranks.of(trainer)
        # what is done together is told once, by the first process
        self._guard.quiet = ranks.rank > 0
        ranks.agreed(lambda: self._keeper.find(trainer))
        self._try(trainer, pl_module, ranks)

    def _try(self, trainer: Any, pl_module: Any, ranks: Ranks) -> None:
        self._keeper.agree(ranks)
        ranks.agreed(lambda: self._try_probe(trainer, pl_module))

    def train_start(self, trainer: Any, pl_module: Any, *, is_first: bool) -> None:
        """Find the probe and try it; explain the network as it is before training if this is a run's beginning.

        A network whose lazy layers have no weights yet is explained from its first epoch on.
        """
        doing = self._guard.doing("setting up", at_set_up=True, cure=SET_UP)
        with self._pacing.stopwatch.spending(), doing:
            self._find(trainer, pl_module)
        if is_first and is_whole(pl_module):
            self._now(trainer, pl_module, step=current_step(trainer), monitored=False)

    def step_done(self, trainer: Any, pl_module: Any) -> None:
        """Explain after every n-th step; accumulated batches share one."""
        if self._moments.after_step(trainer):
            self._moments.take(trainer)
            if self._pacing.allows(trainer):
                self._now(trainer, pl_module, step=current_step(trainer), monitored=True)

    def validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Find the probe if training had no chance to: a late first validation, or `trainer.validate` alone."""
        if trainer.sanity_checking or self._keeper.probe is not None:
            return
        is_early = not trainer.fit_loop.epoch_loop.global_step
        with self._guard.doing("setting up", at_set_up=is_early, cure=SET_UP):
            self._find(trainer, pl_module)

    def validation_batch(self, trainer: Any, pl_module: Any, batch: Any, *, batch_idx: int, loader: int) -> None:
        """Collect the probe where it is collected; explain at the first batch of a due validation."""
        if trainer.sanity_checking:
            return
        if self._keeper.collecting and loader == 0:
            with self._guard.doing("collecting the probe", cure=SET_UP):
                self._keeper.collect(batch)
        if batch_idx == 0 and loader == 0 and self._moments.in_validation(trainer):
            self._pending = self._before_report(trainer, pl_module)

    def validation_done(self, trainer: Any, pl_module: Any) -> None:
        """Report what was explained."""
        if trainer.sanity_checking:
            return
        if self._keeper.collecting:
            with self._guard.doing("collecting the probe", cure=SET_UP):
                ranks = Ranks.of(trainer)
                ranks.agreed(self._keeper.finish_collecting)
                self._try(trainer, pl_module, ranks)
            if self._moments.in_validation(trainer):
                self._pending = self._before_report(trainer, pl_module)
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._moments.take(trainer)
            self._report(trainer, pl_module, pending, True)
            self._done()

    def epoch_done(self, trainer: Any, pl_module: Any) -> None:
        """Explain at the end of a due epoch in which no validation did."""
        if self._moments.after_epoch(trainer):
            self._moments.take(trainer)
            if self._pacing.allows(trainer):
                self._now(trainer, pl_module, step=current_step(trainer, after_train_epoch=True), monitored=True)
        self._weights.epoch_ended(pl_module)

    def train_end(self, trainer: Any, pl_module: Any) -> None:
        """Explain the network as it came out, if the last moment that was due was let pass or its weights are new."""
        if self._pacing.n_skipped:
            self._now(trainer, pl_module, step=current_step(trainer, after_train_epoch=True), monitored=False)
        else:
            self.new_weights(trainer, pl_module)

    def new_weights(self, trainer: Any, pl_module: Any) -> bool:
        """Explain weights that were exchanged after the last epoch; return True if there were any.

        Asked in `on_train_end`, and again in `on_fit_end`: averages may come from a callback that is listed later.
        """
        with self._guard.doing("comparing the weights with those explained last"):
            if self._keeper.probe is not None and self._weights.are_new(trainer, pl_module):
                self._now(trainer, pl_module, step=current_step(trainer), monitored=False)
                return True
        return False
