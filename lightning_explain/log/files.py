"""Atomic writes, so that a reader never finds half a file: on a full disk, after a crash, while it is written."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically: it is renamed into place when it is complete, and a failure leaves nothing behind.

    Raises:
        OSError: It could not be written; what was there before is still there.
    """
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
        unfinished.replace(path)
    except BaseException:  # an interrupt, too, leaves half a file
        unfinished.unlink(missing_ok=True)
        raise


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a file of lines; a failure removes what it wrote.

    What a killed process left of its last line is taken away first, since nothing could read it or what follows.

    Raises:
        OSError: It could not be written; the lines before are still there.
    """
    # unbuffered: what a buffer still held would be written when the file is closed
    with path.open("ab", buffering=0) as file:
        end = _end_of_lines(path)
        file.truncate(end)
        left = memoryview(line + b"\n")
        try:
            while left:
                left = left[file.write(left) :]
        except BaseException:  # an interrupt, too, leaves half a line
            file.truncate(end)
            raise


def _end_of_lines(path: Path) -> int:
    """Return the size of a file up to the end of its last complete line."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return 0
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return size
        file.seek(0)
        return file.read().rfind(b"\n") + 1
