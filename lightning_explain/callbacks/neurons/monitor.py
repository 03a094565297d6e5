"""ActiveNeuronMonitor: which neurons each class uses, and how that changes as the network learns."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal

import lightning.pytorch as pl

from lightning_explain.attribution import Attribution
from lightning_explain.callbacks.base.compatibility import Asked, begins_anew, in_words, what_changed
from lightning_explain.callbacks.neurons.counting.batch_choice import BatchChoice
from lightning_explain.callbacks.neurons.counting.counting_monitor import CountingMonitor
from lightning_explain.callbacks.neurons.counting.stage_counts import ActivityRule
from lightning_explain.callbacks.neurons.counting.watch import NeuronWatch, Profiles, Stage
from lightning_explain.callbacks.neurons.input_features import NeuronProbe
from lightning_explain.callbacks.neurons.reporter import NeuronReporter
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.errors import ConfigurationError
from lightning_explain.log import current_step


class ActiveNeuronMonitor(CountingMonitor):
    """Records the active neurons of each class, in training and in validation.

    Forward hooks reduce each watched layer's output to one yes or no per sample and neuron; the run is not changed, and
    no activation is kept. Neurons are linear units, channels, hidden units of recurrent layers, units of a
    transformer's MLPs, and attention heads (active when their output is at least half as large as the mean over the
    layer's heads). Padding of packed sequences and of transformer layers does not count.

    Logs, with `{name}` being `neurons` by default, from the validation that ends an epoch (from training where an
    epoch has none):

    - `explain/{name}/{layer}/dead`, `.../dormant`, `.../always_on`, `.../exclusive`: shares of the layer's
      neurons that pass the threshold nowhere, are on average smaller than 2.5 % of the layer's mean neuron, are
      active for every sample, or are in the active set of one class only.
    - `explain/{name}/{layer}/selectivity` (mean class selectivity), `.../overlap` (mean Jaccard index of two
      classes' active sets), `.../turnover` (1 - Jaccard with the previous epoch's sets, mean over classes),
      `.../gap` (mean difference between training and validation rates).
    - `explain/{name}/precision/{class}`, `.../recall/{class}`, `.../f1/{class}`: of the validation, and of the tensor
      that the explained forward returns, also where the steps call parts of the module. Where its width does not fit
      the labels, or its accuracy is far from the one that the module logs, nothing is logged, and a warning says so.
    - `explain/{name}/overhead`: share of wall time spent counting so far.
    - `explain/{name}/{layer}/rates`, `.../overlaps` (images): class x neuron activation rates; overlap of the
      active sets of every two classes.
    - `explain/{name}/{layer}/features` (image and text), `.../ablation` (text): which input features feed the most
      telling neurons of each class, and accuracy without single neurons; after 1, 2, 3, 4, 6, 8, 12, 16, ... reports.
    - `explain/{name}/{layer}/maps` (image): activation maps of one probe sample, for convolutional layers; at
      every `every_n_train_steps` as well.
    - `explain/{name}/train/{layer}/...`: the metrics of the training batches of the epoch so far, at every
      `every_n_train_steps`.
    - `explain/{name}/notes` (text): limits of these metrics (layers that never fired, saturated layers, NaN), where
      there are any; a layer that never fired gets this text in place of its rates.
    - `explain/{name}/tab` (blobs): the same for TensorBoard's Explain tab.
    - one JSON line per epoch in `explain/{name}/record.jsonl` in the run's folder.

    Other callbacks can monitor these metrics. From Python, `latest` holds the last report: arrays, and `to_rows()`.

    Cost: about two passes over each watched output. Feeding features take `4 * feeding` forward and backward passes
    of the probe for each layer that does not read the input, maps one of a sample, ablation a forward pass of the probe
    for each neuron. The heads of
    `nn.MultiheadAttention` are worked out again, which costs its forward pass: in every batch of the validation, in
    every 8th of training. `nn.TransformerEncoderLayer` runs a second time where it runs fused (in validation).

    Targets are labels if they are integers, or real values of 0 and 1 in one column or with a single 1 in each row.
    Where a later batch shows that they are none (several labels for a sample, regression), all samples count as one
    class, those counted before included; so do those of a single output for more than two different integers.

    Half of `max_overhead` is for counting: where it does not suffice, every 2nd, 4th, ... training batch is counted. A
    validation that is reported is counted wholly, others like training.

    Args:
        layers: Names or globs of the modules to watch; default: the activation modules, recurrent layers, attention
            modules, home-made activations, and the layers that feed functional activations (counted after the
            function; functions that cannot be covered are named in a warning). A module that runs several times in
            a step is counted per call, as `name`, `name#1`, ...
        unit_dims: Names or globs of layers -> the dimension of their output that counts units, e.g.
            `{"net.mix.*": -1}`. By default it is found out call by call, by following the operations of a stage's
            first step; a layer of which nothing tells it is not counted, and named.
        threshold: Activation above which a position counts as active.
        min_fraction: For maps and sequences: share of positions that must be active for the channel to be.
        min_rate: A neuron is in a class's active set when it is active in at least this share of its samples.
        by: Group samples by their `"label"` or by the model's `"prediction"`.
        feeding: Neurons of each class and layer whose feeding features are worked out; 0 for none.
        method: Attribution method for feeding features deeper in the network; default `IntegratedGradients(n_steps=4)`.
        maps: Channels of the activation maps: how many of those most active for the sample's class, or which; 0 for
            none.
        ablation: Neurons of each layer without which the accuracy is measured; 0 for none. By default, with `feeding`,
            as many of the exclusive or selective ones as send half the validation's samples forward, or 8 probes.
        name: Prefix of the tags, and key of the state: several monitors can live in one Trainer.
        options: The options that all monitors share, such as `probe`, `every_n_epochs` and `max_overhead`: see
            `ProbeMonitor`. The probe is for feeding features and activation maps.

    Raises:
        ConfigurationError: At construction or when fitting starts: an option is impossible, or a layer glob matches
            nothing.

    Example:
        >>> ActiveNeuronMonitor(layers="features.*", min_rate=0.9).state_key
        "ActiveNeuronMonitor{'name': 'neurons'}"
    """

    def __init__(
        self,
        *,
        layers: str | Sequence[str] | None = None,
        unit_dims: dict[str, int] | None = None,
        threshold: float = 0.0,
        min_fraction: float = 0.25,
        min_rate: float = 0.5,
        by: Literal["label", "prediction"] = "label",
        feeding: int = 4,
        method: Callable[..., Attribution] | None = None,
        maps: int | Sequence[int] = 16,
        ablation: int | None = None,
        name: str = "neurons",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        if by not in ("label", "prediction"):
            raise ConfigurationError(f"by={by!r}; expected 'label' or 'prediction'.")
        self.layers = layers
        self._choice = BatchChoice(self._schedule)
        rule = ActivityRule(threshold=threshold, min_fraction=min_fraction, min_rate=min_rate)
        self._compared: Asked = {key: in_words(option) for key, option in {**asdict(rule), "by": by}.items()}
        self._watch = NeuronWatch(
            rule=rule,
            by=by,
            n_classes=len(self._class_names),
            question=self.question,
            guard=self._guard,
            stopwatch=self._schedule.stopwatch,
            unit_dims=unit_dims,
        )
        wanted = feeding > 0 or maps != 0 or bool(ablation)
        self._probe = NeuronProbe(self._keeper, question=self.question, guard=self._guard, wanted=wanted)
        shown: dict[str, Any] = {"feeding": feeding, "method": method, "maps": maps, "ablation": ablation}
        self._reporter = NeuronReporter(
            name,
            watch=self._watch,
            probe=self._probe,
            guard=self._guard,
            schedule=self._schedule,
            choice=self._choice,
            class_names=self._class_names,
            **shown,
        )
        self._reports_validation = True
        self._is_reported = False

    @property
    def latest(self) -> NeuronReport | None:
        """The last report: arrays by layer, and rows for tables; None before the first one."""
        return self._reporter.latest

    @property
    def records(self) -> list[dict[str, Any]]:
        """One record per report of this process's run, as in `record.jsonl`, with the logged `scalars`."""
        return self._reporter.records

    @property
    def profiles(self) -> dict[Stage, Profiles]:
        """The last finished profile of each stage, `train` and `val`, by layer."""
        return self._reporter.builder.profiles

    @property
    def class_figures(self) -> dict[str, list[float]]:
        """Precision, recall and F1 by class, of the last validation."""
        return self._reporter.builder.class_figures

    @property
    def class_names(self) -> list[str]:
        """Names of the classes met so far: as given, or their indices."""
        return self._reporter.builder.class_names

    @property
    def active_sets(self) -> dict[str, dict[int, tuple[int, ...]]]:
        """Indices of the active neurons by layer and class index, from the last validation (else training)."""
        profiles = self.profiles.get("val") or self.profiles.get("train") or {}
        return {layer: profile.set_indices() for layer, profile in profiles.items()}

    def _current_state(self) -> dict[str, Any]:
        return {
            **self._reporter.state_dict(),
            "reported": self._schedule.last_step >= 0,
            "train_counts": self._watch.state_dict(),
            "pacing": self._schedule.state_dict(),
            "choice": self._choice.state_dict(),
            "asked": self._compared,
        }

    def _start_over(self, caveat: str = "") -> None:
        self._reporter.start_over(caveat)
        self._probe.start_over()

    def _resume(self, loaded: dict[str, Any]) -> None:
        """Continue with a checkpoint's history and counts, if they were counted by the same rule."""
        changed = what_changed(loaded.get("asked"), self._compared)
        counts = loaded["train_counts"]
        self._schedule.load_state_dict(loaded["pacing"])
        self._choice.load_state_dict(loaded["choice"])
        if changed:
            self._reporter.start_over(begins_anew(changed))
            self._guard.note(
                f"the checkpoint was written with {changed}, so turnover begins anew, and the epochs in which neurons "
                "became active or died as well. To go on with the old ones, give the same options."
            )
            return
        self._reporter.load_state_dict(loaded)
        self._watch.load_state_dict(counts)
        self._is_reported = bool(loaded["reported"])

    # -- probe -------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the hooks on; resume from a checkpoint, or start a new history for a new module."""
        self._is_reported = False
        super().on_fit_start(trainer, pl_module)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the probe, if the validation data are known by now."""
        del pl_module
        if self._is_reported:  # the checkpoint was written after the report of the epoch that is resumed
            self._schedule.mark(trainer)
        with self._schedule.stopwatch.spending():
            self._probe.find(trainer)

    # -- reporting ---------------------------------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; log the epoch so far after every n-th step."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._schedule.due_after_step(trainer):
            self._schedule.mark_step_report(trainer)
            if not self._schedule.skips(trainer):
                self._schedule.start_report()
                self._reporter.report_step(trainer, pl_module)
                self._schedule.end_report()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reset the counts of validation; put the hooks on if `trainer.validate` runs alone."""
        if trainer.sanity_checking:
            return
        self._attach(trainer, pl_module)
        is_due = self._schedule.due_in_validation(trainer)
        self._reports_validation = is_due and not self._schedule.skips(trainer)
        if is_due and self._schedule.limit is not None:
            self._schedule.mark(trainer)  # decided together: a process that fails must not ask again alone
        self._schedule.start_report()
        self._begin_validation(trainer, pl_module, wholly=self._reports_validation)
        with self._schedule.stopwatch.spending():
            self._probe.find(trainer)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Listen to the layers; collect the probe where it cannot be drawn."""
        super().on_validation_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)
        if trainer.sanity_checking:
            return
        if batch_idx == 0 and self._reports_validation:
            self._weights.explained(pl_module)  # averages are in place for as long as it validates
        self._probe.collect(batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the validation that ends a due epoch."""
        if trainer.sanity_checking:
            return
        self._end_validation(trainer, pl_module)
        self._probe.finish()
        if self._reports_validation:
            self._report(trainer, pl_module, step=current_step(trainer))

    def _report(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, step: int, monitored: bool = True) -> None:
        """Report the stage that was counted last."""
        if self._reporter.report_epoch(trainer, pl_module, self._counted_stage, step=step, monitored=monitored):
            self._schedule.mark(trainer)
        self._schedule.end_report()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report a due epoch that no validation ended: the last one in its middle, or training where there was none."""
        self._choice.end_stage("train")
        if self._schedule.due_after_epoch(trainer):
            if self._schedule.limit is not None:
                self._schedule.mark(trainer)
            if not self._schedule.skips(trainer):
                self._schedule.start_report()
                self._report(trainer, pl_module, step=current_step(trainer, after_train_epoch=True))
        self._weights.epoch_ended(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the last epoch, if its report was skipped to stay within the budget."""
        step = current_step(trainer, after_train_epoch=True)
        if self._schedule.n_skipped and self._schedule.reports_by_step_alone:
            self._reporter.report_step(trainer, pl_module, monitored=False)
        elif self._schedule.n_skipped:
            self._report(trainer, pl_module, step=step, monitored=False)
        self._schedule.close(trainer)
