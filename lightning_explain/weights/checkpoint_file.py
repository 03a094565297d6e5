"""Reading a checkpoint file as plain tensors, numbers and strings. Nothing in it is ever executed."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

LONGEST_REASON = 400


class UnusableCheckpointError(Exception):
    """A file that is not a checkpoint of the model; the message gives the reason."""


def content_of(path: Path) -> dict[str, Any]:
    """Read a file as plain tensors, numbers, strings and containers, with the weights under `state_dict`.

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
    except Exception as error:  # whatever a foreign file makes torch raise is reported as that file's fault
        raise UnusableCheckpointError(_reason(error)) from error
    return _with_weights(found)


def _reason(error: Exception) -> str:
    words = str(error)
    refused = re.search(r"(?:Unsupported|GLOBAL) (?:global: GLOBAL )?([\w.]+) was not an allowed global", words)
    if refused is not None or "weights_only" in words.lower():
        what = f"an object of {refused[1]}" if refused is not None else "more than weights"
        return (
            f"it holds {what}, which could run code while it is read, so it is not read. If you trust the file, call "
            "torch.serialization.add_safe_globals([...]) before, from Python"
        )
    return shortened(f"it cannot be read ({type(error).__name__}: {words})")


def shortened(words: str) -> str:
    """Return a text as one line of limited length."""
    line = " ".join(words.split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."


def _with_weights(found: Any) -> dict[str, Any]:
    if isinstance(found, Mapping):
        content = cast(Mapping[Any, Any], found)
        if isinstance(content.get("state_dict"), Mapping):
            return {str(key): value for key, value in content.items()}
        # what a module says of itself beside its weights
        weights = {key: value for key, value in content.items() if not str(key).endswith("_extra_state")}
        if weights and all(isinstance(value, Tensor) for value in weights.values()):
            return {"state_dict": weights}
        keys = shortened(", ".join(str(key) for key in content))
        raise UnusableCheckpointError(f"it holds {keys or 'nothing'}; expected 'state_dict', or tensors by name")
    raise UnusableCheckpointError(f"it holds a {type(found).__name__}; expected 'state_dict', or tensors by name")
