"""Callbacks of a replay: loading a checkpoint before the monitors run, a pass over the training data after."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import CombinedLoader

from lightning_explain.attribution.result import parts_of
from lightning_explain.batches import input_of
from lightning_explain.callbacks import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
from lightning_explain.callbacks.attribution.training_baselines import mean_of_training_data
from lightning_explain.callbacks.base.default_probe import like_the_trainer
from lightning_explain.randomness import rng_preserved
from lightning_explain.replaying.saved import Checkpoint
from lightning_explain.weights.checkpoint_file import UnusableCheckpointError, shortened

Monitor = ActiveNeuronMonitor | AttributionMonitor | DecisionPathMonitor


def load_weights(module: Any, content: dict[str, Any]) -> None:
    """Load a checkpoint's weights as Lightning does, the module's own hook included.

    Raises:
        UnusableCheckpointError: They do not fit.
    """
    try:
        with torch.inference_mode(mode=False), torch.no_grad():
            if "pytorch-lightning_version" in content:
                module.on_load_checkpoint(content)
            module.load_state_dict(content["state_dict"], strict=module.strict_loading)
    except Exception as error:  # the module's hook may raise anything
        lines = str(error).splitlines()
        # torch's first line only says that there were errors
        reason = shortened("; ".join(line.strip() for line in (lines[1:] or lines)))
        raise UnusableCheckpointError(f"it does not fit {type(module).__name__}: {reason}") from error


class Loading(pl.Callback):
    """Loads a checkpoint once the Trainer has set up and moved the module, and starts the monitors' run with the first.

    Args:
        monitors: Who explains.
        train_dataloaders: Training data, if neither a datamodule nor the module brings them.
        train_data: Whether training data are counted.
    """

    def __init__(self, monitors: Sequence[Monitor], train_dataloaders: Any, *, train_data: bool) -> None:
        self._monitors = monitors
        self._train_dataloaders = train_dataloaders
        self._needs_training_data = train_data or any(_asks_for_training_data(monitor) for monitor in monitors)
        self._likes_training_data = any(_looks_for_strategies(monitor) for monitor in monitors)
        self.checkpoint: Checkpoint | None = None
        """The next weights to explain; None once they were loaded."""
        self._begun = False

    @property
    def is_done(self) -> bool:
        """True if the checkpoint was explained."""
        return self.checkpoint is None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Load the checkpoint.

        Raises:
            UnusableCheckpointError: It does not fit.
            ConfigurationError: A monitor cannot work with this module.
        """
        if self.checkpoint is None:
            return
        checkpoint, self.checkpoint = self.checkpoint, None
        load_weights(pl_module, checkpoint.content())
        self._set_up_training_data(trainer)
        if not self._begun:
            self._begun = True
            for monitor in self._monitors:
                monitor.on_fit_start(trainer, pl_module)

    def _set_up_training_data(self, trainer: pl.Trainer) -> None:
        """Make the loader of training data where a monitor needs it, or may use it and it is there."""
        source: Any = vars(trainer.fit_loop)["_data_source"]
        if self._train_dataloaders is not None:
            source.instance = self._train_dataloaders
        if self._needs_training_data or (self._likes_training_data and source.is_defined()):
            with rng_preserved():
                trainer.fit_loop.setup_data()


def _looks_for_strategies(monitor: Monitor) -> bool:
    """Return True if a monitor draws from the training data, or from the validation data where there are none."""
    options = monitor.strategies if isinstance(monitor, AttributionMonitor) else None
    return options is not None and options.data == "training" and options.samples is None


def _asks_for_training_data(monitor: Monitor) -> bool:
    methods = monitor.methods.values() if isinstance(monitor, AttributionMonitor) else ()
    return any(mean_of_training_data(method) for method in methods)


class TrainingPass(pl.Callback):
    """Lets neuron monitors count the training data too, by one pass over it with fixed weights.

    Args:
        monitors: Who counts.
    """

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = [monitor for monitor in monitors if isinstance(monitor, ActiveNeuronMonitor)]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run over the training data; augmentation by the module's transfer hooks is excluded."""
        if not self._monitors:
            return
        loader = CombinedLoader(trainer.train_dataloader, "max_size_cycle")
        with rng_preserved():
            for monitor in self._monitors:
                monitor.on_train_epoch_start(trainer, pl_module)
            batches = islice(iter(loader), int(min(trainer.num_training_batches, 1 << 62)))
            for batch, batch_idx, _ in batches:
                moved = like_the_trainer(trainer, batch)
                for monitor in self._monitors:
                    monitor.on_train_batch_start(trainer, pl_module, moved, batch_idx)
                    question = monitor.question
                    question.scores(pl_module)(*parts_of(input_of(moved, question.input)))
                    monitor.on_train_batch_end(trainer, pl_module, None, moved, batch_idx)
