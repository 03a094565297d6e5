"""AttributionMonitor: what the network looks at, and how that changes as it learns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import lightning.pytorch as pl

from lightning_explain.attribution import Attribution
from lightning_explain.budget import Budget
from lightning_explain.callbacks.attribution.alerts import Alarm, check_alert
from lightning_explain.callbacks.attribution.compare_with import Comparisons, References, named_references
from lightning_explain.callbacks.attribution.explainer import Examiner, Explanation
from lightning_explain.callbacks.attribution.history import History
from lightning_explain.callbacks.attribution.methods import full_names, named_methods
from lightning_explain.callbacks.attribution.record import charts
from lightning_explain.callbacks.attribution.reporter import Reporter
from lightning_explain.callbacks.attribution.training_baselines import TrainingBaselines
from lightning_explain.callbacks.base.cadence import Cadence
from lightning_explain.callbacks.base.compatibility import in_words
from lightning_explain.callbacks.base.continuity import Continuity
from lightning_explain.callbacks.base.default_probe import to_device
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import (
    BEGINNING_ANEW,
    CALLING,
    NOT_IN_TESTS,
    TAKING_UP,
    WRITING,
    Guard,
    OnError,
)
from lightning_explain.callbacks.base.forward import Question, check_strategy
from lightning_explain.callbacks.base.loaded_state import LoadedState
from lightning_explain.callbacks.base.moments import Moments
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.callbacks.base.overhead import Pacing
from lightning_explain.callbacks.class_scores.output_check import check_outputs, settle_output
from lightning_explain.display import Display
from lightning_explain.drift import MEASURES
from lightning_explain.drift_alert import DriftAlert
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness import FAITHFULNESS
from lightning_explain.isolation import is_whole
from lightning_explain.log import Journal
from lightning_explain.probe import Probe
from lightning_explain.schedule import Schedule


class AttributionMonitor(pl.Callback):
    """Explains a held-out probe while the network trains; logs heatmaps and how far they drift.

    The same samples are explained, for the same target, before training and then at every cadence. What changes is
    the network alone. Weights, random streams and metrics of the run stay bit-identical.

    Logs, with `{name}` being `attribution` by default:

    - `explain/{name}/heatmaps` (image): every probe sample beside its heatmap; bars by feature and class for
      tables, coloured words for token ids, lines on colours for time series and audio.
    - `explain/{name}/filmstrip` (image): the same over time; redrawn after 1, 2, 3, 4, 6, 8, 12, 16, ...
      explanations and at the end.
    - `explain/{name}/tokens` (text): for token ids the texts, their strongest words marked by sign.
    - where a sample has several explained inputs `explain/{name}/heatmaps/{input}`, `.../filmstrip/{input}`,
      `.../tokens/{input}`, `.../{input}/tab` instead, and `.../input_share/{input}`: the share of the absolute
      attribution that falls on each.
    - `explain/{name}/drift/previous`, `.../drift/first`: mean cosine distance to the previous and to the first
      explanation; `.../drift/previous_error`, `.../drift/first_error`: their quadrature error;
      `.../drift/{class}`: distance to the previous one, by class.
    - with `compare_with=`: `explain/{name}/drift/{its name}` and `.../drift/{its name}_error`, and in the heatmaps what
      the network looked at there.
    - `explain/{name}/drift_{measure}/...`: the same for `spearman`, `spearman_absolute`, `top_k`, `relative_l1`
      and, for images, `ssim`; as distances, 0 meaning unchanged.
    - `explain/{name}/convergence_delta` (mean absolute completeness gap), `.../error` (estimated relative L1
      error), `.../absorbed_share` (LRP: the part of the output that biases and other offsets took, median over the
      probe), `.../n_evaluations`, `.../total_attribution`, `.../mass_in_mask` (if the probe has masks), `.../overhead`
      (share of wall time spent explaining so far).
    - `explain/{name}/tab`, `.../probe` (blobs): the same for TensorBoard's Explain tab.
    - `explain/{name}/summary` (text), and one JSON line per explanation in `explain/{name}/record.jsonl` in the
      run's folder.
    - with several methods `explain/{name}/agreement/{a}_vs_{b}`: rank correlation of the signed attributions of
      each pair, mean over the probe. All that is listed here is the first method's; of each other one the
      filmstrip and the same figures (`overhead` excepted) are at `explain/{name}/{method}/...`. The heatmaps
      stand side by side.
    - with `alert=`: `explain/{name}/alert` (1 where there is one, 0 elsewhere), `.../alerts` (text), a marker in
      record and tab, and a warning.
    - with `faithfulness=`: `explain/{name}/deletion_auc`, `.../insertion_auc`, `.../infidelity`,
      `.../max_sensitivity`, `.../randomisation` and `.../randomisation_absolute`; means over the probe.

    TensorBoard shows with each tag what it means, with which method and which baseline it was made.

    Callbacks can monitor the figures, e.g. `EarlyStopping(monitor="explain/attribution/drift/previous")`: drift is
    known from the first epoch on, since the first explanation is made before training.

    Args:
        method: Attribution method, called as `method(model, inputs, target)`; default `IntegratedGradients()`. Or
            several, as a list, or as a mapping from names of one's own. All explain the same samples for the same
            target at the same moment; `{method}` in tags is the name: the class, with the options that tell methods
            of one class apart. `IntegratedGradients(baseline="train_mean")` or `"train_channel_mean"` compares with the
            mean of 1,000 seeded training samples; token ids are explained by `AtEmbedding(...)`.
        probe: What is explained; by default a class-balanced one of at most 64 samples from the validation data.
        input: Where a batch holds the input: index, key, attribute, a list of them, or a callable. Where the module's
            forward takes keywords only, the keys are the keywords.
        target: Where a batch holds the target. Where a sample has several labels, or one for every pixel, a callable
            that chooses one of each sample.
        output: Where the model's output holds the scores [batch, classes]; of several tensors the one is taken that
            alone fits the classes and is computed from the others, and where nothing tells, this must be said. Or a
            callable that makes one number of each sample, [batch], e.g. the mean score of a class over a segmented
            image.
        forward_fn: Called as `forward_fn(module, *inputs)` instead of `module(*inputs)`.
        explained: Which output is explained: the sample's `"label"`, or what was `"predicted"` for it at the first
            explanation. Either way it stays the same for the whole run.
        measures: Drift measures; the first `cosine` among them is `drift/...`.
        compare_with: Checkpoints of the same network, or steps of this run, by names of your own: `{"pretrained":
            "before.ckpt", "warm": 500}`. Drift is measured against each of them too. A checkpoint is explained once,
            before training, with the weights in its `state_dict`; of a step the first explanation at it or after it
            is kept. Files that hold more than plain weights and numbers are not read.
        faithfulness: Measures of faithfulness, of every method at each explanation. `"deletion"` and `"insertion"`
            cost 21 forward passes each, `"infidelity"` 11, `"max_sensitivity"` 11 explanations, `"randomisation"` a
            copy of the module and one explanation more than it has layers with weights. Deleted features get the
            first method's baseline, or zeros, whichever method is measured.
        alert: When to say that explanations move as they did not before: `DriftAlert(factor=5)`; None for never. It is
            the first method that is watched.
        class_names: Names of the classes, if the probe brings none.
        feature_names: Names of the features of tabular inputs, if the probe brings none.
        display: How the samples are shown, if the probe does not say: `Display(mean=..., std=...)` undoes the
            normalisation of images, `Display(tokens=vocabulary, padding=0)` writes words for token ids.
        every_n_epochs: Explain at the end of every n-th epoch; None for never.
        every_n_train_steps: Explain after every n-th training step; None for never.
        max_overhead: Share of the run's wall time that this monitor may take, e.g. `0.05`; None for any. Moments that
            are due are let pass until it fits in; `drift/previous` then spans the time since the last explanation.
            The first and the last explanation are always made. Monitors of one Trainer that have a `max_overhead`
            share it evenly, so that together they stay within it. Under DDP the slowest process decides for all.
        min_every: With `max_overhead`: of so many moments that are due, at least one is used, whatever it costs.
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
        # lists first: jsonargparse writes a value by the first type that takes it, and Callable takes anything
        method: Sequence[Callable[..., Attribution]]
        | Callable[..., Attribution]
        | Mapping[str, Callable[..., Attribution]]
        | None = None,
        probe: Probe | None = None,
        input: int | str | Sequence[int | str] | Callable[..., Any] | None = None,  # noqa: A002 - the option's public name
        target: int | str | Callable[..., Any] | None = None,
        output: int | str | Callable[..., Any] | None = None,
        forward_fn: Callable[..., Any] | None = None,
        explained: Literal["label", "predicted"] = "label",
        measures: Sequence[str] = MEASURES,
        compare_with: References | None = None,
        faithfulness: Sequence[str] = (),
        alert: DriftAlert | None = None,
        class_names: Sequence[str] = (),
        feature_names: Sequence[str] = (),
        display: Display | None = None,
        every_n_epochs: int | None = 1,
        every_n_train_steps: int | None = None,
        max_overhead: float | None = None,
        min_every: int | None = None,
        on_error: OnError = "warn",
        name: str = "attribution",
    ) -> None:
        super().__init__()
        _check_choice("measures", measures, MEASURES, at_least=1)
        _check_choice("faithfulness", faithfulness, tuple(FAITHFULNESS), at_least=0)
        if alert is not None:
            check_alert(alert, tuple(measures))
        if explained not in ("label", "predicted"):
            raise ConfigurationError(f"explained={explained!r}; expected 'label' or 'predicted'.")
        self.methods = named_methods(method)
        self.name = name
        self.latest: Explanation | None = None
        """The last explanation."""
        self._guard = Guard(f"AttributionMonitor(name={name!r})", on_error)
        self._question = Question(input=input, target=target, output=output, forward_fn=forward_fn)
        schedule = Schedule(every_n_epochs=every_n_epochs, every_n_train_steps=every_n_train_steps)
        self._moments = Moments(schedule)
        self._pacing = Pacing(
            name,
            schedule=schedule,
            budget=Budget(max_overhead=max_overhead, min_every=min_every),
            guard=self._guard,
        )
        self._keeper = ProbeKeeper(
            probe,
            question=self._question,
            guard=self._guard,
            class_names=class_names,
            feature_names=feature_names,
            display=display,
        )
        self._baselines = TrainingBaselines(self.methods)
        self._comparisons = Comparisons(references=named_references(compare_with), guard=self._guard)
        self._loaded = LoadedState()
        self._continuity: Continuity[History] = Continuity(
            History,
            History.from_state_dict,
            keeper=self._keeper,
            moments=self._moments,
            pacing=self._pacing,
            guard=self._guard,
            explained=explained,
            asked={"explained": in_words(explained), **self._question.asked},
            curve="the drift curve",
            taken_up=self._keep_own_methods,
        )
        self._examiner = Examiner(
            methods=self.methods, measures=tuple(faithfulness), question=self._question, guard=self._guard
        )
        self._cadence: Cadence[Explanation] = Cadence(
            self._moments,
            self._pacing,
            self._keeper,
            self._guard,
            try_probe=self._try_probe,
            explain=self._explain,
            report=self._report,
        )
        self._alarm = None if alert is None else Alarm(alert, name=name, guard=self._guard)
        self._reporter = Reporter(
            name,
            methods=self.methods,
            measures=tuple(measures),
            guard=self._guard,
            pacing=self._pacing,
            comparisons=self._comparisons,
            alarm=self._alarm,
        )
        self._explained = explained

    @property
    def state_key(self) -> str:
        """Identifies this monitor's state in a checkpoint."""
        return self._generate_state_key(name=self.name)

    @property
    def probe(self) -> Probe | None:
        """What is explained; None until it was drawn from the validation data."""
        return self._keeper.probe

    @property
    def records(self) -> list[dict[str, Any]]:
        """One record per explanation of this process's run, as in `record.jsonl`, with the logged `scalars`."""
        return self._reporter.records

    @property
    def charts(self) -> dict[str, list[str]]:
        """The curves that belong together, for the Custom Scalars dashboard: chart title to tags."""
        return charts(self.name, self.methods, [reference.name for reference in self._comparisons.references])

    def state_dict(self) -> dict[str, Any]:
        """Return probe and history, so that a resumed run compares with the same reference."""
        if self._loaded.waiting is not None:
            return self._loaded.waiting
        return {**self._continuity.state_dict(), "baselines": self._baselines.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's probe and history until a fit takes them up."""
        self._loaded.load(state_dict)

    def _keep_own_methods(self, history: History) -> None:
        """Go on with the curves of methods that are still asked for, and say which begin."""
        known, own = list(history.memories), list(full_names(self.methods).values())
        history.keep(own)
        self._comparisons.keep(history)
        new = [name for name in own if name not in known]
        if new and known:
            self._guard.note(
                f"the checkpoint was written with {'; '.join(known)}, so the drift curve of {'; '.join(new)} starts "
                "anew. To go on with an old curve, give the same method with the same baseline, under the same name."
            )

    # -- explaining --------------------------------------------------------------------------------------------

    def _try_probe(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Try the probe on the model once, so that what is wrong is said before training.

        Raises:
            ConfigurationError: Labels beyond the outputs, integer inputs, outputs of an unusable form, several inputs
                whose explanation cannot be measured, weights that the strategy keeps out of reach.
        """
        check_strategy(trainer)
        self._examiner.check_weights(pl_module)
        if trainer.train_dataloader is not None:
            self._baselines.find(trainer, self._question)
        if self.probe is None:
            return
        self._examiner.check_probe(self.probe)
        self._comparisons.check(pl_module, history=self._continuity.history, full_names=full_names(self.methods))
        if self._alarm is not None:
            self._alarm.check(self.probe)
        if not is_whole(pl_module):
            return  # a trial forward would create the parameters of lazy layers before the run does
        inputs = to_device(trainer, self.probe.parts)
        target = check_outputs(self._question, pl_module, inputs, self._keeper, self._guard, self._explained)
        self._examiner.try_integers(pl_module, inputs, target, single=not isinstance(self.probe.inputs, tuple))

    def _explain(self, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int) -> Explanation | None:
        """Explain the probe now; None if it fails or there is no probe yet."""
        if self.probe is None:
            return None
        self._continuity.check_probe()
        single, ranks = not isinstance(self.probe.inputs, tuple), Ranks.of(trainer)
        inputs, targets = to_device(trainer, self.probe.parts), self._continuity.targets

        def explained_by(examiner: Examiner) -> Explanation | None:
            return examiner.explain(pl_module, inputs, single=single, targets=targets, step=step, ranks=ranks)

        def by_other_weights(subject: str) -> Explanation | None:
            # faithfulness is asked of the run's own explanations
            return explained_by(replace(self._examiner, measures=(), subject=subject))

        with self._pacing.stopwatch.spending():
            with self._guard.doing("finding the scores", cure=CALLING):
                settle_output(self._question, pl_module, inputs, self.probe, self._guard)
            explanation = explained_by(self._examiner)
        if explanation is not None:
            with self._pacing.once():
                self._comparisons.explain_checkpoints(
                    pl_module,
                    by_other_weights,
                    history=self._continuity.history,
                    full_names=full_names(self.methods),
                    ranks=ranks,
                )
        return explanation

    def _report(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, explanation: Explanation, monitored: bool
    ) -> None:
        """Log an explanation and remember it."""
        del pl_module
        assert self.probe is not None
        self.latest = explanation
        with self._pacing.stopwatch.spending():
            self._reporter.report(
                trainer, explanation, probe=self.probe, history=self._continuity.history, monitored=monitored
            )

    # -- hooks -------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up the checkpoint's history, or begin a new one for a new module; start the clock, group the curves."""
        self._guard.begin()
        self._cadence.begin(trainer)
        loaded = self._loaded.begin_fit()
        self._continuity.begin(pl_module, loaded)
        if loaded is not None:
            with self._guard.doing(TAKING_UP, consequence=BEGINNING_ANEW):
                self._baselines.load_state_dict(loaded["baselines"])
        self._continuity.history.attempted.clear()
        self._reporter.begin()
        self._examiner.sharing.forget()
        self._question.check(pl_module)
        self._question.choice.is_settled = False
        # one layout for all monitors of this Trainer: TensorBoard keeps one for each run
        monitors = [other for other in vars(trainer)["callbacks"] if isinstance(other, AttributionMonitor)]
        if monitors[0] is self:
            with self._guard.doing("laying out the charts", cure=WRITING):
                layout = {title: tags for m in monitors for title, tags in m.charts.items()}
                Journal(trainer, 0).layout(layout)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe, try it on the model, and explain the network as it is before training."""
        self._cadence.train_start(trainer, pl_module, is_first=self._continuity.history.count == 0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Explain after every n-th step."""
        del outputs, batch, batch_idx
        self._cadence.step_done(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe if training had no chance to."""
        self._cadence.validation_start(trainer, pl_module)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Explain at the first batch of the validation that ends a due epoch."""
        self._cadence.validation_batch(trainer, pl_module, batch, batch_idx=batch_idx, loader=dataloader_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what was explained, in time for callbacks that monitor it."""
        self._cadence.validation_done(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain at the end of a due epoch in which no validation did."""
        self._cadence.epoch_done(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain what came out, if a budget let the last moment pass; draw the whole filmstrips."""
        self._cadence.train_end(trainer, pl_module)
        self._draw_last(trainer)
        self._pacing.close(trainer)

    def _draw_last(self, trainer: pl.Trainer) -> None:
        if self.probe is not None and self.latest is not None:
            history = self._continuity.history
            self._reporter.finish(trainer, probe=self.probe, history=history, step=self.latest.step)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain averaged weights that a callback listed later brought in `on_train_end`."""
        self._loaded.end_fit()
        if self._cadence.new_weights(trainer, pl_module):
            self._draw_last(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """End the fit: what is loaded from here on is for the next one."""
        del trainer, pl_module, exception
        self._loaded.end_fit()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that testing is not watched, where nothing else was."""
        del trainer, pl_module
        if not self.records:
            self._guard.note(NOT_IN_TESTS)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Be ready for a checkpoint, whatever became of the run before."""
        del trainer, pl_module, stage
        self._loaded.end_fit()


def _check_choice(option: str, given: Sequence[str], known: Sequence[str], *, at_least: int) -> None:
    """Refuse names that an option does not know."""
    if isinstance(given, str) or len(given) < at_least or set(given) - set(known):
        raise ConfigurationError(f"{option}={given!r}; expected a list of some of {list(known)}.")
