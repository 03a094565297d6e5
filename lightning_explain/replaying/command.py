"""The command `lightning-explain replay`: its output and its exit codes."""

import argparse
import logging
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.utilities.exceptions import MisconfigurationException
from tqdm.auto import tqdm

from lightning_explain.errors import ConfigurationError, ExplanationWarning
from lightning_explain.replaying.config import Run, run_of
from lightning_explain.replaying.named_classes import run_of_classes
from lightning_explain.replaying.run import Replayed, replay, trainer_for


@contextmanager
def _spoken() -> Generator[None, None, None]:
    """Print warnings of this package in plain lines above the progress bar, and suppress advice about small data."""
    voice = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = voice.level
    voice.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # between torch and Lightning
        warnings.filterwarnings("always", category=ExplanationWarning)
        show = warnings.showwarning

        def said(message: Any, category: Any, *place: Any, **more: Any) -> None:
            if issubclass(category, ExplanationWarning):
                tqdm.write(str(message), file=sys.stderr)
            else:
                show(message, category, *place, **more)

        warnings.showwarning = said
        try:
            yield
        finally:
            voice.setLevel(level)


def run(arguments: argparse.Namespace) -> int:
    """Replay the checkpoints of a run.

    Args:
        arguments: As `lightning_explain.cli` understands them.

    Returns:
        0, or 1 after saying what is missing or wrong.
    """
    try:
        with _spoken():
            described = _described(arguments)
            done = _replayed(described, arguments)
    except (ConfigurationError, MisconfigurationException) as error:
        sys.stderr.write(f"lightning-explain replay: {error}\n")
        return 1
    steps = f"{len(done.steps)} checkpoint{'s' if len(done.steps) > 1 else ''}"
    skipped = f", {len(done.skipped)} skipped" if done.skipped else ""
    print(f"{steps} explained{skipped}: steps {', '.join(map(str, done.steps))}")
    print(f"See them with\n\n  tensorboard --logdir {arguments.logdir}\n\nor as one page with\n")
    print(f"  lightning-explain report {done.log_dir}")
    return 0


def _described(arguments: argparse.Namespace) -> Run:
    """Build what the arguments describe: by a configuration file, or by the names of classes."""
    more: dict[str, Any] = {"script": arguments.script, "monitors": arguments.monitors}
    if arguments.config is not None:
        return run_of(arguments.config, model=arguments.model, data=arguments.data, **more)
    if arguments.model is None:
        raise ConfigurationError(
            "neither --config nor --model is given. After training with LightningCLI give --config config.yaml, after "
            "a script of your own --model train:Net --data train:Data (module:Class; the arguments are those that "
            "self.save_hyperparameters() saved in the checkpoint)."
        )
    return run_of_classes(arguments.model, arguments.data, arguments.ckpt_dir, **more)


def _replayed(described: Run, arguments: argparse.Namespace) -> Replayed:
    options = dict(described.trainer)
    if arguments.accelerator is not None:
        options["accelerator"] = arguments.accelerator
    return replay(
        described.model,
        arguments.ckpt_dir,
        described.monitors,
        described.data,
        train_dataloaders=described.train_dataloaders,
        val_dataloaders=described.val_dataloaders,
        trainer=trainer_for(described.model, arguments.logdir, **options),
        train_data=arguments.train_data,
    )
