"""Colours mean what the legends say."""

import numpy as np
import pytest
import torch

from lightning_explain.render.colour import LEVELS, grey, share_colours, signed_colours, table


def test_zero_is_the_white_centre_of_the_table() -> None:
    colour = signed_colours(torch.zeros(1), 1.0)[0]
    assert colour.min() > 240 and np.ptp(colour) <= 2
    assert (colour == table("RdBu_r")[LEVELS // 2]).all()


def test_positive_is_red_and_negative_is_blue() -> None:
    red, blue = signed_colours(torch.tensor([0.5, -0.5]), 1.0).astype(int)
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50


def test_both_signs_are_equally_far_from_zero() -> None:
    colours = table("RdBu_r")
    for share in (0.25, 0.5, 1.0):
        up, down = signed_colours(torch.tensor([share, -share]), 1.0)
        assert np.flatnonzero((colours == up).all(1))[0] - LEVELS // 2 == pytest.approx(share * LEVELS / 2, abs=0.5)
        assert LEVELS // 2 - np.flatnonzero((colours == down).all(1))[0] == pytest.approx(share * LEVELS / 2, abs=0.5)


def test_values_beyond_the_scale_get_the_full_colour() -> None:
    at, beyond, infinite = signed_colours(torch.tensor([2.0, 7.0, torch.inf]), 2.0)
    assert (at == beyond).all() and (at == infinite).all() and (at == table("RdBu_r")[-1]).all()
    assert (signed_colours(torch.tensor([-9.0]), 2.0)[0] == table("RdBu_r")[0]).all()


def test_what_is_undefined_is_grey_and_no_value() -> None:
    for found in (signed_colours(torch.tensor([torch.nan]), 1.0)[0], share_colours(torch.tensor([torch.nan]))[0]):
        assert found.tolist() == [160, 160, 160]
    for name in ("RdBu_r", "cividis"):
        assert not (table(name) == 160).all(1).any()


def test_without_a_scale_zero_is_still_white() -> None:
    assert (signed_colours(torch.zeros(2, 2), 0.0) == table("RdBu_r")[LEVELS // 2]).all()


def test_shares_go_from_dark_to_bright_and_stop_at_the_ends() -> None:
    colours = share_colours(torch.linspace(0, 1, 9)).astype(int).sum(1)
    assert (np.diff(colours) > 0).all()
    assert (share_colours(torch.tensor([-1.0, 2.0])) == table("cividis")[[0, -1]]).all()


def test_grey_goes_from_black_to_white_in_few_steps() -> None:
    found = grey(torch.linspace(0, 1, 1000))
    assert found[0].tolist() == [0, 0, 0] and found[-1].tolist() == [255, 255, 255]
    assert (np.diff(found[:, 0].astype(int)) >= 0).all()
    assert (found[:, :1] == found).all()
    assert np.abs(found[:, 0] - np.linspace(0, 255, 1000)).max() <= 1.51
    assert len(np.unique(found)) + len(table("RdBu_r")) < 200  # room for letters in a palette of 256
    assert grey(torch.tensor([-1.0, 2.0]))[:, 0].tolist() == [0, 255]


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_shape_and_type_becomes_bytes_with_three_colours(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.rand(shape).to(dtype).requires_grad_()
    flat = values.detach().double().flatten()
    for colours in (lambda given: signed_colours(given, 1.0), share_colours, grey):
        found = colours(values)
        assert found.shape == (*shape, 3) and found.dtype == np.uint8
        assert np.array_equal(found.reshape(-1, 3), colours(flat))


def test_a_table_cannot_be_spoilt_by_what_is_drawn_with_it() -> None:
    before = table("cividis").copy()
    share_colours(torch.tensor([torch.nan, 0.5]))[:] = 0
    assert (table("cividis") == before).all()
