"""AttributionMonitor: what the network looks at, and how that changes as it learns."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

import lightning.pytorch as pl
from torch import Tensor, nn

from lightning_explain.attribution import Attribution, IntegratedGradients
from lightning_explain.attribution.scores import check_differentiable
from lightning_explain.callbacks.attribution_pictures import log_filmstrip, log_pictures
from lightning_explain.callbacks.attribution_report import (
    Drifts,
    drift_charts,
    drift_scalars,
    method_name,
    quality_scalars,
    record,
    summary,
    trust,
)
from lightning_explain.callbacks.attribution_tab import log_attribution_tab
from lightning_explain.callbacks.explanation import Explanation, History, explain, explained_targets, probe_scores
from lightning_explain.callbacks.guard import Guard, OnError
from lightning_explain.callbacks.moments import due_in_validation
from lightning_explain.callbacks.probe_keeper import ProbeKeeper
from lightning_explain.callbacks.probe_source import to_device
from lightning_explain.callbacks.question import Question
from lightning_explain.drift import MEASURES, drift
from lightning_explain.errors import ConfigurationError
from lightning_explain.log import Journal, current_step, defined, tag
from lightning_explain.probe import Probe
from lightning_explain.schedule import Schedule, Stopwatch, worth_redrawing


class AttributionMonitor(pl.Callback):
    """Explains a held-out probe while the network trains; logs heatmaps and how far they drift.

    The same samples are explained, for the same target, before training and then at every cadence. What changes is
    the network alone. Weights, random streams and metrics of the run stay bit-identical.

    Logs, with `{name}` being `attribution` by default:
        - `explain/{name}/heatmaps` (image): every probe sample beside its heatmap; bars by feature and class for
          tabular inputs.
        - `explain/{name}/filmstrip` (image): heatmaps over time; redrawn after 1, 2, 3, 4, 6, 8, 12, 16, ...
          explanations and at the end.
        - `explain/{name}/drift/previous`, `.../drift/first`: mean cosine distance to the previous and to the first
          explanation; `.../drift/previous_error`, `.../drift/first_error`: their quadrature error;
          `.../drift/{class}`: distance to the previous one, by class.
        - `explain/{name}/drift_{measure}/...`: the same for `spearman`, `spearman_absolute`, `top_k`, `relative_l1`
          and, for images, `ssim`; as distances, 0 meaning unchanged.
        - `explain/{name}/convergence_delta` (mean absolute completeness gap), `.../error` (estimated relative L1
          error), `.../n_evaluations`, `.../total_attribution`, `.../mass_in_mask` (if the probe has masks),
          `.../overhead` (share of wall time spent explaining so far).
        - `explain/{name}/tab`, `.../probe` (blobs): the same for TensorBoard's Explain tab.
        - `explain/{name}/summary` (text), and one JSON line per explanation in `explain/{name}/record.jsonl` in the
          run's folder.

    The figures also go through `pl_module.log`, so that `EarlyStopping(monitor="explain/attribution/drift/previous")`
    works: drift is known from the first epoch on, since the first explanation is made before training.

    Args:
        method: Attribution method, called as `method(model, inputs, target)`; default `IntegratedGradients()`.
        probe: What is explained; by default a class-balanced one of at most 64 samples from the validation data.
        input: Where a batch holds the input: index, key, attribute or callable.
        target: Where a batch holds the target.
        output: Where the model's output holds the scores.
        forward_fn: Called as `forward_fn(module, *inputs)` instead of `module(*inputs)`.
        explained: Which output is explained: the sample's `"label"`, or what was `"predicted"` for it at the first
            explanation. Either way it stays the same for the whole run.
        measures: Drift measures; the first `cosine` among them is `drift/...`.
        class_names: Names of the classes, if the probe brings none.
        feature_names: Names of the features of tabular inputs, if the probe brings none.
        every_n_epochs: Explain at the end of every n-th epoch; None for never.
        every_n_train_steps: Explain after every n-th training step; None for never.
        on_error: `"warn"` once and go on when an explanation fails, or `"raise"`.
        name: Prefix of the tags, and key of the state: several monitors can live in one Trainer.

    Raises:
        ConfigurationError: At construction or before the first training step: an option, the probe, or the model's
            form makes explanations impossible.

    Example:
        >>> monitor = AttributionMonitor(every_n_epochs=5, name="watermark")
        >>> monitor.state_key
        "AttributionMonitor{'name': 'watermark'}"
    """

    def __init__(
        self,
        *,
        method: Callable[..., Attribution] | None = None,
        probe: Probe | None = None,
        input: int | str | Callable[..., Any] | None = None,  # noqa: A002 - the option's public name
        target: int | str | Callable[..., Any] | None = None,
        output: int | str | Callable[..., Any] | None = None,
        forward_fn: Callable[..., Any] | None = None,
        explained: Literal["label", "predicted"] = "label",
        measures: Sequence[str] = MEASURES,
        class_names: Sequence[str] = (),
        feature_names: Sequence[str] = (),
        every_n_epochs: int | None = 1,
        every_n_train_steps: int | None = None,
        on_error: OnError = "warn",
        name: str = "attribution",
    ) -> None:
        super().__init__()
        unknown = sorted(set(measures) - set(MEASURES))
        if unknown or not measures:
            raise ConfigurationError(f"measures={list(measures)!r}; expected some of {list(MEASURES)}.")
        if explained not in ("label", "predicted"):
            raise ConfigurationError(f"explained={explained!r}; expected 'label' or 'predicted'.")
        self.method = method or IntegratedGradients()
        self.name = name
        self.measures = tuple(measures)
        self.explained = explained
        self.records: list[dict[str, Any]] = []
        """One record per explanation of this process's run, as in `record.jsonl`, with the logged `scalars`."""
        self.latest: Explanation | None = None
        """The last explanation."""
        self._question = Question(input=input, target=target, output=output, forward_fn=forward_fn)
        self._schedule = Schedule(every_n_epochs=every_n_epochs, every_n_train_steps=every_n_train_steps)
        self._guard = Guard(f"AttributionMonitor(name={name!r})", on_error)
        self._keeper = ProbeKeeper(
            probe,
            question=self._question,
            owner=self._guard.owner,
            class_names=class_names,
            feature_names=feature_names,
        )
        self._stopwatch = Stopwatch()
        self._history = History()
        self._pending: Explanation | None = None
        self._explained_step = -1
        self._loaded: dict[str, Any] | None = None
        self._module: weakref.ref[pl.LightningModule] | None = None

    @property
    def state_key(self) -> str:
        """Identifies this monitor's state in a checkpoint."""
        return self._generate_state_key(name=self.name)

    @property
    def probe(self) -> Probe | None:
        """What is explained; None until it was drawn from the validation data."""
        return self._keeper.probe

    def state_dict(self) -> dict[str, Any]:
        """Return probe and history, so that a resumed run compares with the same reference."""
        if self._loaded is not None:
            return self._loaded  # loaded, but no fit has taken it up yet
        return {
            "probe": self._keeper.state_dict(),
            "history": self._history.state_dict(),
            "explained_step": self._explained_step,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's probe and history until a fit takes them up."""
        self._loaded = state_dict

    def _resume(self, state_dict: dict[str, Any]) -> None:
        """Take up probe and history of the run that is resumed; a probe given by the user must be the same."""
        if self._keeper.load_state_dict(state_dict["probe"]):
            self._history = History.from_state_dict(state_dict["history"])
            self._explained_step = state_dict["explained_step"]
        elif state_dict["probe"] is not None:
            self._guard.note(
                "the checkpoint was written with another probe, so the drift curve starts anew from this run's own "
                "first explanation. To go on with the old curve, give the same probe or none."
            )

    def _try_probe(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Try the probe on the model once, so that what is wrong is said before training.

        Raises:
            ConfigurationError: Labels beyond the outputs, integer inputs, outputs of an unusable form.
        """
        if self.probe is None:
            return
        check_differentiable(self.probe.parts)
        if any(isinstance(p, nn.UninitializedParameter) for p in pl_module.parameters()):
            return  # a trial forward would create the parameters of lazy layers before the run does
        scores = probe_scores(pl_module, to_device(trainer, self.probe.parts), self._question)
        explained_targets(self.probe, scores, self.explained)

    # -- explaining --------------------------------------------------------------------------------------------

    def _explain(self, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int) -> Explanation | None:
        """Explain the probe now; None if it fails or there is no probe yet."""
        if self.probe is None:
            return None
        with self._stopwatch.spending(), self._guard.doing("explaining the probe"):
            return explain(
                pl_module,
                to_device(trainer, self.probe.parts),
                method=self.method,
                question=self._question,
                single=not isinstance(self.probe.inputs, tuple),
                targets=self._targets,
                step=step,
            )
        return None

    def _targets(self, scores: Tensor) -> Tensor | None:
        """Return the explained outputs: decided at the first explanation, the same ever after."""
        if self._history.target is None and self.probe is not None:
            self._history.target = explained_targets(self.probe, scores, self.explained)
        return self._history.target

    def _report(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, explanation: Explanation | None, *, monitored: bool
    ) -> None:
        """Log an explanation and remember it.

        Args:
            trainer: The Trainer.
            pl_module: The module, through whose `log` the figures can be monitored.
            explanation: What to log; nothing for None.
            monitored: Whether this hook allows `pl_module.log`.
        """
        if explanation is None or self.probe is None:
            return
        drifts: Drifts = {}
        scalars: dict[str, float] = {}
        with self._stopwatch.spending(), self._guard.doing("measuring and logging drift"):
            for reference, earlier in (("previous", self._history.previous), ("first", self._history.first)):
                if earlier is not None:
                    drifts[reference] = drift(explanation.attribution, earlier, self.measures)
            self._history.add(explanation.attribution)
            self.latest = explanation
            scalars = {
                **drift_scalars(self.name, drifts, self.probe),
                **quality_scalars(self.name, explanation.attribution, self.probe),
                tag(self.name, "overhead"): self._stopwatch.share(),
            }
            if monitored:
                # the loggers get these figures at a step of our own; this is for callbacks that monitor them
                pl_module.log_dict(defined(scalars), on_step=False, on_epoch=True, logger=False, batch_size=1)
            Journal(trainer, explanation.step).scalars(scalars)
        with self._stopwatch.spending(), self._guard.doing("recording and drawing an explanation"):
            self._write(trainer, explanation, drifts, scalars)

    def _write(self, trainer: pl.Trainer, explanation: Explanation, drifts: Drifts, scalars: dict[str, float]) -> None:
        assert self.probe is not None
        epoch, method = trainer.current_epoch, method_name(self.method)
        entry = record(explanation, drifts, self.probe, method=method, epoch=epoch)
        self.records.append({"step": explanation.step, **entry, "scalars": scalars})
        journal = Journal(trainer, explanation.step)
        journal.record(tag(self.name, "record"), entry)
        if drifts:
            journal.text(tag(self.name, "summary"), summary(drifts, list(drifts)))
        log_pictures(
            journal,
            self.name,
            self.probe,
            explanation,
            self._history,
            method=method,
            epoch=epoch,
            trust=trust(explanation.attribution, drifts),
        )
        log_attribution_tab(journal, self.name, self.probe, explanation, drifts, entry, count=self._history.count)

    # -- hooks -------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up the checkpoint's history, or begin a new one for a new module; start the clock, group the curves."""
        self._begin(pl_module)
        self._stopwatch.begin()
        self._question.check(pl_module)
        # one layout for all monitors of this Trainer: TensorBoard keeps one for each run
        monitors = [other for other in vars(trainer)["callbacks"] if isinstance(other, AttributionMonitor)]
        if monitors[0] is self:
            with self._guard.doing("laying out the charts"):
                charts = {title: tags for other in monitors for title, tags in drift_charts(other.name).items()}
                Journal(trainer, 0).layout(charts)

    def _begin(self, pl_module: pl.LightningModule) -> None:
        """Decide whose history this fit goes on with."""
        known = self._module is not None and self._module() is pl_module
        self._module = weakref.ref(pl_module)
        self._explained_step = -1
        if self._loaded is not None:
            loaded, self._loaded = self._loaded, None
            self._resume(loaded)
        elif not known:
            # another network's explanations are no reference for this one's
            self._history = History()
            self._keeper.forget()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe, try it on the model, and explain the network as it is before training."""
        with self._guard.doing("setting up", at_set_up=True):
            self._keeper.find(trainer)
            self._try_probe(trainer, pl_module)
        if self._history.count == 0:
            self._report(trainer, pl_module, self._explain(trainer, pl_module, current_step(trainer)), monitored=False)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Explain after every n-th step."""
        del outputs, batch, batch_idx
        if self._schedule.due_after_step(trainer.global_step) and trainer.global_step != self._explained_step:
            self._explained_step = trainer.global_step  # accumulated batches share a step
            self._report(trainer, pl_module, self._explain(trainer, pl_module, current_step(trainer)), monitored=True)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe if training had no chance to: a late first validation, or `trainer.validate` alone."""
        if trainer.sanity_checking or self.probe is not None:
            return
        with self._guard.doing("setting up", at_set_up=not trainer.fit_loop.epoch_loop.global_step):
            self._keeper.find(trainer)
            self._try_probe(trainer, pl_module)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Explain at the first batch of the validation that ends a due epoch.

        Not after the last batch: here averaged weights (EMA, SWA) are in place whatever the order of callbacks.
        """
        if trainer.sanity_checking:
            return
        if self._keeper.collecting and dataloader_idx == 0:
            with self._guard.doing("collecting the probe"):
                self._keeper.collect(batch)
        if batch_idx == 0 and dataloader_idx == 0 and self._due(trainer):
            self._pending = self._explain(trainer, pl_module, current_step(trainer))

    def _due(self, trainer: pl.Trainer) -> bool:
        explained = trainer.state.fn == "fit" and self._explained_step == trainer.global_step
        return due_in_validation(trainer, self._schedule) and not explained

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what was explained, in time for callbacks that monitor it."""
        if trainer.sanity_checking:
            return
        if self._keeper.collecting:
            with self._guard.doing("collecting the probe"):
                self._keeper.finish_collecting()
                self._try_probe(trainer, pl_module)
            if self._due(trainer):
                self._pending = self._explain(trainer, pl_module, current_step(trainer))
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._explained_step = trainer.global_step
            self._report(trainer, pl_module, pending, monitored=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain at the end of a due epoch in which no validation did."""
        if self._schedule.due_after_epoch(trainer.current_epoch) and self._explained_step != trainer.global_step:
            self._explained_step = trainer.global_step
            step = current_step(trainer, after_train_epoch=True)
            self._report(trainer, pl_module, self._explain(trainer, pl_module, step), monitored=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the whole filmstrip."""
        del pl_module
        drawn_already = worth_redrawing(self._history.count)
        if self.probe is not None and self.latest is not None and not drawn_already:
            with self._guard.doing("drawing the filmstrip"):
                journal = Journal(trainer, self.latest.step)
                log_filmstrip(journal, self.name, self.probe, self._history, method=method_name(self.method))
