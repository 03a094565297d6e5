"""Names of entities: looked up in a batch, or given once for all."""

from typing import Any

import pytest
import torch

from lightning_explain.display import Display
from lightning_explain.entity_names import as_names, is_looked_up, names_in
from lightning_explain.errors import ConfigurationError

ATOMS = [["C", "O", "H"], ["N", "H"]]


def test_names_are_looked_up_by_key_by_place_or_by_a_function() -> None:
    for batch, selector in [
        ({"atoms": ATOMS}, "atoms"),
        ((torch.zeros(2, 3), ATOMS), 1),
        ({"text": ["C O H", "N H"]}, lambda batch: [text.split() for text in batch["text"]]),
    ]:
        assert names_in(Display(entity_names=selector), batch, 2) == (("C", "O", "H"), ("N", "H"))
    assert names_in(None, {}, 2) == () and names_in(Display(), {}, 2) == ()


def test_what_collation_made_columns_of_is_put_back_into_rows() -> None:
    batch = {"atoms": [("C", "N"), ("O", "H"), ("H", "H")]}
    assert names_in(Display(entity_names="atoms"), batch, 2) == (("C", "O", "H"), ("N", "H", "H"))


def test_ids_are_named_by_the_display() -> None:
    display = Display(tokens={6: "C", 8: "O"})
    assert as_names(torch.tensor([[6, 8], [8, 1]]), display, 2) == (("C", "O"), ("O", "1"))


def test_names_given_once_belong_to_every_sample() -> None:
    display = Display(entity_names=["goalkeeper", "striker"])
    assert not is_looked_up(display.entity_names)
    assert as_names(display.entity_names, display, 3) == (("goalkeeper", "striker"),) * 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("C O H", "leads to"),
        (torch.zeros(2, 3), "leads to"),
        (["C O H", "N H"], "one string for each of 2 samples.*entity_names=lambda"),
        (ATOMS[:1], "1 entries for 2 samples"),
        ([1, 2], "expected for each sample a list of names"),
    ],
)
def test_what_names_no_entities_is_refused_with_what_does(given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        as_names(given, Display(entity_names="atoms"), 2)
