"""Outputs arranged for counting: every value is where its sample, position and unit say."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain.capture import Call, CallUse, Layer
from lightning_explain.neurons.arrangement import arranged, units_of
from lightning_explain.neurons.views import HeadsBeforeProjection

B, P, U = 3, 4, 5
CODED = torch.tensor([[[100.0 * b + 10 * p + u for u in range(U)] for p in range(P)] for b in range(B)])

# how a layer may give [batch, positions, units] -> what lies along its dimensions
LAYOUTS: dict[str, tuple[Tensor, tuple[str, ...]]] = {
    "units last": (CODED, ("b", "p", "u")),
    "units second": (CODED.transpose(1, 2), ("b", "u", "p")),
    "time first": (CODED.transpose(0, 1), ("p", "b", "u")),
    "folded": (CODED.flatten(0, 1), ("bp", "u")),
    "folded time first": (CODED.transpose(0, 1).flatten(0, 1), ("pb", "u")),
    "units first": (CODED.permute(2, 1, 0), ("u", "p", "b")),
    "two positions": (CODED.unflatten(1, (2, 2)), ("b", "p", "p", "u")),
    "two units": (CODED.unsqueeze(1), ("b", "u", "p", "u")),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_value_is_where_its_sample_position_and_unit_say(name: str) -> None:
    found = arranged(*LAYOUTS[name], n_samples=B)
    assert found is not None and found.valid is None
    values = found.values.movedim(found.unit_dim, -1).flatten(1, -2)
    assert values.shape == (B, P, U)
    for b, p, u in product(range(B), range(P), range(U)):
        assert float(values[b, p, u]) == 100 * b + 10 * p + u


def test_flat_features_are_units_whatever_was_put_together_in_them() -> None:
    values = CODED.flatten(1)
    for layout in (("b", "up"), ("b", "pp"), ("b", "p")):
        found = arranged(values, layout, n_samples=B)
        assert found is not None and torch.equal(found.values, values)


@pytest.mark.parametrize(
    ("layout", "n_samples"),
    [
        (("p", "p", "u"), B),  # no samples
        (("b", "p", "p"), B),  # no units
        (("bp", "p", "u"), 0),  # an unknown number of samples
        (("bp", "p", "u"), 2),  # one that does not fit
        (("pbp", "p", "u"), B),  # samples in the middle
        (("bb", "p", "u"), B),
    ],
)
def test_what_cannot_be_told_apart_is_not_counted(layout: tuple[str, ...], n_samples: int) -> None:
    assert arranged(CODED, layout, n_samples=n_samples) is None


def test_padding_is_marked_for_every_position_of_a_token() -> None:
    padding = torch.arange(P)[None] >= torch.tensor([4, 2, 1])[:, None]
    found = arranged(CODED, ("b", "t", "u"), n_samples=B, padding=padding)
    assert found is not None and torch.equal(found.valid, ~padding)
    both = arranged(CODED.unsqueeze(2).expand(-1, -1, 2, -1), ("b", "t", "p", "u"), n_samples=B, padding=padding)
    assert both is not None and torch.equal(both.valid, (~padding).repeat_interleave(2, 1))
    # a mask of more tokens than are left is cut off; one of other samples, or of fewer tokens, says nothing
    longer = torch.cat([padding, torch.ones(B, 2).bool()], 1)
    assert torch.equal(arranged(CODED, ("b", "t", "u"), n_samples=B, padding=longer).valid, ~padding)
    for other in (padding[:2], padding[:, :3]):
        assert arranged(CODED, ("b", "t", "u"), n_samples=B, padding=other).valid is None
    assert arranged(CODED, ("b", "p", "u"), n_samples=B, padding=padding).valid is None


def layer(**options: Any) -> Layer:
    return Layer("fc", nn.Linear(2, U), -1, **options)


def test_the_units_of_a_call_come_after_the_function_that_follows_it() -> None:
    use = CallUse(("b", "t", "u"), then=torch.neg)
    call = Call((), {}, CODED, padding=torch.zeros(B, P).bool())
    found = units_of(call, layer(calls=(use,)), "fc", n_samples=B)
    assert found is not None and torch.equal(found.values, -CODED) and bool(found.valid.all())


def test_an_output_without_a_known_layout_has_no_units() -> None:
    assert units_of(CODED, Layer("act", nn.ReLU(), None), "act", n_samples=B) is None
    assert units_of(torch.zeros(3).long(), layer(), "fc", n_samples=B) is None
    found = units_of(CODED, layer(), "fc", n_samples=B)
    assert found is not None and torch.equal(found.values, CODED)


def test_heads_before_a_projection_are_read_from_what_it_was_given() -> None:
    given = torch.arange(8.0).reshape(1, 2, 4)
    view = HeadsBeforeProjection(2)
    timed = Call((given.transpose(0, 1),), {}, torch.zeros(2, 1, 3))
    found = units_of(timed, layer(view=view, calls=(CallUse(("p", "b", "u")),)), "fc", n_samples=1)
    expected = [[[1.0, 13**0.5], [41**0.5, 85**0.5]]]
    torch.testing.assert_close(found.values, torch.tensor(expected))
    assert found.heads
