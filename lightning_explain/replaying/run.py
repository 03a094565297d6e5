"""Replay of a run: each checkpoint is validated with the monitors active, as `trainer.validate` would."""

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from tqdm.auto import tqdm

from lightning_explain.callbacks import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from lightning_explain.randomness import rng_preserved
from lightning_explain.replaying.restoring import module_restored
from lightning_explain.replaying.saved import Checkpoint, checkpoint_files, read_checkpoints
from lightning_explain.replaying.trainer_hooks import Loading, Monitor, TrainingPass
from lightning_explain.weights.checkpoint_file import UnusableCheckpointError

NO_VALIDATION = (
    "Nothing was validated, and a replay explains what a validation sees: there are no validation data (no "
    "val_dataloader, or limit_val_batches=0). Give a datamodule, or val_dataloaders=."
)

MOST_REASONS = 5
"""Reasons that an error lists when no checkpoint can be used."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """Result of a replay.

    Attributes:
        steps: Steps of the checkpoints that were explained, in order.
        skipped: Why other files were not.
        log_dir: Where the loggers wrote; None if they keep nothing on disk.
    """

    steps: tuple[int, ...]
    skipped: Mapping[Path, str]
    log_dir: Path | None


def replay(
    model: Any,
    checkpoints: str | Path | Sequence[str | Path],
    callbacks: Sequence[pl.Callback] | pl.Callback,
    datamodule: Any = None,
    *,
    train_dataloaders: Any = None,
    val_dataloaders: Any = None,
    trainer: Any = None,
    logdir: str | Path = "runs/replay",
    train_data: bool = False,
    progress: bool = True,
) -> Replayed:
    """Explain the saved checkpoints of a run that was not watched.

    The monitors see each checkpoint as they would see a validation at its step, with the same tags, pictures, records
    and events for the Explain tab. One probe serves for all; drift is measured from checkpoint to checkpoint, and to
    the first of them. Everything is logged at the checkpoint's own step, the number of optimizer steps (a watched run
    logs the same state one step lower, as Lightning does, which logs at the index of the running batch). The metrics
    that the module's own `validation_step` logs are logged too.

    Checkpoints are read without executing anything in them (`weights_only`). One that does not fit is named in a
    warning and skipped. The module is left as it was found: weights, buffers, device, modes, attributes.

    Args:
        model: The LightningModule, whatever its weights.
        checkpoints: A folder, or files. Checkpoints of Lightning, files `{"state_dict": ...}`, or with tensors by name.
        callbacks: Monitors that have watched nothing yet; their schedule is ignored.
        datamodule: A LightningDataModule; it is set up as for `fit`.
        train_dataloaders: Training data, if there is no datamodule and the module brings none itself; needed for
            `train_data`, for baselines that are means of training data, and for the sample of `strategies=`.
        val_dataloaders: Validation data, if there is no datamodule and the module brings none itself.
        trainer: A Trainer whose devices, precision and loggers are used; by default one with one device, and
            TensorBoard.
        logdir: Where TensorBoard reads, without `trainer`; each replay gets a folder of its own in it.
        train_data: Also count active neurons over the training data, so that the gap to validation is known. The
            weights do not move meanwhile, and dropout is off, as it is not in a watched run.
        progress: Whether to show a progress bar.

    Returns:
        The steps that were explained, and what was skipped.

    Raises:
        ConfigurationError: There are no checkpoints or none fits, the callbacks are no fresh monitors, there are no
            validation data, or a monitor cannot work with this model.

    Cost: for each checkpoint one validation and what the monitors do; memory for the weights twice.

    Example:
        >>> from lightning_explain import AttributionMonitor, replay
        >>> replay(model, "lightning_logs/version_0", [AttributionMonitor()], data)  # doctest: +SKIP
        Replayed(steps=(63, 126), skipped={}, log_dir=PosixPath('runs/replay/version_0'))
    """
    monitors = _fresh_monitors(callbacks)
    found, skipped = read_checkpoints(checkpoint_files(checkpoints))
    for path, reason in skipped.items():
        _say_skipped(path, reason)
    if trainer is None:
        trainer = trainer_for(model, logdir)
    loading = Loading(monitors, train_dataloaders, train_data=train_data)
    steps: list[int] = []
    bar = tqdm(found, desc="Explaining checkpoints", unit="checkpoint", disable=not progress)
    with (
        module_restored(model),
        _lent(trainer, [loading, *monitors, TrainingPass(monitors if train_data else [])]),
        _set_up_once(datamodule, trainer),
    ):
        # monitors of the module's own would take the place of those given
        model.configure_callbacks = list
        for checkpoint in bar:
            bar.set_postfix_str(f"step {checkpoint.step}")
            loading.checkpoint = checkpoint
            try:
                _validate(trainer, model, checkpoint, datamodule=datamodule, val_dataloaders=val_dataloaders)
            except UnusableCheckpointError as error:
                skipped[checkpoint.path] = str(error)
                _say_skipped(checkpoint.path, str(error))
                continue
            if not loading.is_done:
                raise ConfigurationError(NO_VALIDATION)
            steps.append(checkpoint.step)
        if not steps:
            raise ConfigurationError(_none_fits(skipped))
        _end(trainer, model, monitors)
    return Replayed(
        steps=tuple(steps), skipped=skipped, log_dir=None if trainer.log_dir is None else Path(trainer.log_dir)
    )


def _validate(trainer: Any, model: Any, checkpoint: Checkpoint, *, datamodule: Any, val_dataloaders: Any) -> None:
    """Validate one checkpoint at its own step; every validation starts from the same random states."""
    trainer.fit_loop.epoch_loop._batches_that_stepped = checkpoint.step
    progress = trainer.fit_loop.epoch_progress.current
    progress.processed = progress.completed = checkpoint.epoch
    with rng_preserved():
        trainer.validate(model, dataloaders=val_dataloaders, datamodule=datamodule, verbose=False)


def _end(trainer: Any, model: Any, monitors: Sequence[Monitor]) -> None:
    """Run the monitors' end of training, and detach their hooks."""
    for monitor in monitors:
        monitor.on_train_end(trainer, model)
        if isinstance(monitor, ActiveNeuronMonitor):
            monitor.on_fit_end(trainer, model)


