"""Which inputs of a probe are drawn, as what, and under which names."""

import pytest
import torch

from lightning_explain import Display, Probe
from lightning_explain.errors import ConfigurationError
from lightning_explain.render.shown_inputs import check_shown, declared_units, is_of_grid, shown_input, shown_inputs

IMAGES, ROWS = torch.rand(2, 1, 8, 8), torch.rand(2, 3)
IDS, MASK = torch.tensor([[5, 6, 0], [7, 0, 0]]), torch.tensor([[1, 1, 0], [1, 0, 0]])


def test_masks_are_not_drawn_and_the_others_keep_their_place_and_name() -> None:
    probe = Probe(inputs=(IMAGES, MASK.bool(), ROWS), display=Display(input_names=["scan", "mask", "blood"]))
    found = shown_inputs(probe)
    assert [(s.index, s.form, s.name) for s in found] == [(0, "image", "scan"), (2, "table", "blood")]


def test_a_single_input_needs_no_name() -> None:
    (found,) = shown_inputs(Probe(inputs=(IMAGES, MASK), display=Display(input_names=["scan"])))
    assert found.name == "" and found.index == 0


def test_token_ids_are_drawn_only_where_a_method_explains_them() -> None:
    probe = Probe(inputs=(IDS, ROWS))
    assert [s.index for s in shown_inputs(probe)] == [0, 1]
    assert [s.index for s in shown_inputs(probe, explains_tokens=False)] == [1]
    # where nothing would be left the first input is
    assert [s.index for s in shown_inputs(Probe(inputs=IDS), explains_tokens=False)] == [0]


def test_a_mask_beside_the_ids_says_what_is_padding() -> None:
    (found,) = shown_inputs(Probe(inputs=(IDS, MASK)))
    assert found.form == "tokens"
    assert [found.places(row) for row in (0, 1)] == [[0, 1], [0]]
    by_id = shown_input(IDS, display=Display(padding=0))
    assert [by_id.places(row) for row in (0, 1)] == [[0, 1], [0]]
    assert shown_input(ROWS).places(0) == [0, 1, 2]


def test_names_of_features_belong_to_the_input_of_as_many_features() -> None:
    probe = Probe(inputs=(torch.rand(2, 4), ROWS), feature_names=["a", "b", "c"])
    assert [tuple(s.feature_names) for s in shown_inputs(probe)] == [(), ("a", "b", "c")]


def test_an_input_that_cannot_be_what_it_is_declared_to_be_is_refused() -> None:
    check_shown(Probe(inputs=IMAGES, display=Display(form="image")))
    with pytest.raises(ConfigurationError, match=r"form='image'.*shape \[2, 3\].*\[batch, height, width\]"):
        check_shown(Probe(inputs=ROWS, display=Display(form="image")))


def test_only_kinds_that_say_so_have_units_of_their_own_and_no_mean_map() -> None:
    nodes = Probe(inputs=(torch.rand(2, 4, 3), ROWS), display=Display(form=["entities", "table"]))
    entities, table = declared_units(nodes)
    assert entities is not None and table is None
    assert not is_of_grid(nodes) and is_of_grid(Probe(inputs=IMAGES))
    assert declared_units(Probe(inputs=torch.rand(2, 4, 3))) == [None]
