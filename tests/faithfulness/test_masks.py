"""The share of an explanation inside a mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_explain.attribution import Saliency
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness import mass_in_mask
from lightning_explain.faithfulness.masks import values_of
from tests.faithfulness.nets import TARGET, X, drawn, net


def test_mass_in_mask_by_hand():
    values = torch.tensor([[[[1.0, -2.0], [3.0, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])
    mask = torch.tensor([[[True, True], [False, False]]])
    found = mass_in_mask(values, mask)
    assert found[0].item() == 0.5
    assert found[1].isnan()
    assert mass_in_mask(values[:1], torch.tensor([[[[0.5, 0.0], [1.0, 0.0]]]])).item() == pytest.approx(3.5 / 6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_mass_inside_and_outside_make_one(seed):
    values = drawn(3, 2, 4, 5, seed=seed)
    mask = drawn(3, 4, 5, seed=seed + 1) > 0
    inside = mass_in_mask(values, mask)
    torch.testing.assert_close(inside + mass_in_mask(values, ~mask), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(mass_in_mask(-3 * values, mask), inside)


def test_mass_takes_attributions():
    x = drawn(4, 4)
    found = Saliency()(net(), x, TARGET)
    assert torch.equal(mass_in_mask(found, torch.ones(1, 4)), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (X, torch.ones(3), r"mask has shape \[3\]"),
        (drawn(2, 3, 4, 4), torch.ones(4, 4), r"mask\[None\]"),
        (X, torch.full((4, 4), 255), "values from 255.*mask > 0"),
        (X, torch.full((4, 4), torch.nan), "expected 0"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(values, mask, message):
    with pytest.raises(ConfigurationError, match=message):
        mass_in_mask(values, mask)


def test_the_values_of_one_feature_are_a_column():
    assert values_of(torch.tensor([1.0, 2.0])).tolist() == [[1.0], [2.0]]
    with pytest.raises(ConfigurationError, match="expected one tensor"):
        values_of(torch.tensor(1.0))
