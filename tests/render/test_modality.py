"""The interface of a kind of input: which samples, which features, what is padding."""

from dataclasses import replace

import torch

from lightning_explain import Display
from lightning_explain.render.modalities import film_frame
from lightning_explain.render.modalities.table import class_means
from lightning_explain.render.modality import (
    N_STRONGEST,
    film_rows,
    rounded,
    spread_rows,
    top_places,
    unpadded,
    without_padding,
)
from lightning_explain.render.shown_inputs import shown_input


def test_a_film_shows_the_first_sample_of_each_class_and_at_most_ten() -> None:
    assert film_rows(torch.tensor([3, 3, 0, 5]), 4) == [2, 0, 3]
    assert film_rows(None, 3) == [0, 1, 2]
    assert len(film_rows(torch.arange(30), 30)) == len(film_rows(None, 30)) == 10
    values, labels = torch.randn(4, 2, 5, 5), torch.tensor([3, 3, 0, 5])
    images, table = shown_input(values), shown_input(values[:, 0, 0])
    torch.testing.assert_close(film_frame(images, values, labels), values.sum(1)[[2, 0, 3]])
    torch.testing.assert_close(film_frame(table, values[:, 0, 0], labels), class_means(values[:, 0, 0], labels)[0])


def test_samples_are_spread_over_the_classes_as_far_as_that_goes() -> None:
    labels = torch.tensor([2, 0, 0, 2, 1, 0])
    assert spread_rows(labels, 6, 6) == [0, 1, 2, 3, 4, 5]
    assert spread_rows(labels, 6, 3) == [0, 1, 4]  # the first of each class, in the order of the probe
    assert spread_rows(labels, 6, 2) == [1, 4]  # more classes than there is room for: the first ones
    assert spread_rows(None, 6, 4) == [0, 1, 2, 3]


def test_the_strongest_places_leave_out_zeros() -> None:
    assert top_places(torch.tensor([0.5, 0.0, -2.0, 1.0])) == [2, 3, 0]
    assert top_places(torch.zeros(3)) == []
    assert top_places(torch.arange(20.0)) == list(range(19, 19 - N_STRONGEST, -1))


def test_padding_is_found_by_its_id_and_by_every_mask_of_the_same_shape() -> None:
    ids = torch.tensor([[5, 6, 0, 0], [0, 0, 0, 0]])
    shown = shown_input(ids, display=Display(padding=0))
    mask, other = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]]), torch.zeros(2, 3)
    found = unpadded(shown, [mask, other])
    # a sample of nothing but padding is shown as it is
    assert found.tolist() == [[False, True, False, False], [True] * 4]


def test_values_at_padding_are_nothing() -> None:
    values = torch.tensor([[3.0, 4.0]])
    padded = replace(shown_input(torch.ones(2, 2)), kept=torch.tensor([[True, True], [False, True]]))
    assert without_padding(padded, values, [1]).tolist() == [[0.0, 4.0]]
    assert without_padding(padded, values, [0]).tolist() == [[3.0, 4.0]]
    assert padded.places(1) == [1]


def test_numbers_are_rounded_to_significant_digits() -> None:
    assert [rounded(value) for value in (123456.0, 0.00012344, -9.99996)] == [123500.0, 0.0001234, -10.0]
