"""Checkpoint files of a run, and their steps."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_explain.errors import ConfigurationError
from lightning_explain.weights.checkpoint_file import UnusableCheckpointError, content_of

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
"""Files of a folder that are taken for checkpoints."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One file with weights.

    Attributes:
        path: Where it is.
        step: The step it belongs to: the `global_step` in it, else the number in its name, else its place.
        epoch: The epoch it was written in, counted from 0; its place among the checkpoints where it does not say.
    """

    path: Path
    step: int
    epoch: int

    def content(self) -> dict[str, Any]:
        """Read the file again; its tensors stay on disk until they are used.

        Raises:
            UnusableCheckpointError: It has gone, or changed into something else.
        """
        return content_of(self.path)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key by which `epoch=9` comes before `epoch=10`."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def checkpoint_files(given: str | Path | Sequence[str | Path]) -> list[Path]:
    """List the files that may be checkpoints: those of a folder, or of its folder `checkpoints`; or those given.

    Raises:
        ConfigurationError: There is no such folder or file, or none in it.
    """
    if not isinstance(given, str | Path):
        return [path for one in given for path in checkpoint_files(one)]
    place = Path(given)
    if not place.exists():
        raise ConfigurationError(f"{place} does not exist; expected a folder with checkpoints, or a checkpoint.")
    if place.is_file() or _is_sharded(place):
        return [place]
    for folder in (place, place / "checkpoints"):
        found = [path for path in _inside(folder) if path.suffix in SUFFIXES or _is_sharded(path)]
        if found:
            return sorted(found, key=_natural)
    raise ConfigurationError(
        f"{place} holds no checkpoints (no {', '.join('*' + suffix for suffix in SUFFIXES)} in it, nor in its folder "
        "checkpoints). Lightning writes them to lightning_logs/version_N/checkpoints; ModelCheckpoint(save_top_k=-1) "
        "keeps one of every epoch."
    )


def _inside(folder: Path) -> Iterable[Path]:
    return folder.iterdir() if folder.is_dir() else ()


def _is_sharded(path: Path) -> bool:
    return path.is_dir() and (path / ".metadata").exists()


def _step_in_name(path: Path) -> int | None:
    named = re.findall(r"step[=_-]?(\d+)", path.stem) or re.findall(r"\d+", path.stem)
    return int(named[-1]) if named else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def read_checkpoints(files: Sequence[Path]) -> tuple[list[Checkpoint], dict[Path, str]]:
    """Read the step of each file.

    Args:
        files: Files that may be checkpoints, in an order that stands in for steps where nothing says any.

    Returns:
        Checkpoints by step, one for each; and why the other files are none.
    """
    by_step: dict[int, Checkpoint] = {}
    skipped: dict[Path, str] = {}
    for place, path in enumerate(files):
        try:
            content = content_of(path)
        except UnusableCheckpointError as error:
            skipped[path] = str(error)
            continue
        known = (_whole(content.get("global_step")), _step_in_name(path), place)
        step = next(number for number in known if number is not None)
        if step in by_step:
            skipped[path] = f"{by_step[step].path.name} is of step {step} too, and comes first"
            continue
        epoch = _whole(content.get("epoch"))
        by_step[step] = Checkpoint(path=path, step=step, epoch=place if epoch is None else epoch)
    return [by_step[step] for step in sorted(by_step)], skipped
