"""Files that are whole or not there, whatever happens while they are written."""

from pathlib import Path
from typing import Any

import pytest

from lightning_explain.log.files import append_line, write_whole


def test_a_file_that_is_written_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_whole(path, b"one, and longer")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there_and_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "a.png"
    write_whole(path, b"before")

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(type(error)):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_lines_are_appended_each_with_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_line(path, b"one")
    append_line(path, b"")
    append_line(path, b"two")
    assert path.read_bytes() == b"one\n\ntwo\n"


@pytest.mark.parametrize(("left", "kept"), [(b"one\ntw", b"one\n"), (b"half", b""), (b"one\n", b"one\n"), (b"", b"")])
def test_half_a_line_of_a_killed_process_is_taken_away(tmp_path: Path, left: bytes, kept: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(left)
    append_line(path, b"new")
    assert path.read_bytes() == kept + b"new\n"


def test_a_line_that_cannot_be_written_whole_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    append_line(path, b"one")
    whole_open = Path.open

    class Full:
        """A disk that takes three bytes more."""

        def __init__(self, file: Any) -> None:
            self.file, self.room = file, 3

        def write(self, part: Any) -> int:
            if not self.room:
                raise OSError("disk full")
            written = self.file.write(part[: self.room])
            self.room -= written
            return written

        def truncate(self, size: int) -> int:
            return self.file.truncate(size)

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    def open_full(self: Path, mode: str = "r", **options: Any) -> Any:
        file = whole_open(self, mode, **options)
        return Full(file) if mode == "ab" else file

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(OSError, match="disk full"):
        append_line(path, b"a long second line")
    assert path.read_bytes() == b"one\n"
