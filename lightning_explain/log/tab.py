"""Events for the Explain tab: a blob sequence [header JSON, sprite PNG] for each step and monitor."""

import json
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from tensorboard.compat.proto.summary_pb2 import (  # pyright: ignore[reportAttributeAccessIssue]
    DATA_CLASS_BLOB_SEQUENCE,
    Summary,
    SummaryMetadata,
)
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.tensor_shape_pb2 import (
    TensorShapeProto,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboard.compat.proto.types_pb2 import DT_STRING  # pyright: ignore[reportAttributeAccessIssue]

from lightning_explain.log.json_ready import json_ready
from lightning_explain.log.png import png_bytes
from lightning_explain.render.colour import Picture

PLUGIN = "explain"
"""The plugin of `tensorboard_explain`, which reads these events."""

VERSION = 1
"""Of the header's form. Readers refuse a larger one, so it is raised only when old readers would be wrong."""

_written: WeakKeyDictionary[Any, set[tuple[str, str]]] = WeakKeyDictionary()


def first_of_its_kind(writer: Any, tag: str, header: Mapping[str, Any]) -> bool:
    """Say whether this header's probe has not been written to this event file yet, and note that it now is.

    Remembered for each writer, because that is one event file: a resumed run opens a new one, maybe elsewhere.
    """
    known = _written.setdefault(writer, set())
    key = (tag, str(header.get("probe")))
    is_new = key not in known
    known.add(key)
    return is_new


def tab_summary(tag: str, header: Mapping[str, Any], sprite: Picture | None) -> Any:
    """Build the summary of one event.

    Args:
        tag: `explain/{name}/tab`.
        header: Plain values for JSON; NaN and infinity become null.
        sprite: uint8 [height, width, 3], or None for none.

    Returns:
        A `Summary` with one value, a rank-1 string tensor of one or two blobs.
    """
    words = json.dumps(json_ready({"v": VERSION, **header}), allow_nan=False, separators=(",", ":"))
    blobs = [words.encode()] if sprite is None else [words.encode(), png_bytes(sprite)]
    kind = json.dumps({"v": VERSION, "kind": header["kind"]}).encode()
    metadata = SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN, content=kind), data_class=DATA_CLASS_BLOB_SEQUENCE
    )
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(blobs))])
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=blobs)
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])
