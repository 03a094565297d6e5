"""The pictures of exemplars: one for each layer that is shown, together of few bytes."""

from collections.abc import Mapping, Sequence

from lightning_explain.callbacks.neurons.exemplars.card_maker import Cards
from lightning_explain.callbacks.neurons.overview import first_and_last
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.display import Display
from lightning_explain.exemplars.cards import UnitCard
from lightning_explain.log import Journal, tag
from lightning_explain.log.png import png_bytes
from lightning_explain.render.colour import Picture
from lightning_explain.render.units.exemplars import exemplars_picture, legend_words

MOST_LAYERS = 8
MOST_UNITS = 6
"""Of a layer; with many layers fewer, so that there are `MOST_ROWS` in all."""

MOST_ROWS = 16
MOST_BYTES = 56_000
"""Of all pictures of a report."""


def shown_layers(layers: Sequence[str]) -> list[str]:
    """Choose the layers that are shown: all, or so many evenly spread ones, the last among them.

    Example:
        >>> shown_layers([str(i) for i in range(20)])
        ['0', '3', '5', '8', '11', '14', '16', '19']
    """
    if len(layers) <= MOST_LAYERS:
        return list(layers)
    return [layers[round(i * (len(layers) - 1) / (MOST_LAYERS - 1))] for i in range(MOST_LAYERS)]


def units_each(n_layers: int) -> int:
    """Return the number of units shown of each layer."""
    return max(1, min(MOST_UNITS, MOST_ROWS // max(1, n_layers)))


def layer_picture(
    cards: Mapping[int, UnitCard], *, moment: str, display: Display, class_names: Sequence[str], most_bytes: int
) -> Picture | None:
    """Draw a layer's units, as many as fit into so many bytes, at least one; None where there is no picture."""
    shown = list(cards.values())
    title = legend_words(shown, shown[0].layer, moment)
    for n_shown in range(len(shown), 0, -1):
        picture = exemplars_picture(shown[:n_shown], title=title, display=display, class_names=class_names)
        if picture is None or n_shown == 1 or len(png_bytes(picture)) <= most_bytes:
            return picture
    return None


def log_exemplars(
    journal: Journal, name: str, cards: Cards, report: NeuronReport, display: Display, *, is_full: bool = True
) -> None:
    """Draw and log the exemplars of each layer's units, unless `is_full` of the first and the last layer's.

    What one layer leaves of its share of the bytes goes to those after it.
    """
    left, layers = MOST_BYTES, first_and_last(list(cards), is_full=is_full)
    for i, layer in enumerate(layers if journal.shows_pictures else ()):
        picture = layer_picture(
            cards[layer],
            moment=f"after epoch {report.epoch}",
            display=display,
            class_names=report.class_names,
            most_bytes=left // (len(layers) - i),
        )
        if picture is not None:
            left = max(0, left - len(png_bytes(picture)))
            journal.image(tag(name, layer, "exemplars"), picture)
