"""One unit as a figure: exemplars of every kind, bars of rates and points of changes with their errors."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from lightning_explain.exemplars.cards import UnitCard
from lightning_explain.render.units.unit_figure import unit_figure
from tests.tensorboard_explain.unit_logs import cards, picture_card

RATES = [("cat", 0.75), ("$dog", 0.5)]
CHANGES = [("cat", -0.5, 0.2), ("dog", 0.0, 0.1)]


def made(card: UnitCard | None, **changes: object) -> Figure:
    n = 0 if card is None else len(card.exemplars)
    given = {"title": "unit 3", "captions": ["cat\n3"] * n, "rates": RATES, "changes": CHANGES}
    figure = unit_figure(card, **given | changes)  # type: ignore[arg-type]
    figure.canvas.draw()
    return figure


def test_rates_and_changes_are_drawn_with_their_errors() -> None:
    figure = made(picture_card(3, 0))
    crops = [axes for axes in figure.axes if axes.images]
    assert len(crops) == 4 and [axes.get_title() for axes in crops[:2]] == ["cat\n3"] * 2
    assert crops[0].images[0].get_array().shape == (2, 3, 3)
    heat = crops[2].images[-1]
    assert np.array_equal(heat.get_array(), picture_card(3, 0).exemplars[0].heatmap) and heat.get_clim() == (-2, 2)
    rates, changes = figure.axes[-2:]
    assert [bar.get_width() for bar in rates.patches] == [75.0, 50.0]
    assert [label.get_text() for label in rates.get_yticklabels()] == ["cat", r"\$dog"]
    points = changes.lines[0].get_xdata()
    (errors,) = changes.collections
    assert list(points) == [-50.0, 0.0] and errors.get_segments()[0][:, 0].tolist() == pytest.approx([-70.0, -30.0])


@pytest.mark.parametrize("layer", ["text", "wave", "table"])
def test_what_is_no_picture_is_written_or_drawn_as_a_line(layer: str) -> None:
    (card,) = cards(0)[layer].values()
    above = made(card).axes[0]
    if layer == "wave":
        np.testing.assert_allclose(above.lines[0].get_ydata(), torch.sin(torch.arange(90.0)), atol=1e-6)
    else:
        assert ("good" if layer == "text" else "age = 0.1 (+2)") in above.texts[0].get_text()


def test_without_exemplars_and_without_ablation_the_rates_are_left() -> None:
    figure = made(None, changes=[])
    assert len(figure.axes) == 2 and figure.axes[1].texts[0].get_text() == "not measured"
