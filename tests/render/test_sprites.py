"""Many small maps in one picture, as bytes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain.render.sprites import STEPS, ZERO, picture_sprite, value_sprite
from tests.render.pictures import tiles_of


@given(
    n=st.integers(1, 20), height=st.integers(1, 7), width=st.integers(1, 7), seed=st.integers(0, 99),
    size=st.sampled_from([1e-6, 1.0, 1e6]),
)  # fmt: skip
def test_a_value_sprite_holds_the_values_to_half_a_step(
    n: int, height: int, width: int, seed: int, size: float
) -> None:
    maps = torch.randn(n, height, width, generator=torch.Generator().manual_seed(seed)) * size
    sprite = value_sprite(maps, max_pixels=10_000)
    tiles = tiles_of(sprite.picture[..., 0], n, height, width).astype(float)
    for tile, scale, expected in zip(tiles, sprite.scales, maps.numpy(), strict=True):
        # half a step, and the rounding of the scale to three digits
        assert np.abs((tile - ZERO) / STEPS * scale - expected).max() <= scale * (0.5 / STEPS + 0.006)
        assert scale == pytest.approx(np.abs(expected).max(), rel=0.006)
    assert (sprite.picture == sprite.picture[..., :1]).all()


def test_undefined_values_are_told_from_zeros() -> None:
    picture = value_sprite(torch.tensor([[[float("nan"), 0.0, float("inf"), 3.0]]]), max_pixels=99).picture
    assert picture[0, :, 0].tolist() == [0, ZERO, 0, ZERO + STEPS]
    assert value_sprite(torch.zeros(1, 2, 2), max_pixels=99).picture.tolist() == [[[ZERO] * 3] * 2] * 2


def test_large_maps_are_averaged_down() -> None:
    maps = torch.randn(3, 64, 32)
    sprite = value_sprite(maps, max_pixels=3 * 16 * 8)
    assert sprite.tile == (16, 8)
    tiles = tiles_of(sprite.picture[..., 0], 3, 16, 8).astype(float)
    means = maps.numpy().reshape(3, 16, 4, 8, 4).mean((2, 4))
    for tile, scale, expected in zip(tiles, sprite.scales, means, strict=True):
        assert np.abs((tile - ZERO) / STEPS * scale - expected).max() < scale / STEPS


def test_pictures_keep_their_colours() -> None:
    pictures = list(np.random.default_rng(0).integers(0, 255, (11, 4, 6, 3), dtype=np.uint8))
    sprite = picture_sprite(pictures, max_pixels=10_000)
    assert sprite.tile == (4, 6) and sprite.picture.shape == (8, 48, 3)
    assert (tiles_of(sprite.picture, 11, 4, 6) == np.stack(pictures)).all()
