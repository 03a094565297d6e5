"""Reading checkpoint files: which step each belongs to, and the weights in it. Nothing in them is ever executed."""

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from lightning_explain.errors import ConfigurationError

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
"""Files of a folder that are taken for checkpoints."""

LONGEST_REASON = 400


class UnusableCheckpointError(Exception):
    """A file that is no checkpoint of the model; the message says why."""


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


def content_of(path: Path) -> dict[str, Any]:
    """Read a file as plain tensors, numbers, words and containers, with the weights under `state_dict`.

    Raises:
        UnusableCheckpointError: It holds something else, or objects that would have to be executed.
    """
    if path.is_dir():
        raise UnusableCheckpointError(
            "it is a folder, as distributed strategies write it; make one file of it with "
            "`python -m lightning.pytorch.utilities.consolidate_checkpoint FOLDER`"
        )
    try:
        # only files of torch's newer form can stay on disk
        found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # whatever a foreign file makes torch raise is told of that file
        raise UnusableCheckpointError(_reason(error)) from error
    return _with_weights(found)


def _reason(error: Exception) -> str:
    words = str(error)
    refused = re.search(r"(?:Unsupported|GLOBAL) (?:global: GLOBAL )?([\w.]+) was not an allowed global", words)
    if refused is not None or "weights_only" in words.lower():
        what = f"an object of {refused[1]}" if refused is not None else "more than weights"
        return (
            f"it holds {what}, which could run code while it is read, so it is not read. If you trust the file, call "
            "torch.serialization.add_safe_globals([...]) and replay from Python"
        )
    return shortened(f"it cannot be read ({type(error).__name__}: {words})")


def shortened(words: str) -> str:
    """Put words into one line of bearable length."""
    line = " ".join(words.split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."


def _with_weights(found: Any) -> dict[str, Any]:
    if isinstance(found, Mapping):
        content = cast(Mapping[Any, Any], found)
        if isinstance(content.get("state_dict"), Mapping):
            return {str(key): value for key, value in content.items()}
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return {"state_dict": dict(content)}
        keys = shortened(", ".join(str(key) for key in content))
        raise UnusableCheckpointError(f"it holds {keys or 'nothing'}; expected 'state_dict', or tensors by name")
    raise UnusableCheckpointError(f"it holds a {type(found).__name__}; expected 'state_dict', or tensors by name")


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort `epoch=9` before `epoch=10`."""
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
    """Read which step each file belongs to.

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
