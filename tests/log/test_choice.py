"""Which sink a logger gets."""

from pathlib import Path

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
    assert sink_of(Unknown(str(tmp_path))) == FolderSink(tmp_path)
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
