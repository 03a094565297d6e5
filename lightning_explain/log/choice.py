"""Selection of the sink for a logger."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from lightning_explain.log.comet_sink import CometSink
from lightning_explain.log.mlflow_sink import MLflowSink
from lightning_explain.log.sinks import FolderSink, Sink, TensorBoardSink
from lightning_explain.log.tags import tag_part
from lightning_explain.log.wandb_sink import WandbSink


def _is_a(value: Any, class_name: str) -> bool:
    # by name: the same class lives in `lightning.pytorch` and in `pytorch_lightning`, and one need not be installed
    return any(base.__name__ == class_name for base in type(value).__mro__)


def _tensorboard(logger: Any) -> TensorBoardSink:
    prefix = f"{logger._prefix}{logger.LOGGER_JOIN_CHAR}" if logger._prefix else ""
    return TensorBoardSink(logger.experiment, FolderSink(Path(logger.log_dir)), prefix)


def _comet(logger: Any) -> Sink | None:
    # Lightning 2.6 makes `CometLogger(online=False)` an experiment that keeps nothing; then we keep our files
    return _folder(logger) if logger.experiment.disabled else CometSink(logger.experiment)


def _folder(logger: Any) -> FolderSink | None:
    directory = logger.log_dir if _is_a(logger, "CSVLogger") else logger.save_dir
    return None if directory is None else FolderSink(Path(directory))


_numbered: WeakKeyDictionary[Any, Path] = WeakKeyDictionary()
"""The folders of loggers that neither have one nor know a version of their run."""


def _fallback(logger: Any, root: str) -> FolderSink:
    # one folder for each run, like the loggers that have one
    home = Path(root, tag_part(str(logger.name)))
    if logger.version not in (None, ""):
        return FolderSink(home / tag_part(f"version_{logger.version}"))
    if logger not in _numbered:
        _numbered[logger] = next(place for n in count() if not (place := home / f"version_{n}").exists())
    return FolderSink(_numbered[logger])


SINKS: dict[str, Callable[[Any], Sink | None]] = {
    "TensorBoardLogger": _tensorboard,
    "WandbLogger": WandbSink,
    "MLFlowLogger": MLflowSink,
    "CometLogger": _comet,
}
"""Sinks by the name of the logger's class. All others get files in the logger's folder."""


def sink_of(logger: Any, root: str | None = None) -> Sink | None:
    """Find the sink for a logger of a Trainer: its own kind's, else the logger's folder, else one below `root`.

    Args:
        logger: The logger.
        root: The Trainer's `default_root_dir`, for loggers without a folder of their own.
    """
    if _is_a(logger, "DummyLogger"):  # what fast_dev_run puts in: it answers to any attribute
        return None
    make = next((make for name, make in SINKS.items() if _is_a(logger, name)), _folder)
    return make(logger) or (None if root is None else _fallback(logger, root))