def _fresh_monitors(callbacks: Sequence[pl.Callback] | pl.Callback) -> list[Any]:
    given: list[Any] = list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
    kinds = (ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor)
    others = [type(callback).__name__ for callback in given if not isinstance(callback, kinds)]
    if others or not given:
        raise ConfigurationError(
            f"callbacks={others or given}; expected some of {', '.join(kind.__name__ for kind in kinds)}. Others have "
            "nothing to do in a replay."
        )
    used = [monitor.name for monitor in given if monitor.records]
    if used:
        raise ConfigurationError(
            f"The monitors {', '.join(used)} have watched a run already, and would measure drift from its last "
            "explanation. Give new ones, made with the same options."
        )
    return given


def trainer_for(model: Any, logdir: str | Path, **options: Any) -> Any:
    """Create a Trainer for a replay, from the framework that the module comes from: Lightning has two names.

    Args:
        model: The LightningModule.
        logdir: Where TensorBoard reads.
        options: More options of the Trainer, such as its precision.
    """
    homes = [base.__module__.split(".")[0] for base in type(model).__mro__ if base.__name__ == "LightningModule"]
    home = "pytorch_lightning" if homes == ["pytorch_lightning"] else "lightning.pytorch"
    loggers: Any = import_module(f"{home}.loggers")
    return import_module(home).Trainer(
        devices=1,
        logger=loggers.TensorBoardLogger(logdir, name=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_autolog_hparams=False,
        log_every_n_steps=1,
        **options,
    )


@contextmanager
def _lent(trainer: Any, callbacks: list[Any]) -> Generator[None, None, None]:
    """Give the Trainer other callbacks temporarily, and keep its loggers open from one validation to the next."""
    own, place = trainer.callbacks, trainer.fit_loop.epoch_loop._batches_that_stepped
    progress = trainer.fit_loop.epoch_progress.current
    epochs = progress.processed, progress.completed
    trainer.callbacks = callbacks
    loggers: list[Any] = list(trainer.loggers)
    for logger in loggers:
        # each validation would close them, and begin another event file
        logger.finalize = _stay_open
    try:
        yield
    finally:
        trainer.callbacks = own
        trainer.fit_loop.epoch_loop._batches_that_stepped = place
        progress.processed, progress.completed = epochs
        for logger in loggers:
            del logger.finalize
            logger.finalize("success")


def _stay_open(status: str) -> None:
    del status


@contextmanager
def _set_up_once(datamodule: Any, trainer: Any) -> Generator[None, None, None]:
    """Set a datamodule up once, as `fit` does: many implement no other stage, and a new random split is other data."""
    if datamodule is None:
        yield
        return
    datamodule.trainer = trainer
    with rng_preserved():
        datamodule.prepare_data()
        datamodule.setup("fit")
    shadowed = ("prepare_data", "setup", "teardown")
    for hook in shadowed:
        setattr(datamodule, hook, _already_done)
    try:
        yield
    finally:
        for hook in shadowed:
            delattr(datamodule, hook)
        datamodule.teardown("fit")


def _already_done(stage: str | None = None) -> None:
    del stage


def _say_skipped(path: Path, reason: str) -> None:
    warnings.warn(f"replay: {path} is skipped: {reason}.", ExplanationWarning, stacklevel=3)


def _none_fits(skipped: Mapping[Path, str]) -> str:
    reasons = [f"\n  {path}: {reason}" for path, reason in list(skipped.items())[:MOST_REASONS]]
    more = f"\n  and {len(skipped) - MOST_REASONS} more" if len(skipped) > MOST_REASONS else ""
    return (
        f"None of {len(skipped)} checkpoints can be explained. Give the model that they were saved from."
        f"{''.join(reasons)}{more}"
    )
