"""Names where there is little room."""

import pytest

from lightning_explain.paths import LayerBlock, PathNode
from lightning_explain.render.paths.node_labels import cut_at_front, name_in_block, short_names
from lightning_explain.render.text import text_width

NAMES = ["model.backbone.net.3.conv1", "model.backbone.net.4.downsample", "model.backbone.head"]


@pytest.mark.parametrize("width", [30, 60, 90, 120])
def test_names_are_cut_where_they_agree_and_keep_their_ends(width):
    found = short_names(NAMES, width, 11)
    assert all(text_width(name, 11) <= width for name in found) and len(set(found)) == 3
    for name, whole in zip(found, NAMES, strict=True):
        assert whole.endswith(name.removeprefix("…")) and not name.startswith("model")


def test_names_with_room_are_whole():
    assert short_names(NAMES, 400, 11) == NAMES
    assert short_names(["conv1"], 5, 11) != ["conv1"]
    assert cut_at_front("conv1", 200, 11) == "conv1"


def test_a_unit_is_reported_apart_within_its_block():
    block = LayerBlock("encoder.0-1", ("encoder.0.attn", "encoder.1.attn"))
    assert name_in_block(PathNode("encoder.1.attn", 3, "encoder.1.attn 3", 0, 0), block) == "1.attn 3"
    assert name_in_block(PathNode("encoder.1.attn", 3, "block 1 head 3", 0, 0), block) == "block 1 head 3"
