"""Events of the Explain tab: their blobs, their kind, and which of them were written."""

import json
import math

import numpy as np

from lightning_explain.log.png import png_bytes
from lightning_explain.log.tab_events import PLUGIN, VERSION, is_written, note_written, tab_summary


class Writer:
    """Stands for an event file."""


def test_an_event_holds_its_header_and_its_tiles() -> None:
    tiles = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    (value,) = tab_summary("explain/a/tab", {"kind": "neurons", "rate": math.nan, "name": "猫"}, tiles).value
    assert value.tag == "explain/a/tab" and value.metadata.plugin_data.plugin_name == PLUGIN
    header, picture = value.tensor.string_val
    assert json.loads(header) == {"v": VERSION, "kind": "neurons", "rate": None, "name": "猫"}
    assert picture == png_bytes(tiles)
    assert [dim.size for dim in value.tensor.tensor_shape.dim] == [2]
    # what a reader needs to know before it reads the rest
    assert json.loads(value.metadata.plugin_data.content) == {"v": VERSION, "kind": "neurons"}


def test_an_event_without_tiles_is_one_blob() -> None:
    (value,) = tab_summary("t", {"kind": "path"}, None).value
    assert len(value.tensor.string_val) == 1 and [dim.size for dim in value.tensor.tensor_shape.dim] == [1]


def test_a_probe_is_known_by_its_tag_and_its_file_only() -> None:
    writer = Writer()
    assert not is_written(writer, "t", "abc")
    note_written(writer, "t", "abc")
    assert is_written(writer, "t", "abc")
    others = [(Writer(), "t", "abc"), (writer, "u", "abc"), (writer, "t", "abd")]
    assert not any(is_written(*other) for other in others)
