"""Reading back what an offline run of Weights & Biases left in its folder.

Its log is in LevelDB's form: blocks of 32 KiB that hold pieces of records, each behind a checksum, a length and a kind.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAGIC = b":W&B"
BLOCK = 32 * 1024
HEADER = struct.Struct("<IHB")
WHOLE, LAST = 1, 4


def records_of(log: bytes) -> Iterator[bytes]:
    """Put the pieces of each record together."""
    assert log.startswith(MAGIC)
    at, pieces = HEADER.size, b""
    while at + HEADER.size <= len(log):
        left = BLOCK - at % BLOCK
        if left < HEADER.size:
            at += left
            continue
        _, length, kind = HEADER.unpack_from(log, at)
        if kind == 0:
            return
        pieces += log[at + HEADER.size : at + HEADER.size + length]
        at += HEADER.size + length
        if kind in (WHOLE, LAST):
            yield pieces
            pieces = b""


def _row(items: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for item in items:
        *outer, last = item.nested_key or [item.key]
        at = row
        for key in outer:
            at = at.setdefault(key, {})
        at[last] = json.loads(item.value_json)
    return row


class WandbRun:
    """The rows, and the files, of the one offline run below a folder."""

    def __init__(self, save_dir: Path) -> None:
        from wandb.proto.wandb_internal_pb2 import Record

        (self.folder,) = save_dir.glob("wandb/offline-run-*")
        (log,) = self.folder.glob("*.wandb")
        self.rows: list[dict[str, Any]] = []
        self.saved: list[str] = []
        for data in records_of(log.read_bytes()):
            record = Record.FromString(data)
            if record.HasField("history"):
                self.rows.append(_row(record.history.item))
            self.saved += [file.path for file in record.files.files]

    def curve(self, tag: str) -> dict[int, Any]:
        """Give the values of a tag by the Trainer's step."""
        return {row["trainer/global_step"]: row[tag] for row in self.rows if tag in row}

    def file(self, path: str) -> Path:
        """Give the place of a file of the run."""
        return self.folder / "files" / path
