"""AttributionMonitor: what the network looks at, and how that changes as it learns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import lightning.pytorch as pl
from torch import Tensor

from lightning_explain.attribution import Attribution
from lightning_explain.attribution.contrast import contrast_of
from lightning_explain.callbacks.attribution.alerts import Alarm, check_alert
from lightning_explain.callbacks.attribution.captions import check_kinds
from lightning_explain.callbacks.attribution.compare_with import Comparisons, References, named_references
from lightning_explain.callbacks.attribution.explainer import Examiner, Explanation
from lightning_explain.callbacks.attribution.history import History
from lightning_explain.callbacks.attribution.methods import full_name, full_names, named_methods
from lightning_explain.callbacks.attribution.record import charts
from lightning_explain.callbacks.attribution.reporter import Reporter
from lightning_explain.callbacks.attribution.strategies.strategy_watch import StrategyWatch
from lightning_explain.callbacks.attribution.training_baselines import TrainingBaselines
from lightning_explain.callbacks.base.contrast_choice import chosen_contrast
from lightning_explain.callbacks.base.default_probe import to_device
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import BEGINNING_ANEW, CALLING, TAKING_UP, WRITING
from lightning_explain.callbacks.base.forward import check_strategy
from lightning_explain.callbacks.base.options import check_choice, check_types
from lightning_explain.callbacks.class_scores.output_check import check_outputs, settle_output
from lightning_explain.callbacks.class_scores.scores_monitor import ScoresMonitor
from lightning_explain.drift import MEASURES
from lightning_explain.drift_alert import DriftAlert
from lightning_explain.faithfulness import FAITHFULNESS
from lightning_explain.isolation import is_whole
from lightning_explain.log import Journal
from lightning_explain.probe import Probe
from lightning_explain.strategies.strategy_options import Strategies


class AttributionMonitor(ScoresMonitor[Explanation, History]):
    """Explains a held-out probe while the network trains; logs heatmaps and how far they drift.

    The same samples are explained, for the same target, before training and then at every cadence. What changes is
    the network alone. Weights, random streams and metrics of the run stay bit-identical.

    Logs, with `{name}` being `attribution` by default, what follows with `detail="full"`. By default, with
    `detail="terse"`, the loggers get `drift` of the whole probe with its error, `error` (of a method that estimates
    none: `convergence_delta`), `total_attribution`, `absorbed_share`, `softmax_share`, `overhead`, what an option or
    the probe asks for (masks, `alert`, `compare_with`, `faithfulness`, `agreement`), each metric that another callback
    names, the heatmaps, and the first method's filmstrip, of up to four inputs; the record and the tab hold all of it.

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
    - with `compare_with=`: `explain/{name}/drift/{its name}`, `.../drift/{its name}_error`, and its heatmaps.
    - `explain/{name}/drift_{measure}/...`: the same for `spearman`, `spearman_absolute`, `top_k`, `relative_l1`
      and, for images, `ssim`; as distances, 0 meaning unchanged.
    - `explain/{name}/convergence_delta` (mean absolute completeness gap), `.../error` (estimated relative L1
      error), `.../absorbed_share` (LRP: the part of the output that biases and other offsets took, median over the
      probe), `.../softmax_share` (LRP: the part that the Taylor expansion of softmaxes lost), `.../n_evaluations`,
      `.../total_attribution`, `.../mass_in_mask` (if the probe has masks), `.../overhead`
      (share of wall time spent explaining so far).
    - `explain/{name}/tab`, `.../probe` (blobs): the same for TensorBoard's Explain tab.
    - `explain/{name}/summary` (text), and one JSON line per explanation in `explain/{name}/record.jsonl` in the
      run's folder, with every metric under `scalars`.
    - with several methods `explain/{name}/agreement/{a}_vs_{b}`: rank correlation of the signed attributions of
      each pair, mean over the probe. All that is listed here is the first method's; of each other one the
      filmstrip and the same metrics (`overhead` excepted) are at `explain/{name}/{method}/...`. The heatmaps
      stand side by side.
    - with `alert=`: `explain/{name}/alert` (1 where there is one, 0 elsewhere), `.../alerts` (text), a marker in
      record and tab, and a warning.
    - with `strategies=`: `explain/{name}/strategies/{class}` (number of ways in which it is decided), `.../share` (of
      smaller ones), `explain/{name}/strategies` (image: mean map, exemplars), `.../filmstrip` (image: over time).
    - with `faithfulness=`: `explain/{name}/deletion_auc`, `.../insertion_auc`, `.../infidelity`,
      `.../max_sensitivity`, `.../randomisation` and `.../randomisation_absolute`; means over the probe.

    TensorBoard shows with each tag what it means, with which method and which baseline it was made.

    Callbacks can monitor the metrics, e.g. `EarlyStopping(monitor="explain/attribution/drift/previous")`: drift is
    known from the first epoch on, since the first explanation is made before training.

    Args:
        method: Attribution method, called as `method(model, inputs, target)`; default `IntegratedGradients()`. Or
            several, as a list, or as a mapping from names of one's own. All explain the same samples for the same
            target at the same moment; `{method}` in tags is the name: the class, with the options that tell methods
            of one class apart. `IntegratedGradients(baseline="train_mean")` or `"train_channel_mean"` compares with the
            mean of 1,000 seeded training samples; token ids are explained by `AtEmbedding(...)`.
        explained: The output that is explained: the sample's `"label"`, or the class `"predicted"` for it at the first
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
            the first method that is watched. With `strategies=` it tells of new strategies too.
        strategies: Look for the ways in which each class is decided: `Strategies(per_class=64)`; None for never.
        name: Prefix of the tags, and key of the state: several monitors can live in one Trainer.
        options: The options that all monitors share, such as `probe`, `every_n_epochs` and `max_overhead`: see
            `ProbeMonitor`.

    Raises:
        ConfigurationError: At construction or before the first training step: an option, the probe, or the model's
            form makes explanations impossible.

    Example:
        >>> monitor = AttributionMonitor(every_n_epochs=5, name="watermark")
        >>> monitor.state_key
        "AttributionMonitor{'name': 'watermark'}"
    """

    _curve = "the drift curve"

    def __init__(
        self,
        *,
        # lists first: jsonargparse writes a value by the first type that takes it, and Callable takes anything
        method: Sequence[Callable[..., Attribution]]
        | Callable[..., Attribution]
        | Mapping[str, Callable[..., Attribution]]
        | None = None,
        explained: Literal["label", "predicted"] = "label",
        measures: Sequence[str] = MEASURES,
        compare_with: References | None = None,
        faithfulness: Sequence[str] = (),
        alert: DriftAlert | None = None,
        strategies: Strategies | None = None,
        name: str = "attribution",
        **options: Any,
    ) -> None:
        check_types(AttributionMonitor.__init__, locals())
        super().__init__(name=name, explained=explained, **options)
        check_choice("measures", measures, MEASURES, at_least=1)
        check_choice("faithfulness", faithfulness, tuple(FAITHFULNESS), at_least=0)
        if alert is not None:
            check_alert(alert, tuple(measures))
        self.methods = named_methods(method)
        self._baselines = TrainingBaselines(self.methods)
        self._comparisons = Comparisons(references=named_references(compare_with), guard=self._guard)
        self._examiner = Examiner(
            methods=self.methods, measures=tuple(faithfulness), question=self.question, guard=self._guard
        )
        self._alarm = None if alert is None else Alarm(alert, name=name, guard=self._guard)
        self.strategies = strategies
        self._watch = StrategyWatch(strategies, name=name, question=self.question, guard=self._guard)
        self._reporter = Reporter(
            name,
            methods=self.methods,
            measures=tuple(measures),
            guard=self._guard,
            schedule=self._schedule,
            comparisons=self._comparisons,
            detail=self._detail,
            alarm=self._alarm,
        )

    @property
    def records(self) -> list[dict[str, Any]]:
        """One record per explanation of this process's run, as in `record.jsonl`, with the logged `scalars`."""
        return self._reporter.records

    @property
    def charts(self) -> dict[str, list[str]]:
        """The curves that belong together, for the Custom Scalars dashboard: chart title to tags."""
        named = [reference.name for reference in self._comparisons.references]
        return charts(self.name, self.methods, named, by_class=self._detail.is_full)

    # -- state -------------------------------------------------------------------------------------------------

    def _new_history(self, state: dict[str, Any] | None = None) -> History:
        return History() if state is None else History.from_state_dict(state)

    def _current_state(self) -> dict[str, Any]:
        own = {"baselines": self._baselines.state_dict(), "strategies": self._watch.state_dict()}
        return {**super()._current_state(), **own}

    def _start_over(self, caveat: str = "") -> None:
        super()._start_over(caveat)
        self._watch.start_over()

    def _resume(self, loaded: dict[str, Any]) -> None:
        with self._guard.doing(TAKING_UP, consequence=BEGINNING_ANEW):
            self._baselines.load_state_dict(loaded["baselines"])
            self._watch.load_state_dict(loaded.get("strategies"))
        super()._resume(loaded)
        self._keep_own_methods()

    def _keep_own_methods(self) -> None:
        """Continue the curves of this monitor's methods, and warn of those that restart."""
        known, own = list(self._history.memories), list(full_names(self.methods).values())
        self._history.keep(own)
        self._comparisons.keep(self._history)
        new = [name for name in own if name not in known]
        if new and known:
            self._guard.note(
                f"the checkpoint was written with {'; '.join(known)}, so the drift curve of {'; '.join(new)} "
                "restarts. To continue an old curve, give the same method with the same baseline, under the same name."
            )

    # -- explaining --------------------------------------------------------------------------------------------

    def _check_model(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Try the model with the probe once, so that what is wrong is reported before training.

        Raises:
            ConfigurationError: Labels beyond the outputs, integer inputs, outputs of an unusable form, several inputs
                whose explanation cannot be measured, weights that the strategy keeps out of reach.
        """
        check_strategy(trainer)
        self._examiner.check_weights(pl_module)
        if trainer.train_dataloader is not None:
            self._baselines.find(trainer, self.question)
        if self.probe is None:
            return
        check_kinds(self.probe, self.methods)
        self._examiner.check_probe(self.probe)
        self._comparisons.check(pl_module, history=self._history, full_names=full_names(self.methods))
        if self._alarm is not None:
            self._alarm.check(self.probe)
        if not is_whole(pl_module):
            return  # a trial forward would create the parameters of lazy layers before the run does
        inputs = to_device(trainer, self.probe.parts)
        contrasts = [contrast_of(method) for method in self.methods.values()]
        target = check_outputs(self.question, pl_module, inputs, self._keeper, self._guard, self.explained, contrasts)
        self._examiner.try_integers(pl_module, inputs, target, single=not isinstance(self.probe.inputs, tuple))

    def _explain(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, probe: Probe, *, step: int
    ) -> Explanation | None:
        single, ranks = not isinstance(probe.inputs, tuple), Ranks.of(trainer)
        inputs, targets, contrasts = to_device(trainer, probe.parts), self._targets, self._contrasts

        def explained_by(examiner: Examiner) -> Explanation | None:
            return examiner.explain(
                pl_module, inputs, single=single, targets=targets, contrasts=contrasts, step=step, ranks=ranks
            )

        def by_other_weights(subject: str) -> Explanation | None:
            # faithfulness is measured of the run's own explanations
            return explained_by(replace(self._examiner, measures=(), subject=subject))

        with self._schedule.stopwatch.spending():
            with self._guard.doing("finding the scores", cure=CALLING):
                settle_output(self.question, pl_module, inputs, probe, self._guard)
            explanation = explained_by(self._examiner)
        if explanation is not None:
            with self._schedule.one_time_cost():
                self._comparisons.explain_checkpoints(
                    pl_module,
                    by_other_weights,
                    history=self._history,
                    full_names=full_names(self.methods),
                    ranks=ranks,
                )
        with self._schedule.stopwatch.spending():
            return self._watch.added_to(explanation, trainer, pl_module, probe, ranks=ranks)

    def _contrasts(self, name: str, scores: Tensor) -> Tensor | None:
        """Return the class that a method subtracts for each sample, chosen at the first explanation."""
        contrast = contrast_of(self.methods[name])
        if contrast is None or self.probe is None:
            return None
        memory = self._history.of(full_name(name, self.methods[name]))
        if memory.contrast is None:
            memory.contrast, note = chosen_contrast(contrast, self.probe, self._targets(scores), scores)
            if note:
                self._guard.note(note)
        return memory.contrast

    def _report(self, trainer: pl.Trainer, explanation: Explanation, probe: Probe, *, monitored: bool) -> None:
        self._reporter.report(trainer, explanation, probe=probe, history=self._history, monitored=monitored)

    def _draw_last(self, trainer: pl.Trainer) -> None:
        """Draw the whole filmstrips."""
        if self.probe is not None and self.latest is not None:
            self._reporter.finish(trainer, probe=self.probe, history=self._history, step=self.latest.step)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; resume from a checkpoint, or start a new history for a new module; group the curves."""
        super().on_fit_start(trainer, pl_module)
        self._history.attempted.clear()
        self._watch.begin()
        self._examiner.sharing.forget()
        # one layout for all monitors of this Trainer: TensorBoard keeps one for each run
        monitors = [other for other in vars(trainer)["callbacks"] if isinstance(other, AttributionMonitor)]
        if monitors[0] is self:
            with self._guard.doing("laying out the charts", cure=WRITING):
                layout = {title: tags for m in monitors for title, tags in m.charts.items()}
                Journal(trainer, 0).layout(layout)
