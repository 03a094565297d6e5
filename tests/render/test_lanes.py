"""A channel as a line: nothing is lost when steps are put together."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain.render.colour import signed_colours
from lightning_explain.render.modalities.signal import (
    MOST_COLUMNS,
    binned,
    lane_picture,
    lanes_of,
)

INK = (32, 32, 32)


@given(st.integers(1, 3000), st.integers(1, 300))
def test_columns_keep_the_sum_and_the_order(n_steps: int, n_bins: int) -> None:
    values = torch.arange(n_steps, dtype=torch.float64) - n_steps / 3
    found = binned(values, n_bins)
    assert len(found) == min(n_steps, n_bins)
    assert float(found.sum()) == pytest.approx(float(values.sum()), rel=1e-9, abs=1e-6)
    # an independent account: cut where the next column's first step is
    if n_steps > n_bins:
        cuts = [-(-k * n_steps // n_bins) for k in range(1, n_bins)]
        np.testing.assert_allclose(found.numpy(), [part.sum() for part in np.split(values.numpy(), cuts)])


def test_the_longer_side_is_the_time() -> None:
    signals = torch.rand(2, 3, 50)
    torch.testing.assert_close(lanes_of(signals), signals)
    torch.testing.assert_close(lanes_of(signals.transpose(1, 2)), signals)
    assert lanes_of(signals[:, 0]).shape == (2, 1, 50)


def ink_rows(picture: np.ndarray, column: int) -> list[int]:
    return (picture[:, column] == INK).all(1).nonzero()[0].tolist()


def test_the_line_goes_from_the_lowest_to_the_highest_value() -> None:
    picture = lane_picture(torch.linspace(0, 1, 240), None, (0.0, 1.0), height=40)
    middles = [np.mean(ink_rows(picture, column)) for column in range(240)]
    assert middles[0] > 36 and middles[-1] < 3
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(middles))
    flat = lane_picture(torch.zeros(10), None, (-1.0, 1.0), height=41)
    assert all(len(ink_rows(flat, column)) == 1 for column in range(flat.shape[1]))


def test_a_single_spike_among_thousands_of_steps_is_seen() -> None:
    signal = torch.zeros(24000)
    signal[12345] = 1.0
    picture = lane_picture(signal, None, (0.0, 1.0), height=40)
    tall = [column for column in range(picture.shape[1]) if min(ink_rows(picture, column)) < 5]
    assert 12345 * MOST_COLUMNS // 24000 in tall and len(tall) <= 3


def test_colours_stand_behind_their_own_steps() -> None:
    values = torch.zeros(1, 1, 60)
    values[0, 0, 10], values[0, 0, 50] = 1.0, -1.0
    colours = signed_colours(values, 1.0)[0, 0]
    picture = lane_picture(torch.zeros(60), colours, (-1.0, 1.0), height=20)
    assert picture.shape == (20, 240, 3)
    assert picture[0, 41].tolist() == [103, 0, 31] and picture[0, 201].tolist() == [5, 48, 97]
    assert picture[0, 100].tolist() == [247, 246, 246]


def test_the_inside_of_what_is_dense_shows_its_colour() -> None:
    noise = torch.tensor([1.0, -1.0] * 6000)
    red = np.full((MOST_COLUMNS, 3), (200, 0, 0), dtype=np.uint8)
    picture = lane_picture(noise, red, (-1.0, 1.0), height=40)
    assert picture[20, 120].tolist() == [170, 0, 0]
    assert INK in {tuple(colour) for colour in picture[:3, 120].tolist()}
