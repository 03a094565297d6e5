"""Dimensions as products of parts: merged, split and aligned without loss, and unknown where nothing tells."""

import torch

from lightning_explain.attribution.grad_cam.dimensions import (
    CHANNELS,
    COLUMNS,
    MOVED,
    ROWS,
    UNKNOWN,
    Part,
    aligned,
    holds,
    of_map,
    sized,
    unknown,
)


def reshaped(axes, shape):
    return MOVED["View"](None, axes, shape)  # type: ignore[arg-type]


def test_a_map_is_known_by_its_four_dimensions_only():
    assert [holds(dimension) for dimension in of_map((2, 3, 4, 5))] == [(), (CHANNELS,), (ROWS,), (COLUMNS,)]
    assert of_map((2, 3, 4)) == unknown((2, 3, 4))


def test_merged_dimensions_are_split_again_into_the_same_parts():
    axes = of_map((2, 3, 4, 5))
    merged = reshaped(axes, (2, 3, 20))
    assert holds(merged[2]) == (ROWS, COLUMNS) and sized(merged[2]) == 20
    assert reshaped(merged, (2, 3, 4, 5)) == axes


def test_blocks_of_rows_are_rows_and_what_is_within_a_block_is_unknown():
    split = reshaped(of_map((1, 3, 4, 6)), (1, 3, 2, 2, 6))
    assert split[2:] == ((Part(ROWS, 2),), (Part(UNKNOWN, 2),), (Part(COLUMNS, 6),))


def test_sizes_that_do_not_divide_end_the_knowledge():
    assert reshaped(of_map((1, 3, 4, 6)), (1, 8, 9)) == unknown((1, 8, 9))
    assert reshaped(of_map((1, 3, 4, 6)), (1, 70)) == unknown((1, 70))


def test_operands_that_contradict_each_other_are_unknown():
    one, other = of_map((2, 4, 4, 4)), of_map((2, 4, 4, 4))
    turned = (other[0], other[2], other[1], other[3])
    assert aligned([one, unknown((4, 4))], (2, 4, 4, 4)) == one
    assert [holds(dimension) for dimension in aligned([one, turned], (2, 4, 4, 4))] == [(), (), (), (COLUMNS,)]


def test_moves_follow_the_operation():
    image = torch.rand(2, 3, 4, 5, requires_grad=True)
    node = image.permute(0, 2, 3, 1).grad_fn
    assert node is not None
    moved = MOVED["Permute"](node, of_map(image.shape), (2, 4, 5, 3))
    assert [holds(dimension) for dimension in moved] == [(), (ROWS,), (COLUMNS,), (CHANNELS,)]
