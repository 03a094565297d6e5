"""What a traced pass says of a tensor's dimensions: samples, units, tokens, positions."""

import pytest
from torch import nn

from lightning_explain.capture import MaskSource
from lightning_explain.neurons.axes import Axis, Dims, Factor, fresh
from lightning_explain.neurons.forward_trace import ForwardTrace

SAMPLES, TOKENS = Axis("input"), Axis("input")
BATCH, STEPS = fresh(4, axis=SAMPLES), fresh(5, axis=TOKENS)
UNITS, PLACES = fresh(6, units=True), fresh(7)


def trace(*, masked: bool = False) -> ForwardTrace:
    source = MaskSource(nn.Identity(), "attention_mask")
    return ForwardTrace(samples=[SAMPLES], masks=[(TOKENS, source)] if masked else [])


@pytest.mark.parametrize(
    ("dims", "letters"),
    [
        ((BATCH, UNITS, PLACES), ("b", "u", "p")),
        ((STEPS, BATCH, UNITS), ("p", "b", "u")),
        (((*BATCH, *STEPS), UNITS), ("bp", "u")),
        ((BATCH, (*UNITS, *PLACES)), ("b", "up")),
        ((BATCH, PLACES), ("b", "p")),
        ((BATCH, PLACES, PLACES), None),
        ((PLACES, UNITS), None),
        (((), UNITS), ("b", "u")),
        ((fresh(3, origin="lost"), UNITS), ("b", "u")),
        ((fresh(3, origin="batch"), UNITS), ("b", "u")),
    ],
)
def test_every_dimension_has_the_letter_of_what_lies_along_it(dims: Dims, letters: tuple[str, ...] | None) -> None:
    assert trace().roles(dims) == letters


def test_masked_positions_are_tokens_also_after_they_were_joined_with_others() -> None:
    other = Axis()
    dims = (BATCH, (Factor(other, 5),), UNITS)
    assert trace(masked=True).roles(dims) == ("b", "p", "u")
    other.join(TOKENS)
    assert trace(masked=True).roles(dims) == ("b", "t", "u")


def test_a_unit_dimension_that_was_said_overrides_what_was_found() -> None:
    assert trace().roles((BATCH, UNITS, PLACES), -1) == ("b", "p", "u")
    assert trace().roles((BATCH, PLACES, PLACES), 1) == ("b", "u", "p")
    assert trace().roles((BATCH, UNITS), 5) == ("b", "u")  # no such dimension


def test_a_mask_belongs_to_tensors_with_its_tokens_unless_these_are_units() -> None:
    found = trace(masked=True)
    assert found.mask_of((BATCH, STEPS, UNITS)) is found.masks[0][1]
    assert found.mask_of((BATCH, PLACES, UNITS)) is None
    assert found.mask_of((BATCH, fresh(5, axis=TOKENS, units=True))) is None
