"""Cards hold tensors, and are told apart as objects."""

import dataclasses

import pytest
import torch

from lightning_explain.exemplars.cards import Exemplar
from tests.exemplars.small_cards import card, exemplar


def test_cards_cannot_be_changed_and_are_equal_to_themselves_alone() -> None:
    one, other = exemplar(), exemplar()
    assert one == one and one != other and len({one, other}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.value = 3.0  # type: ignore[misc]
    given = card()
    assert given.exemplars[0] in given.exemplars and given != dataclasses.replace(given)


def test_an_exemplar_has_no_words_unless_given() -> None:
    found = Exemplar(sample=1, label=-1, value=0.0, position=(), box=(), crop=torch.zeros(2), heatmap=None)
    assert found.words == ()
