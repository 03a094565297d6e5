"""ActiveNeuronMonitor: which neurons each class uses, and how that changes as the network learns."""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

import lightning.pytorch as pl
from torch import Tensor

from lightning_explain.callbacks.activation_maps import activation_maps, log_maps
from lightning_explain.callbacks.guard import Guard, OnError
from lightning_explain.callbacks.moments import due_in_validation
from lightning_explain.callbacks.neuron_counts import ActivityRule
from lightning_explain.callbacks.neuron_report import (
    Profiles,
    class_scalars,
    gap_scalars,
    layer_scalars,
    log_rates,
    record,
)
from lightning_explain.callbacks.neuron_tab import log_neuron_tab
from lightning_explain.callbacks.neuron_watch import NeuronWatch, Stage
from lightning_explain.callbacks.probe_source import flat_loaders, probe_from_loader, to_device
from lightning_explain.callbacks.question import Question
from lightning_explain.errors import ConfigurationError
from lightning_explain.log import Journal, current_step, defined, tag
from lightning_explain.probe import Probe
from lightning_explain.schedule import Schedule, Stopwatch


class ActiveNeuronMonitor(pl.Callback):
    """Records which neurons are active for which class, in training and in validation.

    Forward hooks reduce each watched layer's output to one yes or no per sample and neuron; nothing of the run is
    changed, and no activation is kept.

    Logs, with `{name}` being `neurons` by default, from the validation that ends an epoch (from training where an
    epoch has none):
        - `explain/{name}/{layer}/dead`, `.../always_on`, `.../exclusive`: shares of the layer's neurons that pass
          the threshold nowhere, are active for every sample, or are in the active set of one class only.
        - `explain/{name}/{layer}/selectivity` (mean class selectivity), `.../overlap` (mean Jaccard index of two
          classes' active sets), `.../turnover` (1 - Jaccard with the previous epoch's sets, mean over classes),
          `.../gap` (mean difference between training and validation rates).
        - `explain/{name}/precision/{class}`, `.../recall/{class}`, `.../f1/{class}`: of the validation.
        - `explain/{name}/overhead`: share of wall time spent counting so far.
        - `explain/{name}/{layer}/rates` (image): class x neuron activation rates.
        - `explain/{name}/{layer}/maps` (image): activation maps of one probe sample, for convolutional layers.
        - `explain/{name}/train/{layer}/...`: the figures of the training batches of the epoch so far, at every
          `every_n_train_steps`.
        - `explain/{name}/tab` (blobs): the same for TensorBoard's Explain tab.
        - one JSON line per epoch in `explain/{name}/record.jsonl` in the run's folder: rates, active sets, dead
          neurons.

    The figures also go through `pl_module.log`, so that other callbacks can monitor them.

    Args:
        layers: Names or globs of the modules to watch; default: the activation modules, or where there are none the
            layers that feed the functional ones. A module that runs several times in a step is counted per call,
            as `name`, `name#1`, ...
        threshold: Activation above which a position counts as active.
        min_fraction: For maps and sequences: share of positions that must be active for the channel to be.
        min_rate: A neuron is in a class's active set when it is active in at least this share of its samples.
        by: Group samples by their `"label"` or by the model's `"prediction"`.
        class_names: Names of the classes.
        probe: Sample for the activation maps (its first one); default: one drawn from the validation data.
        input: Where a batch holds the input (for the default probe): index, key, attribute or callable.
        target: Where a batch holds the labels.
        output: Where the model's output holds the scores.
        forward_fn: Called as `forward_fn(module, *inputs)` for the activation maps.
        every_n_epochs: Log at the end of every n-th epoch; None for never.
        every_n_train_steps: Also log the training figures after every n-th step; None for never.
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
        threshold: float = 0.0,
        min_fraction: float = 0.25,
        min_rate: float = 0.5,
        by: Literal["label", "prediction"] = "label",
        class_names: Sequence[str] = (),
        probe: Probe | None = None,
        input: int | str | Callable[..., Any] | None = None,  # noqa: A002 - the option's public name
        target: int | str | Callable[..., Any] | None = None,
        output: int | str | Callable[..., Any] | None = None,
        forward_fn: Callable[..., Any] | None = None,
        every_n_epochs: int | None = 1,
        every_n_train_steps: int | None = None,
        on_error: OnError = "warn",
        name: str = "neurons",
    ) -> None:
        super().__init__()
        if by not in ("label", "prediction"):
            raise ConfigurationError(f"by={by!r}; expected 'label' or 'prediction'.")
        self.layers = layers
        self.name = name
        self.probe = probe
        self.profiles: dict[Stage, Profiles] = {}
        """The last finished profile of each stage, `train` and `val`, by layer."""
        self.class_figures: dict[str, list[float]] = {}
        """Precision, recall and F1 by class, of the last validation."""
        self.records: list[dict[str, Any]] = []
        """One record per logged epoch of this process's run, as in `record.jsonl`, with the logged `scalars`."""
        self._class_names = tuple(class_names)
        self._question = Question(input=input, target=target, output=output, forward_fn=forward_fn)
        self._schedule = Schedule(every_n_epochs=every_n_epochs, every_n_train_steps=every_n_train_steps)
        self._guard = Guard(f"ActiveNeuronMonitor(name={name!r})", on_error)
        self._stopwatch = Stopwatch()
        self._watch = NeuronWatch(
            rule=ActivityRule(threshold=threshold, min_fraction=min_fraction, min_rate=min_rate),
            by=by,
            n_classes=len(self._class_names),
            question=self._question,
            guard=self._guard,
            stopwatch=self._stopwatch,
        )
        self._previous_sets: dict[Stage, dict[str, Tensor]] = {}
        self._validated = False
        self._reported = False
        self._logged_step = -1
        self._loaders: list[Any] = []
        self._probe_sought = False
        self._loaded: dict[str, Any] | None = None
        self._module: weakref.ref[pl.LightningModule] | None = None

    @property
    def state_key(self) -> str:
        """Identifies this monitor's state in a checkpoint."""
        return self._generate_state_key(name=self.name)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes met so far: as given, or their indices."""
        met = [len(profile.rates) for layers in self.profiles.values() for profile in layers.values()]
        n_classes = max([len(self._class_names), *met])
        return [self._class_names[c] if c < len(self._class_names) else str(c) for c in range(n_classes)]

    @property
    def active_sets(self) -> dict[str, dict[int, tuple[int, ...]]]:
        """Indices of the active neurons by layer and class index, from the last validation (else training)."""
        profiles = self.profiles.get("val") or self.profiles.get("train") or {}
        return {
            layer: {
                c: tuple(profile.active_sets[c].nonzero().flatten().tolist())
                for c in profile.seen.nonzero().flatten().tolist()
            }
            for layer, profile in profiles.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the last active sets (for the turnover) and the counts of the running epoch."""
        if self._loaded is not None:
            return self._loaded  # loaded, but no fit has taken it up yet
        return {
            "previous_sets": self._previous_sets,
            "train_counts": self._watch.state_dict(),
            "reported": self._reported,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep what `state_dict` returned until a fit takes it up."""
        self._loaded = state_dict

    # -- hooks on and off --------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the hooks on and start the clock."""
        del trainer
        known = self._module is not None and self._module() is pl_module
        self._module = weakref.ref(pl_module)
        self._logged_step, self._reported = -1, False
        if self._loaded is not None:
            loaded, self._loaded = self._loaded, None
            self._previous_sets, self._reported = loaded["previous_sets"], loaded["reported"]
            self._watch.load_state_dict(loaded["train_counts"])
        elif not known:
            self._previous_sets, self.profiles = {}, {}  # another network's sets are no reference for this one's
        self._watch.attach(pl_module, self.layers, pl_module.device)
        self._stopwatch.begin()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the hooks off."""
        del trainer, pl_module
        self._watch.detach()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take the hooks off: teardown is not called after an interrupt."""
        del trainer, pl_module, exception
        self._watch.detach()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the hooks off."""
        del trainer, pl_module, stage
        self._watch.detach()

    # -- counting ----------------------------------------------------------------------------------------------

    def _begin_batch(self, stage: Stage, batch: Any, batch_idx: int, loader: Any) -> None:
        with self._stopwatch.spending(), self._guard.doing(f"reading the labels ({stage})"):
            self._watch.begin_batch(stage, batch, batch_idx, loader)

    def _end_batch(self, stage: Stage) -> None:
        with self._stopwatch.spending(), self._guard.doing(f"counting active neurons ({stage})"):
            self._watch.end_batch(stage)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin counting anew."""
        del trainer, pl_module
        self._watch.reset("train")
        self._validated = self._reported = False
        self._loaders = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Listen to the layers."""
        del pl_module
        if not self._loaders:
            self._loaders = flat_loaders(trainer.train_dataloader)
        self._begin_batch("train", batch, batch_idx, self._loaders[0] if len(self._loaders) == 1 else None)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Look away: activation checkpointing runs the layers again during the backward pass."""
        del trainer, pl_module, loss
        self._watch.listen(listening=False)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen again under manual optimisation, where a step may go forward more than once.

        Under automatic optimisation only a closure that is called again (LBFGS) would follow, with the same batch.
        """
        del trainer
        if not pl_module.automatic_optimization:
            self._watch.listen(listening=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; log the epoch so far after every n-th step."""
        del outputs, batch, batch_idx
        self._end_batch("train")
        if self._schedule.due_after_step(trainer.global_step) and trainer.global_step != self._logged_step:
            self._logged_step = trainer.global_step
            with self._stopwatch.spending(), self._guard.doing("logging training neurons"):
                self.profiles["train"] = self._watch.profiles("train", trainer)
                scalars = layer_scalars(self.name, self.profiles["train"], {}, "train")
                self._publish(trainer, pl_module, scalars, step=current_step(trainer))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin counting anew; put the hooks on if `trainer.validate` runs alone."""
        if not trainer.sanity_checking:
            self._watch.attach(pl_module, self.layers, pl_module.device)
            self._watch.reset("val")

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Listen to the layers."""
        del pl_module
        if not trainer.sanity_checking:
            loaders = flat_loaders(trainer.val_dataloaders)
            loader = loaders[dataloader_idx] if dataloader_idx < len(loaders) else None
            self._begin_batch("val", batch, batch_idx, loader)

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
            self._end_batch("val")

    # -- logging -----------------------------------------------------------------------------------------------

    def _publish(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, scalars: dict[str, float], *, step: int
    ) -> None:
        """Send figures to the loggers at the right step, and to callbacks that monitor them."""
        scalars[tag(self.name, "overhead")] = self._stopwatch.share()
        Journal(trainer, step).scalars(scalars)
        pl_module.log_dict(defined(scalars), on_step=False, on_epoch=True, logger=False, batch_size=1)

    def _report(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: Stage, *, step: int) -> None:
        """Profile a finished stage and log it as the epoch's own."""
        profiles = self._watch.profiles(stage, trainer)
        if not profiles:
            return
        self.profiles[stage] = profiles
        scalars = layer_scalars(self.name, profiles, self._previous_sets.get(stage, {}))
        self._previous_sets[stage] = {layer: profile.active_sets for layer, profile in profiles.items()}
        self._reported = True
        if stage == "val":
            self.class_figures = self._watch.class_figures()
            scalars |= class_scalars(self.name, self.class_figures, self.class_names)
        entry = record(profiles, self.class_figures, self.class_names, stage=stage, epoch=trainer.current_epoch)
        self.records.append({"step": step, **entry, "scalars": scalars})
        self._publish(trainer, pl_module, scalars, step=step)
        journal = Journal(trainer, step)
        journal.record(tag(self.name, "record"), entry)
        moment = f"after epoch {trainer.current_epoch} ({'validation' if stage == 'val' else 'training'} data)"
        log_rates(journal, self.name, profiles, self.class_names, moment=moment)
        log_neuron_tab(journal, self.name, profiles, entry, scalars, count=len(self.records))

    def _log_maps(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the activation maps of the probe's first sample, if there is a probe and anything to draw it to."""
        journal = Journal(trainer, current_step(trainer))
        if not journal.shows_pictures:
            return
        loaders = flat_loaders(trainer.val_dataloaders)
        if self.probe is None and loaders and not self._probe_sought:
            self._probe_sought = True  # sought once: if it cannot be drawn, that was said
            self.probe = probe_from_loader(trainer, loaders[0], self._question, per_class=1, max_samples=1)
        if self.probe is None:
            return
        self._question.check(pl_module)
        inputs = to_device(trainer, self.probe.parts)
        maps = activation_maps(pl_module, inputs, self._question, self._watch.layers)
        log_maps(journal, self.name, self.probe, maps, moment=f"after epoch {trainer.current_epoch}")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the validation that ends a due epoch."""
        self._validated = not trainer.sanity_checking
        if not due_in_validation(trainer, self._schedule):
            return
        with self._stopwatch.spending(), self._guard.doing("logging validation neurons"):
            self._report(trainer, pl_module, "val", step=current_step(trainer))
        with self._stopwatch.spending(), self._guard.doing("drawing activation maps"):
            self._log_maps(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the gap between training and validation; or training alone, where the epoch had no validation."""
        if not self._schedule.due_after_epoch(trainer.current_epoch):
            return
        step = current_step(trainer, after_train_epoch=True)
        with self._stopwatch.spending(), self._guard.doing("logging training neurons"):
            if not self._reported:
                # the last validation in the middle of the epoch, or training where there was none
                self._report(trainer, pl_module, "val" if self._validated else "train", step=step)
            self.profiles["train"] = self._watch.profiles("train", trainer)
            scalars = gap_scalars(self.name, self.profiles["train"], self.profiles.get("val", {}))
            self._publish(trainer, pl_module, scalars, step=step)
