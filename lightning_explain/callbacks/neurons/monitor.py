"""ActiveNeuronMonitor: which neurons each class uses, and how that changes as the network learns."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal

import lightning.pytorch as pl
from torch import Tensor

from lightning_explain.attribution import Attribution
from lightning_explain.budget import Budget
from lightning_explain.callbacks.base.compatibility import UNREADABLE, Asked, begins_anew, in_words, what_changed
from lightning_explain.callbacks.base.default_probe import flat_loaders
from lightning_explain.callbacks.base.error_handling import (
    BEGINNING_ANEW,
    DRAWING_A_PROBE,
    NOT_IN_TESTS,
    TAKING_UP,
    Guard,
    OnError,
)
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.base.loaded_state import LoadedState
from lightning_explain.callbacks.base.moments import due_in_validation
from lightning_explain.callbacks.base.overhead import Pacing
from lightning_explain.callbacks.base.weight_changes import WeightChanges
from lightning_explain.callbacks.neurons.batch_choice import BatchChoice
from lightning_explain.callbacks.neurons.counting import ActivityRule
from lightning_explain.callbacks.neurons.input_features import NeuronProbe
from lightning_explain.callbacks.neurons.reporter import NeuronReporter
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.callbacks.neurons.watch import NeuronWatch, Profiles, Stage
from lightning_explain.errors import ConfigurationError
from lightning_explain.log import current_step
from lightning_explain.probe import Probe
from lightning_explain.schedule import Schedule


class ActiveNeuronMonitor(pl.Callback):
    """Records which neurons are active for which class, in training and in validation.

    Forward hooks reduce each watched layer's output to one yes or no per sample and neuron; nothing of the run is
    changed, and no activation is kept. Neurons are linear units, channels, hidden units of recurrent layers, units of
    a transformer's MLPs, and attention heads (by the size of their output; active when it is at least half of the
    mean over the layer's heads). Padding of packed sequences and of transformer layers does not count.

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
      the labels, or its accuracy is far from the one that the module logs, nothing is logged, and that is said.
    - `explain/{name}/overhead`: share of wall time spent counting so far.
    - `explain/{name}/{layer}/rates`, `.../overlaps` (images): class x neuron activation rates; overlap of the
      active sets of every two classes.
    - `explain/{name}/{layer}/features` (image and text): which input features feed the most telling active
      neurons of each class, with signs; after 1, 2, 3, 4, 6, 8, 12, 16, ... reports.
    - `explain/{name}/{layer}/maps` (image): activation maps of one probe sample, for convolutional layers; at
      every `every_n_train_steps` as well.
    - `explain/{name}/train/{layer}/...`: the figures of the training batches of the epoch so far, at every
      `every_n_train_steps`.
    - `explain/{name}/notes` (text): what speaks against reading the figures (layers that never fired, saturated
      layers, NaN), where there is anything; a layer that never fired gets these words in place of its rates.
    - `explain/{name}/tab` (blobs): the same for TensorBoard's Explain tab.
    - one JSON line per epoch in `explain/{name}/record.jsonl` in the run's folder.

    The figures also go through `pl_module.log`, so that other callbacks can monitor them. From Python, `latest` holds
    the last report as arrays, and as rows that `pandas.DataFrame` takes: `latest.to_rows()`.

    Cost: about two passes over each watched output. Feeding features take `4 * feeding` forward and backward passes
    of the probe for each layer that does not read the input, maps one of a sample. The heads of
    `nn.MultiheadAttention` are worked out again, which costs its forward pass: in every batch of the validation, in
    every 8th of training. `nn.TransformerEncoderLayer` runs a second time where it runs fused (in validation).

    Args:
        layers: Names or globs of the modules to watch; default: the activation modules, recurrent layers, attention
            modules, home-made activations, and the layers that feed functional activations (there the figures are
            those after the function, and what cannot be covered is said by name). A module that runs several times in
            a step is counted per call, as `name`, `name#1`, ...
        unit_dims: Names or globs of layers -> the dimension of their output that counts units, e.g.
            `{"net.mix.*": -1}`. By default it is found out call by call, by following the operations of a stage's
            first step; a layer of which nothing tells it is not counted, and named.
        threshold: Activation above which a position counts as active.
        min_fraction: For maps and sequences: share of positions that must be active for the channel to be.
        min_rate: A neuron is in a class's active set when it is active in at least this share of its samples.
        by: Group samples by their `"label"` or by the model's `"prediction"`.
        class_names: Names of the classes.
        feature_names: Names of the features of tabular inputs, if the probe brings none.
        probe: Samples for feeding features and activation maps (its first one); default: drawn from the validation
            data.
        feeding: Neurons of each class and layer whose feeding features are worked out; 0 for none.
        method: Attribution method for feeding features deeper in the network; default `IntegratedGradients(n_steps=4)`.
        maps: Channels of the activation maps: how many of those most active for the sample's class, or which; 0 for
            none.
        input: Where a batch holds the input: index, key, attribute, a list of them, or a callable. Where the module's
            forward takes keywords only, the keys are the keywords.
        target: Where a batch holds the labels. Integers are labels; real values are as long as all are 0 or 1, in one
            column or with a single 1 in each row. Where a later batch shows that they are none (several labels for a
            sample, regression), all samples count as one class, those counted before included; so do those of a
            single output for more than two different integers.
        output: Where the model's output holds the scores. Of several tensors the one is taken that alone fits the
            classes and is computed from the others; where nothing tells, this option must.
        forward_fn: Called as `forward_fn(module, *inputs)` for feeding features and activation maps.
        every_n_epochs: Log at the end of every n-th epoch; None for never.
        every_n_train_steps: Also log the training figures after every n-th step; None for never.
        max_overhead: Share of the run's wall time that this monitor may take, e.g. `0.05`; None for any. Half of it is
            for counting: if that is not enough for all, every 2nd, 4th, 8th, ... training batch is counted; rates are
            then those of the samples counted, and title and record say how many batches these are. Reports that are due
            are let pass until they fit in; turnover then spans the time since the last one. A validation that is
            reported is counted wholly, others like training, in case the run stops there. The first and the last report
            are always made. Monitors of one Trainer that have a `max_overhead` share it evenly, so that together they
            stay within it. Under DDP the slowest process decides for all.
        min_every: With `max_overhead`: of so many reports that are due, at least one is made, whatever it costs.
        on_error: `"warn"` once and go on when something fails, or `"raise"`.
        name: Prefix of the tags, and key of the state.

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
        class_names: Sequence[str] = (),
        feature_names: Sequence[str] = (),
        probe: Probe | None = None,
        feeding: int = 4,
        method: Callable[..., Attribution] | None = None,
        maps: int | Sequence[int] = 16,
        input: int | str | Sequence[int | str] | Callable[..., Any] | None = None,  # noqa: A002 - the option's public name
        target: int | str | Callable[..., Any] | None = None,
        output: int | str | Callable[..., Any] | None = None,
        forward_fn: Callable[..., Any] | None = None,
        every_n_epochs: int | None = 1,
        every_n_train_steps: int | None = None,
        max_overhead: float | None = None,
        min_every: int | None = None,
        on_error: OnError = "warn",
        name: str = "neurons",
    ) -> None:
        super().__init__()
        if by not in ("label", "prediction"):
            raise ConfigurationError(f"by={by!r}; expected 'label' or 'prediction'.")
        self.layers = layers
        self.name = name
        self._class_names = tuple(class_names)
        self._schedule = Schedule(every_n_epochs=every_n_epochs, every_n_train_steps=every_n_train_steps)
        self._guard = Guard(f"ActiveNeuronMonitor(name={name!r})", on_error)
        self._pacing = Pacing(
            name,
            schedule=self._schedule,
            budget=Budget(max_overhead=max_overhead, min_every=min_every),
            guard=self._guard,
        )
        self._choice = BatchChoice(self._pacing)
        self.question = question = Question(input=input, target=target, output=output, forward_fn=forward_fn)
        """Where batches hold what, and how the module is called."""
        rule = ActivityRule(threshold=threshold, min_fraction=min_fraction, min_rate=min_rate)
        self._asked: Asked = {key: in_words(option) for key, option in {**asdict(rule), "by": by}.items()}
        self._watch = NeuronWatch(
            rule=rule,
            by=by,
            n_classes=len(self._class_names),
            question=question,
            guard=self._guard,
            stopwatch=self._pacing.stopwatch,
            unit_dims=unit_dims,
        )
        # no probe is drawn for nothing: token ids, say, feed no neuron with a sign and have no maps
        self._wants_probe = feeding > 0 or maps != 0
        self._probe = NeuronProbe(
            probe,
            question=question,
            guard=self._guard,
            class_names=self._class_names,
            feature_names=feature_names,
        )
        self._reporter = NeuronReporter(
            name,
            watch=self._watch,
            probe=self._probe,
            guard=self._guard,
            pacing=self._pacing,
            choice=self._choice,
            class_names=self._class_names,
            feeding=feeding,
            method=method,
            maps=maps,
        )
        self._validated = False
        self._reports = True
        self._logged_step = -1
        self._loaders: list[Any] = []
        self._loaded = LoadedState()
        self._weights = WeightChanges()
        self._module: weakref.ref[pl.LightningModule] | None = None

    @property
    def state_key(self) -> str:
        """Identifies this monitor's state in a checkpoint."""
        return self._generate_state_key(name=self.name)

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
        return self._reporter.profiles

    @property
    def class_figures(self) -> dict[str, list[float]]:
        """Precision, recall and F1 by class, of the last validation."""
        return self._reporter.class_figures

    @property
    def class_names(self) -> list[str]:
        """Names of the classes met so far: as given, or their indices."""
        return self._reporter.class_names

    @property
    def probe(self) -> Probe | None:
        """What feeding features and maps are worked out for; None until it was drawn."""
        return self._probe.probe

    @property
    def active_sets(self) -> dict[str, dict[int, tuple[int, ...]]]:
        """Indices of the active neurons by layer and class index, from the last validation (else training)."""
        profiles = self.profiles.get("val") or self.profiles.get("train") or {}
        return {layer: profile.set_indices() for layer, profile in profiles.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what the epochs so far add up to, and the counts of the running one."""
        if self._loaded.waiting is not None:
            return self._loaded.waiting
        own = {"pacing": self._pacing.state_dict(), "choice": self._choice.state_dict(), "asked": self._asked}
        return {**self._reporter.state_dict(), "train_counts": self._watch.state_dict(), **own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's history and counts until a fit takes them up."""
        self._loaded.load(state_dict)

    def _resume(self, loaded: dict[str, Any]) -> None:
        """Go on with a checkpoint's history and counts, if they were counted by the same rule."""
        changed = what_changed(loaded.get("asked"), self._asked)
        counts = loaded["train_counts"]
        self._pacing.load_state_dict(loaded["pacing"])
        self._choice.load_state_dict(loaded["choice"])
        if not changed:
            self._reporter.load_state_dict(loaded)
            self._watch.load_state_dict(counts)
            self._reporter.caveat = ""
            return
        self._reporter.caveat = begins_anew(changed)
        self._guard.note(
            f"the checkpoint was written with {changed}, so turnover begins anew, and the epochs in which neurons "
            "became active or died as well. To go on with the old ones, give the same options."
        )

    # -- hooks on and off --------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the hooks on; go on with the checkpoint's history, or begin anew for a new module."""
        known = self._module is not None and self._module() is pl_module
        self._module = weakref.ref(pl_module)
        self._logged_step = -1
        self._guard.begin()
        self._reporter.reported = False
        self._pacing.begin(trainer)
        self._choice.forget()
        self._weights.begin()
        loaded = self._loaded.begin_fit()
        if loaded is not None or not known:
            # another network's sets are no reference for this one's
            self._reporter.forget()
            self._probe.forget()
        if loaded is not None:
            self._reporter.caveat = UNREADABLE
            with self._guard.doing(TAKING_UP, consequence=BEGINNING_ANEW):
                self._resume(loaded)
        self._watch.attach(pl_module, self.layers, pl_module.device, in_half="16" in str(trainer.precision))

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that testing is not watched, where nothing else was."""
        del trainer, pl_module
        if not self.records:
            self._guard.note(NOT_IN_TESTS)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Be ready for a checkpoint, whatever became of the run before."""
        del trainer, pl_module, stage
        self._loaded.end_fit()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the hooks off; say if the network that fit returns is none that was counted."""
        self._loaded.end_fit()
        self._watch.detach()
        with self._guard.doing("comparing the weights with those counted last"):
            if self._weights.are_new(trainer, pl_module):
                self._guard.note(
                    "the weights were exchanged after the last epoch (averaged, say), so the last report is of the "
                    "network before that. trainer.validate(model, dataloaders=...) with this callback reports the "
                    "network that fit returned."
                )

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take the hooks off: teardown is not called after an interrupt."""
        del trainer, pl_module, exception
        self._loaded.end_fit()
        self._watch.detach()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the hooks off."""
        del trainer, pl_module, stage
        self._watch.detach()

    # -- counting ----------------------------------------------------------------------------------------------

    def _begin_batch(self, pl_module: pl.LightningModule, stage: Stage, batch: Any, batch_idx: int, at: Any) -> None:
        if not self._choice.begin_batch(stage, batch_idx):
            return
        with self._pacing.stopwatch.spending(), self._guard.doing(f"reading the labels ({stage})"):
            self._watch.begin_batch(pl_module, stage, batch, batch_idx, at)

    def _end_batch(self, stage: Stage, trainer: pl.Trainer) -> None:
        if self._choice.counts:
            with self._pacing.stopwatch.spending(), self._guard.doing(f"counting active neurons ({stage})"):
                # a strategy that wraps the module calls its steps in the place of its forward
                self._watch.end_batch(stage, redirected=trainer.strategy.model is not trainer.lightning_module)
        self._choice.end_batch(stage, trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the probe, if validation data are known by now."""
        del pl_module
        self._find_probe(trainer)

    def _find_probe(self, trainer: pl.Trainer) -> None:
        if not self._wants_probe:
            return
        doing = self._guard.doing("drawing a probe for feeding features and activation maps", cure=DRAWING_A_PROBE)
        with self._pacing.stopwatch.spending(), doing:
            self._probe.find(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin counting anew."""
        del pl_module
        with self._guard.doing("counting active neurons (train)"):
            self._watch.reset("train")
        self._choice.begin_stage("train", trainer)
        self._validated = self._reporter.reported = False
        self._loaders = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Listen to the layers."""
        if not self._loaders:
            self._loaders = flat_loaders(trainer.train_dataloader)
        only = self._loaders[0] if len(self._loaders) == 1 else None
        self._begin_batch(pl_module, "train", batch, batch_idx, only)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Look away: activation checkpointing runs the layers again during the backward pass."""
        del trainer, pl_module, loss
        self._watch.listen(listening=False)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen again under manual optimisation, where a step may go forward more than once.

        Under automatic optimisation only a closure that is called again (LBFGS) would follow, with the same batch.
        """
        del trainer
        if not pl_module.automatic_optimization and self._choice.counts:
            self._watch.listen(listening=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; log the epoch so far after every n-th step."""
        del outputs, batch, batch_idx
        self._end_batch("train", trainer)
        if self._schedule.due_after_step(trainer.global_step) and trainer.global_step != self._logged_step:
            self._logged_step = trainer.global_step
            if self._pacing.allows(trainer):
                self._pacing.start()
                self._reporter.report_step(trainer, pl_module)
                self._pacing.done()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin counting anew; put the hooks on if `trainer.validate` runs alone."""
        if not trainer.sanity_checking:
            self._watch.attach(pl_module, self.layers, pl_module.device, in_half="16" in str(trainer.precision))
            with self._guard.doing("counting active neurons (val)"):
                self._watch.reset("val")
                self._watch.scores.begin_validation(trainer.callback_metrics, pl_module)
            self._reports = trainer.state.fn != "fit" or (self._is_due(trainer) and self._pacing.allows(trainer))
            self._pacing.start()
            self._choice.begin_stage("val", trainer, wholly=self._reports)
            self._find_probe(trainer)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Listen to the layers."""
        if not trainer.sanity_checking:
            loaders = flat_loaders(trainer.val_dataloaders)
            loader = loaders[dataloader_idx] if dataloader_idx < len(loaders) else None
            if batch_idx == 0 and self._reports:
                self._weights.explained(pl_module)  # averages are in place for as long as it validates
            self._begin_batch(pl_module, "val", batch, batch_idx, loader)
            with self._guard.doing("collecting a probe", cure=DRAWING_A_PROBE):
                self._probe.collect(batch)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the batch."""
        del pl_module, outputs, batch, batch_idx, dataloader_idx
        if not trainer.sanity_checking:
            self._end_batch("val", trainer)

    # -- logging -----------------------------------------------------------------------------------------------

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the validation that ends a due epoch."""
        if trainer.sanity_checking:
            return
        self._validated = True
        with self._guard.doing("reading the accuracy that the module logged"):
            self._watch.scores.end_validation(trainer.callback_metrics, pl_module)
        with self._guard.doing("collecting a probe", cure=DRAWING_A_PROBE):
            self._probe.finish()
        self._choice.end_stage("val")
        if self._is_due(trainer):
            if self._pacing.limit is not None:
                # decided once and by all processes together: one that fails must not ask again alone
                self._reporter.reported = True
            if self._reports:
                self._report(trainer, pl_module, "val", current_step(trainer))

    def _is_due(self, trainer: pl.Trainer) -> bool:
        return due_in_validation(trainer, self._schedule)

    def _report(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: Stage, step: int) -> None:
        """Report an epoch."""
        number = (trainer.current_epoch + 1) // (self._schedule.every_n_epochs or 1)
        if trainer.state.fn == "validate":
            number = len(self.records) + 1  # checkpoints may be of any epochs
        self._reporter.report_epoch(trainer, pl_module, stage, step=step, number=number)
        self._pacing.done()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report a due epoch that no validation ended: the last one in its middle, or training where there was none."""
        self._choice.end_stage("train")
        if self._schedule.due_after_epoch(trainer.current_epoch) and not self._reporter.reported:
            self._reporter.reported = self._pacing.limit is not None
            if self._pacing.allows(trainer):
                self._pacing.start()
                stage: Stage = "val" if self._validated else "train"
                self._report(trainer, pl_module, stage, current_step(trainer, after_train_epoch=True))
        self._weights.epoch_ended(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the last epoch, if a budget let it pass."""
        if self._pacing.n_skipped and self._schedule.every_n_epochs is None:
            self._reporter.report_step(trainer, pl_module, monitored=False)
        elif self._pacing.n_skipped:
            stage: Stage = "val" if self._validated else "train"
            step = current_step(trainer, after_train_epoch=True)
            self._reporter.report_epoch(trainer, pl_module, stage, step=step, number=0, monitored=False)
        self._pacing.close(trainer)
