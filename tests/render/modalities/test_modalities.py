"""The kind of an input, and what is drawn of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_explain.render.modalities import drawn_as, explanation_picture, film_frame, film_picture, recognised
from lightning_explain.render.modalities.image import (
    heatmap_picture,
)
from lightning_explain.render.modalities.signal import signal_film_picture
from lightning_explain.render.modalities.table import bars_picture, feature_film_picture
from lightning_explain.render.modality import Annotations
from lightning_explain.render.page_layout import Panel
from lightning_explain.render.shown_inputs import shown_input
from tests.render.pictures import BLUE, RED, big, boxes, one, runs


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((2, 1, 8, 8), "image"), ((2, 8, 8), "image"), ((2, 5), "table"), ((2, 1, 5), "table"), ((2, 5, 1, 1), "table"),
        ((2, 3, 4, 4, 4), None), ((2,), None),
    ],
)  # fmt: skip
def test_the_kind_of_picture_follows_from_the_form(shape: tuple[int, ...], kind: str | None) -> None:
    assert recognised(torch.zeros(shape)) == kind


@pytest.mark.parametrize("n_methods", [1, 3])
@pytest.mark.parametrize("labels", [None, torch.tensor([0, 0, 1, 1])])
def test_explanations_and_films_of_images(labels: Tensor | None, n_methods: int) -> None:
    inputs = torch.rand(4, 1, 8, 8)
    values = torch.tensor([1.0, -1.0, -1.0, 1.0])[:, None, None, None].expand(inputs.shape)
    shown = shown_input(inputs)
    words = Annotations(title="t", labels=labels, captions=["c"] * 4, group_names=["a", "b"], column_names=["1", "2"])
    found = explanation_picture(shown, one(values, 0.5) * n_methods, words)
    # the maps of several methods are a pixel apart
    assert [len(big(boxes(found, colour))) for colour in (RED, BLUE)] == [2 * n_methods] * 2
    film = film_picture(shown, [film_frame(shown, values, labels), film_frame(shown, -values, labels)], words)
    rows = [0, 2] if labels is not None else [0, 1, 2, 3]  # the first of each class
    cells = sorted([(box, 1) for box in big(boxes(film, RED))] + [(box, -1) for box in big(boxes(film, BLUE))])
    signs = values[rows, 0, 0, 0].tolist()
    assert [sign for _, sign in cells] == [each for sign in signs for each in (sign, -sign)]


@pytest.mark.parametrize("n_methods", [1, 3])
@pytest.mark.parametrize("labels", [None, torch.tensor([0, 0, 1, 1])])
def test_explanations_and_films_of_tables(labels: Tensor | None, n_methods: int) -> None:
    values = torch.tensor([1.0, 0.5, 1.0])[:, None].expand(3, 6).repeat(2, 1)[:4] * torch.tensor([1.0, -1, 1, -1, 1, 1])
    shown = shown_input(torch.rand(4, 6))
    names = ["all"] if labels is None else ["a", "b"]
    words = Annotations(title="t", labels=labels, captions=["r"] * 4, group_names=names, column_names=["1", "2"])
    found = explanation_picture(shown, one(values, 1.0) * n_methods, words)
    frames = [film_frame(shown, sign * values, labels) for sign in (1, -1)]
    film = film_picture(shown, frames, words)
    assert film.shape[1] == {1: 414, 2: 666}[len(names)]  # a panel for each class
    # methods are columns and classes rows; of one method, the classes are columns
    n_columns, n_rows = (n_methods, len(names)) if n_methods > 1 else (len(names), 1)
    red = (np.abs(found.astype(int) - [178, 24, 43]) < 3).all(-1)
    blue = (np.abs(found.astype(int) - [33, 102, 172]) < 3).all(-1)
    assert [len(runs(colour.any(0))) for colour in (red, blue)] == [n_columns] * 2
    assert len(runs(blue.any(1))) == 2 * n_rows and len(runs(red.any(1))) == 4 * n_rows
    contrast = film[..., 0].astype(int) - film[..., 2]
    warm, cold = contrast > 60, contrast < -60
    left, right = runs((warm | cold).any(0))[0]  # the first panel: a column for each explanation
    assert [len(runs(colour[:, x])) for x in (left + 5, right - 5) for colour in (warm, cold)] == [3, 2, 2, 3]


def test_units_of_a_layer_are_bars_under_images_and_left_out_beside_heatmaps() -> None:
    shown, labels = shown_input(torch.rand(4, 1, 8, 8)), torch.tensor([0, 0, 1, 1])
    units = Panel(name="units", values=torch.randn(4, 5), scale=1.0)
    maps = Panel(name="maps", values=torch.randn(4, 1, 8, 8), scale=1.0)
    words = {"labels": labels, "group_names": ["a", "b"], "title": "t"}
    annotations = Annotations(captions=["c"] * 4, column_names=["1", "2"], **words)
    names = [f"unit {i}" for i in range(5)]
    np.testing.assert_array_equal(
        explanation_picture(shown, [units], annotations),
        bars_picture([units], **words, feature_names=names, unit="logits"),
    )
    np.testing.assert_array_equal(
        explanation_picture(shown, [units, maps], annotations),
        heatmap_picture(shown.inputs, [maps], captions=["c"] * 4, title="t", labels=labels),
    )
    films = [film_frame(shown, units.values, labels)] * 2
    columns = {"column_names": ["1", "2"], "group_names": ["a", "b"], "title": "t"}
    np.testing.assert_array_equal(
        film_picture(drawn_as(shown, units.values), films, annotations),
        feature_film_picture(films, feature_names=names, **columns),
    )


@pytest.mark.parametrize("shape", [(3, 60), (3, 2, 60), (3, 60, 2)])
def test_films_of_signals_are_stripes_under_the_signal_and_no_bars(shape: tuple[int, ...]) -> None:
    shown = replace(shown_input(torch.randn(shape)), form="signal")
    values, labels = torch.randn(shape), torch.tensor([0, 0, 1])
    words = Annotations(title="t", labels=labels, captions=["a", "b", "c"], group_names=["x"], column_names=["1", "2"])
    films = [film_frame(shown, values, labels)] * 2
    np.testing.assert_array_equal(
        film_picture(drawn_as(shown, values), films, words),
        signal_film_picture(
            shown.inputs[[0, 2]], films, row_names=["a", "c"], column_names=["1", "2"], title="t", unit="logits"
        ),
    )
