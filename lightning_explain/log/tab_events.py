"""Events for the Explain tab: a blob sequence [header JSON, sprite PNG] per step and monitor."""

import json
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

from lightning_explain.log.json_ready import json_text
from lightning_explain.log.png import png_bytes
from lightning_explain.render.colour import Picture

PLUGIN = "explain"
"""The plugin of `tensorboard_explain`, which reads these events."""

VERSION = 1
"""Of the header's form. Readers refuse a larger one, so it is raised only when old readers would be wrong."""

# generated modules, whose names type checkers do not see
_PROTO: Any = summary_pb2
_TENSOR: Any = tensor_pb2
_SHAPE: Any = tensor_shape_pb2
_TYPES: Any = types_pb2

_written: WeakKeyDictionary[Any, set[tuple[str, str]]] = WeakKeyDictionary()


def is_written(writer: Any, tag: str, what: str) -> bool:
    """Return True if what a file needs once (a header's probe, a tag's description) is in this event file.

    Remembered for each writer, because that is one event file: a resumed run opens a new one, maybe elsewhere.
    """
    return (tag, what) in _written.get(writer, set())


def note_written(writer: Any, tag: str, what: str) -> None:
    """Record that it is in this event file; call it after a successful write."""
    _written.setdefault(writer, set()).add((tag, what))


def tab_summary(tag: str, header: Mapping[str, Any], sprite: Picture | None) -> Any:
    """Build the summary of one event.

    Args:
        tag: `explain/{name}/tab`.
        header: Plain values for JSON; NaN and infinity become null.
        sprite: uint8 [height, width, 3], or None for none.

    Returns:
        A `Summary` with one value, a rank-1 string tensor of one or two blobs.
    """
    words = json_text({"v": VERSION, **header}, (",", ":"))
    blobs = [words.encode()] if sprite is None else [words.encode(), png_bytes(sprite)]
    kind = json.dumps({"v": VERSION, "kind": header["kind"]}).encode()
    metadata = _PROTO.SummaryMetadata(
        plugin_data=_PROTO.SummaryMetadata.PluginData(plugin_name=PLUGIN, content=kind),
        data_class=_PROTO.DATA_CLASS_BLOB_SEQUENCE,
    )
    shape = _SHAPE.TensorShapeProto(dim=[_SHAPE.TensorShapeProto.Dim(size=len(blobs))])
    tensor = _TENSOR.TensorProto(dtype=_TYPES.DT_STRING, tensor_shape=shape, string_val=blobs)
    return _PROTO.Summary(value=[_PROTO.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])
