"""Crops and maps of several sizes in one tile, and sprites one below the other."""

import numpy as np
import pytest
import torch

from lightning_explain.render.sprites import Sprite
from lightning_explain.render.tile_bands import GROUND, N_COLOURS, crop_tiles, few_colours, map_tiles, stacked


def test_crops_keep_their_scale_and_maps_lie_under_them() -> None:
    whole, cut = np.full((8, 8, 3), 10, np.uint8), np.full((4, 8, 3), 90, np.uint8)
    first, second = crop_tiles([whole, cut], (4, 4))
    assert (first == 10).all() and (second[:2] == 90).all() and (second[2:] == GROUND).all()
    maps = map_tiles([torch.ones(8, 8), 3 * torch.ones(4, 8)], (4, 4))
    assert maps[0].tolist() == [[4.0] * 4] * 4 and maps[1].tolist() == [[12.0] * 4] * 2 + [[0.0] * 4] * 2
    uneven = torch.rand(9, 7)
    assert float(map_tiles([uneven], (9, 7))[0].sum()) == pytest.approx(float(uneven.sum()))


def test_colours_are_reduced_where_there_are_many_and_left_where_there_are_few() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    fewer = few_colours(noise)
    assert len(np.unique(fewer.reshape(-1, 3), axis=0)) <= N_COLOURS
    assert np.abs(fewer.astype(int) - noise).mean() < 30
    plain = np.full((3, 3, 3), 7, np.uint8)
    assert few_colours(plain) is plain


@pytest.mark.parametrize("widths", [(6, 4), (4, 6)])
def test_sprites_lie_below_each_other(widths: tuple[int, int]) -> None:
    sprites = [Sprite(np.full((2 + i, width, 3), i + 1, np.uint8), (1, 1)) for i, width in enumerate(widths)]
    whole, tops = stacked(sprites)
    assert whole.shape == (5, 6, 3) and tops == [0, 2]
    assert (whole[:2, : widths[0]] == 1).all() and (whole[2:, : widths[1]] == 2).all()
