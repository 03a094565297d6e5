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
    return _save_dir(logger) if logger.experiment.disabled else CometSink(logger.experiment)


def _save_dir(logger: Any) -> FolderSink | None:
    return None if logger.save_dir is None else FolderSink(Path(logger.save_dir))


def _log_dir(logger: Any) -> FolderSink:
    return FolderSink(Path(logger.log_dir))


RUN_IDS = ("run_id", "run_hash", "id", "hash")
"""Attributes of loggers and of their experiments that name a run, for loggers whose `version` does not."""


def _run_of(logger: Any) -> str | None:
    """Return the name that a logger has for its run, or None if it has none."""
    experiment = getattr(
        logger, "experiment", None
    )  # first: some loggers have no version before the experiment has begun
    found = (getattr(owner, name, None) for owner in (logger, experiment) for name in ("version", *RUN_IDS))
    # anything else is no name: a method, or what answers to any attribute
    return next((str(value) for value in found if isinstance(value, str | int) and value != ""), None)


_claimed: WeakKeyDictionary[Any, tuple[Path, str | None, Path]] = WeakKeyDictionary()
"""By logger, where its folder lies, the run that it named, and the folder."""


def _is_made(place: Path) -> bool:
    try:
        place.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def _claim(home: Path, run: str | None, *, resumed: bool) -> Path:
    """Make a folder that no other run writes to; a resumed run gets its own, if its version tells which that is."""
    if run is None:
        return next(place for n in count() if _is_made(place := home / f"version_{n}"))
    first = home / tag_part(f"version_{run}")
    others = (first.with_name(f"{first.name}-{n}") for n in count(1))
    # where several runs had the same version, it does not tell which of them goes on
    if _is_made(first) or (resumed and not first.with_name(f"{first.name}-1").exists()):
        return first
    return next(place for place in others if _is_made(place))  # made at once: other runs may look at the same time


def _run_folder(logger: Any, root: str | None, *, resumed: bool) -> FolderSink | None:
    """Return a folder of this run alone, below the logger's own folder or `root`."""
    above, own = logger.save_dir, getattr(logger, "log_dir", None)
    # by Lightning's convention the folder of a run in `save_dir`, that of all; some loggers give the same for both
    if isinstance(own, str | Path) and (above is None or Path(own) != Path(above)):
        return FolderSink(Path(own))
    above = above or root
    if above is None:
        return None
    run, home = _run_of(logger), Path(above, tag_part(str(logger.name or type(logger).__name__)))
    if _claimed.get(logger, ())[:2] != (home, run):
        _claimed[logger] = home, run, _claim(home, run, resumed=resumed)
    return FolderSink(_claimed[logger][2])


SINKS: dict[str, Callable[[Any], Sink | None]] = {
    "TensorBoardLogger": _tensorboard,
    "CSVLogger": _log_dir,
    "WandbLogger": WandbSink,
    "MLFlowLogger": MLflowSink,
    "CometLogger": _comet,
}
"""Sinks by the name of the logger's class. All others get files in a folder of their run."""


def sink_of(logger: Any, root: str | None = None, *, resumed: bool = False) -> Sink | None:
    """Find the sink for a logger of a Trainer: its own kind's, else a folder of its run.

    The folder is the logger's `log_dir`, else `<save_dir>/<name>/version_<version>`, with the run's id where there is
    no version, and a number where there is no id either, or where another run has used the same version.

    Args:
        logger: The logger.
        root: The Trainer's `default_root_dir`, for loggers without a folder of their own.
        resumed: True if the run goes on from a checkpoint, and so in the folder of its version.
    """
    if _is_a(logger, "DummyLogger"):  # what fast_dev_run puts in: it answers to any attribute
        return None
    # that of the nearest class: one derived from a known logger may have a sink of its own
    make = next((SINKS[base.__name__] for base in type(logger).__mro__ if base.__name__ in SINKS), None)
    return (make and make(logger)) or _run_folder(logger, root, resumed=resumed)
