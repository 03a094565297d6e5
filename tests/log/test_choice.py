"""Which sink a logger gets."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger

from lightning_explain.log.choice import sink_of
from lightning_explain.log.sinks import FolderSink
from tests.log.loggers import Unknown, files


def test_a_csv_logger_keeps_everything_in_its_run_folder(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path), name="n", version="v")
    sink = sink_of(logger)
    assert sink == FolderSink(tmp_path / "n" / "v")
    sink.layout({"a": ["b"]})
    assert files(tmp_path) == []


def test_an_unknown_logger_keeps_things_in_its_folder_if_it_has_one(tmp_path: Path) -> None:
    assert sink_of(Unknown(str(tmp_path))) == FolderSink(tmp_path / "unknown" / "version_0")
    assert sink_of(Unknown(None)) is None
    assert sink_of(DummyLogger()) is None


class Unnumbered(Unknown):
    """A logger without a folder that does not know which run this is."""

    @property
    def version(self) -> str:
        return ""


def test_a_logger_without_folder_and_version_gets_a_new_folder_for_each_run(tmp_path: Path) -> None:
    first, second = Unnumbered(None), Unnumbered(None)
    sink = sink_of(first, str(tmp_path))
    assert isinstance(sink, FolderSink)
    assert sink.directory.relative_to(tmp_path).name == "version_0"
    sink.record("explain/a/record", {"epoch": 0}, 1)
    assert sink_of(first, str(tmp_path)) == sink  # the same run goes on
    other = sink_of(second, str(tmp_path))
    assert isinstance(other, FolderSink) and other.directory.name == "version_1"


def folder_of(logger: Any, root: Path | None = None, *, resumed: bool = False) -> Path:
    sink = sink_of(logger, None if root is None else str(root), resumed=resumed)
    assert isinstance(sink, FolderSink)
    return sink.directory


def test_loggers_of_one_trainer_that_tell_no_run_get_different_folders(tmp_path: Path) -> None:
    folders = {
        folder_of(logger, tmp_path) for logger in [Unnumbered(None), Unnumbered(None), Unnumbered(str(tmp_path))]
    }
    assert {folder.name for folder in folders} == {"version_0", "version_1", "version_2"}


class Begun(Unknown):
    """Like SwanLab's: one folder for all runs under two names, and no version before the experiment has begun."""

    begun = False

    def __init__(self, save_dir: str, run: str) -> None:
        super().__init__(save_dir)
        self._id = run

    @property
    def log_dir(self) -> str | None:
        return self.save_dir

    @property
    def experiment(self) -> Any:
        self.begun = True
        return SimpleNamespace(id=self._id)

    @property
    def version(self) -> Any:
        return self._id if self.begun else None


class Hashed(Begun):
    """A logger that never has a version, whose experiment has an id."""

    @property
    def version(self) -> Any:
        return None


@pytest.mark.parametrize("kind", [Begun, Hashed])
def test_runs_that_share_a_folder_are_told_apart_by_their_ids(kind: type[Begun], tmp_path: Path) -> None:
    first, second = kind(str(tmp_path), "a"), kind(str(tmp_path), "b")
    home = tmp_path / "unknown"
    assert [folder_of(first), folder_of(second), folder_of(first)] == [
        home / "version_a",
        home / "version_b",
        home / "version_a",
    ]


class Named(Unknown):
    """Like DVCLive's: no folder, no name here, and a version that is the same for every run."""

    name = property(lambda _: None)
    version = property(lambda _: "dvclive_run")


def test_runs_of_the_same_version_do_not_mix(tmp_path: Path) -> None:
    first = Named()
    home, name = tmp_path / "Named", "version_dvclive_run"
    assert folder_of(first, tmp_path) == home / name
    assert folder_of(Named(), tmp_path, resumed=True) == home / name
    assert folder_of(Named(), tmp_path) == home / f"{name}-1"
    assert folder_of(Named(), tmp_path, resumed=True) == home / f"{name}-2"  # which of the two it was is not known
    assert folder_of(first, tmp_path) == home / name


class WithRunFolder(Unknown):
    """A logger with a folder for each run, as Lightning's own have."""

    @property
    def log_dir(self) -> str:
        return f"{self.save_dir}/this_run"


def test_a_folder_of_the_run_is_taken_as_it_is(tmp_path: Path) -> None:
    assert folder_of(WithRunFolder(str(tmp_path))) == tmp_path / "this_run"
