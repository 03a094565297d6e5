"""Signals: what is drawn of them, and what is said of the rest."""

import numpy as np
import pytest
import torch

from lightning_explain.render.modalities.signal import (
    bins_note,
    signal_film_picture,
    signal_frame,
    signal_picture,
)
from lightning_explain.render.page_layout import Panel


def test_what_was_put_together_is_said() -> None:
    assert bins_note(torch.zeros(1, 1, 200)) == ""
    assert "of 20 of 4,800 time steps" in bins_note(torch.zeros(1, 1, 4800))
    assert "of 37 to 38 of 9,000 time steps" in bins_note(torch.zeros(1, 9000))


@pytest.mark.parametrize("shape", [(3, 100), (3, 1, 9000), (3, 12, 64), (3, 64, 2)])
@pytest.mark.parametrize("n_methods", [1, 2])
def test_pictures_and_films_of_every_shape(shape: tuple[int, ...], n_methods: int) -> None:
    inputs, values = torch.randn(shape), torch.randn(shape)
    panels = [Panel(name=f"m{i}", values=values, scale=2.0) for i in range(n_methods)]
    picture = signal_picture(inputs, panels, captions=["a"] * 3, title="t", labels=None)
    film = signal_film_picture(
        inputs, [signal_frame(values)] * 3, row_names=["a"] * 3, column_names=["1", "2", "3"], title="t"
    )
    for found in (picture, film):
        assert found.dtype == np.uint8 and found.shape[2] == 3 and found.std() > 0
    assert float(signal_frame(values).sum()) == pytest.approx(float(values.sum()), abs=1e-2)


def test_many_samples_are_drawn_in_part() -> None:
    panel = [Panel(name="m", values=torch.randn(100, 1, 64), scale=1.0)]
    labels = torch.arange(100) // 50
    many = signal_picture(torch.randn(100, 1, 64), panel, captions=["a"] * 100, title="t", labels=labels)
    assert many.shape[0] < 900
