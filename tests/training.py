"""Short runs of a real Trainer that the tests share."""

import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain.errors import ExplanationWarning
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer


def fit(
    *callbacks: pl.Callback | Sequence[pl.Callback],
    model: pl.LightningModule | Callable[[], pl.LightningModule] = DigitNet,
    data: Any = None,
    seed: int = 0,
    ckpt: Path | None = None,
    **options: Any,
) -> pl.Trainer:
    """Train a digit net on digits, or what is given, for two epochs unless told otherwise.

    Args:
        callbacks: One by one or in lists.
        model: A module, or what makes one after seeding.
        data: A data module, a loader of training batches, or loaders of training and of validation batches.
        seed: Seed of the run.
        ckpt: Checkpoint to resume from.
        options: Options of the Trainer.
    """
    pl.seed_everything(seed, verbose=False)
    given = [each for some in callbacks for each in ([some] if isinstance(some, pl.Callback) else some)]
    trainer = quiet_trainer(callbacks=given, **options)
    loaders = data if isinstance(data, tuple) else (DigitData() if data is None else data,)
    trainer.fit(model if isinstance(model, pl.LightningModule) else model(), *loaders, ckpt_path=ckpt)
    return trainer


def logged_fit(
    callbacks: pl.Callback | Sequence[pl.Callback],
    folder: Path,
    model: Any = DigitNet,
    data: Any = None,
    **options: Any,
) -> tuple[pl.Trainer, Events]:
    """Train with a TensorBoard logger, and read its event file back."""
    logger = TensorBoardLogger(folder, "run", version=0)
    trainer = fit(callbacks, model=model, logger=logger, **options)
    return trainer, Events(logger.log_dir)


@contextmanager
def explanation_warnings() -> Generator[list[str], None, None]:
    """Collect the messages of this package's warnings."""
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield told
    told.extend(str(each.message) for each in caught if issubclass(each.category, ExplanationWarning))
