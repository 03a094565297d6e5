"""What must be true of a run after something went wrong in it: nothing left behind, every file whole."""

import json
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from lightning_explain.capture import recorder

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_forward_hooks_with_kwargs")


def left_behind(model: nn.Module) -> list[str]:
    """Name what a monitor left: hooks, shadowed methods, modes, grad mode, a pause that was never ended."""
    found = [
        f"{kind} on {name or 'the module'}"
        for name, module in model.named_modules()
        for kind in HOOKS
        if vars(module).get(kind)
    ]
    found += [kind for kind in GLOBAL_HOOKS if vars(module_hooks).get(kind)]
    found += [f"{name} is shadowed" for name in ("log", "log_dict") if name in vars(model)]
    if recorder._Pause.depth:
        found.append("recorders are still looking away")
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        found.append("gradients are off")
    frozen = vars(model)["_modules"].get("frozen")
    if frozen is not None and any(module.training for module in frozen.modules()):
        found.append("a frozen submodule trains")
    return found


def different(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    """Name the weights in which two runs differ; NaN equals NaN."""
    if a.keys() != b.keys():
        return [f"other weights: {sorted(a.keys() ^ b.keys())}"]
    same = {name: torch.equal(a[name].nan_to_num(), b[name].nan_to_num()) for name in a}
    return [f"{name} differs from that of an unwatched run" for name, equal in same.items() if not equal]


def _event_records(content: bytes) -> list[Any]:
    """Parse an event file to its last byte: length, its checksum, data, their checksum."""
    events: list[Any] = []
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        data = content[place + 12 : place + 12 + length]
        if len(content) < place + 16 + length:
            raise ValueError("the last event is cut off")
        events.append(Event.FromString(data))
        place += 16 + length
    return events


def _check_png(content: bytes) -> None:
    Image.open(BytesIO(content)).load()


def _check_events(content: bytes) -> None:
    for event in _event_records(content):
        for value in event.summary.value:
            if value.HasField("image"):
                _check_png(value.image.encoded_image_string)
            for blob in value.tensor.string_val if value.metadata.plugin_data.plugin_name == "explain" else ():
                _check_png(blob) if blob.startswith(b"\x89PNG") else json.loads(blob)


def _check_lines(content: bytes) -> None:
    if content and not content.endswith(b"\n"):
        raise ValueError("the last line is cut off")
    for line in content.splitlines():
        json.loads(line)


CHECKS: dict[str, Any] = {".png": _check_png, ".jsonl": _check_lines, ".md": lambda content: content.decode()}


def broken_files(folder: Path) -> tuple[int, list[str]]:
    """Parse every file that a run left; return how many there are, and what is wrong with which."""
    wrong: list[str] = []
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        check = _check_events if "tfevents" in path.name else CHECKS.get(path.suffix)
        if path.suffix == ".part":
            wrong.append(f"{path.name} is unfinished")
        if check is None:
            continue
        try:
            check(path.read_bytes())
        except (ValueError, OSError, SyntaxError, struct.error) as problem:
            wrong.append(f"{path.name}: {type(problem).__name__}: {problem}")
    return len(files), wrong
