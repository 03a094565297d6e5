"""Layers merged along the module tree, and what passes through those that are removed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain.paths.blocks import LayerBlock, blocks_of, in_blocks, partitions
from tests.paths.graphs import all_paths, flowing, random_graph

RESNET = ["conv1", *(f"layer{n}.{k}.conv{c}" for n in (1, 2, 3, 4) for k in (0, 1) for c in (1, 2)), "fc"]
VIT = ["patch", *(f"blocks.{k}.{name}" for k in range(12) for name in ("attn", "mlp.fc1"))]
VGG = [*(f"features.{k}" for k in (0, 3, 6, 8, 11, 13)), "classifier.0", "classifier.3"]


@pytest.mark.parametrize(
    ("names", "most", "expected"),
    [
        (["a", "b"], 6, ["a", "b"]),
        (RESNET, 6, ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]),
        (RESNET, 10, ["conv1", *(f"layer{n}.{k}" for n in (1, 2, 3, 4) for k in (0, 1)), "fc"]),
        (VIT, 7, ["patch", *(f"blocks.{k}-{k + 1}" for k in range(0, 12, 2))]),
        (VIT, 2, ["patch", "blocks"]),
        (VGG, 6, ["features.0-3", "features.6-8", "features.11", "features.13", "classifier.0", "classifier.3"]),
        ([f"l{k}" for k in range(9)], 3, ["l0-l3", "l4-l5", "l6-l8"]),
        (["a.b.c", "a.b.d"], 1, ["a.b"]),
    ],
)
def test_layers_are_merged_along_the_tree(names, most, expected):
    blocks = blocks_of(names, most)
    assert [block.name for block in blocks] == expected
    assert [name for block in blocks for name in block.layers] == names


part = st.sampled_from(["0", "1", "conv", "mlp"])


@given(names=st.lists(st.lists(part, min_size=1, max_size=4).map(".".join), max_size=30), most=st.integers(1, 6))
def test_every_layer_is_in_one_block_and_each_merging_only_joins_blocks_of_the_finer_one(names, most):
    names = list(dict.fromkeys(names))
    found = partitions(names, most)
    for blocks in found:
        assert [name for block in blocks for name in block.layers] == names and len(blocks) <= most
    assert not names or len(found[-1]) == 1
    for finer, coarser in pairwise(found):
        ends = np.cumsum([len(block.layers) for block in finer])
        assert set(np.cumsum([len(block.layers) for block in coarser])) <= set(ends)


def test_of_a_block_stay_the_layers_that_feed_others():
    rng = np.random.default_rng(0)
    names = ["input", "net.1.c1", "net.1.c2", "net.1.down", "output"]
    sizes = [3, 4, 2, 2, 1]
    between = {(s, t): rng.normal(size=(sizes[t], sizes[s])) for s, t in ((0, 1), (1, 2), (0, 3), (2, 4), (3, 4))}
    graph = flowing(names, [rng.normal(size=size) for size in sizes], between, 1.0)
    merged, blocks = in_blocks(graph, [LayerBlock("net.1", tuple(names[1:4]))])
    assert blocks == (
        LayerBlock("input", ("input",)),
        LayerBlock("net.1", ("net.1.c2", "net.1.down")),
        LayerBlock("output", ("output",)),
    )
    assert [layer.name for layer in merged.layers] == ["input", "net.1.c2", "net.1.down", "output"]
    # the flow is passed through: from each input as much as before
    np.testing.assert_allclose(merged.layers[0].share, graph.layers[0].share)


@given(seed=st.integers(0, 1000))
def test_what_reaches_the_inputs_stays_when_layers_are_merged(seed):
    graph = random_graph(seed, 3, 4, 4, 3, skip=True)
    for blocks in partitions(["fc1", "fc2", "fc3"]):
        merged, _ = in_blocks(graph, blocks)
        assert sum(all_paths(merged).values()) == pytest.approx(sum(all_paths(graph).values()), abs=1e-9)
