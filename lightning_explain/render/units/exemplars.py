"""Pictures of a layer's exemplars: a row for each unit, its best samples with what in them excites it."""

from collections.abc import Sequence

from lightning_explain.display import Display
from lightning_explain.exemplars.cards import Exemplar, UnitCard
from lightning_explain.render.colour import Picture, table
from lightning_explain.render.layout import below, colour_bar, framed, grid
from lightning_explain.render.modalities import modality
from lightning_explain.render.sheet import few_colours
from lightning_explain.render.text import paragraph, text, text_width

WIDEST = 640
GAP = 8
CAPTION = 10
N_COLOURS = 64
"""Colours of the picture: photographs would have thousands, which cost ten times the bytes."""


def exemplar_pictures(card: UnitCard, display: Display | None = None) -> list[Picture]:
    """Draw each exemplar of a unit with what in it excites the unit: uint8 [height, width, 3] each.

    Args:
        card: The unit.
        display: How samples are shown.
    """
    if card.form is None:
        return []
    kind = modality(card.form)
    return [kind.exemplar_picture(exemplar, card, display or Display()) for exemplar in card.exemplars]


def caption_of(exemplar: Exemplar, class_names: Sequence[str] = ()) -> str:
    """Return the caption of an exemplar: its class and value.

    Example:
        >>> import torch
        >>> of = dict(sample=0, position=(), box=(), crop=torch.zeros(1), heatmap=None)
        >>> caption_of(Exemplar(label=1, value=2.5, **of), ["cat", "dog"])
        'dog: 2.5'
    """
    label = exemplar.label
    name = "" if label < 0 else class_names[label] if label < len(class_names) else str(label)
    return f"{name}: {exemplar.value:.3g}" if name else f"{exemplar.value:.3g}"


def unit_picture(card: UnitCard, *, display: Display | None = None, class_names: Sequence[str] = ()) -> Picture | None:
    """Draw one unit: its name, why it is shown, and its exemplars side by side; None where there is no picture."""
    pictures = exemplar_pictures(card, display)
    if not pictures:
        return None
    cells: list[Picture] = []
    for exemplar, picture in zip(card.exemplars, pictures, strict=True):
        words = caption_of(exemplar, class_names)
        width = max(picture.shape[1], min(text_width(words, CAPTION) + 2, 2 * picture.shape[1]))
        cells.append(below([text(words, width=width, size=CAPTION), picture]))
    across = max(1, WIDEST // (max(cell.shape[1] for cell in cells) + GAP))
    head = f"unit {card.unit}: {card.reason}; colour ±{card.scale:.2g}"
    return below([text(head, width=max(WIDEST // 2, 260), size=11), grid(cells, across, gap=GAP)])


def exemplars_picture(
    cards: Sequence[UnitCard], *, title: str, display: Display | None = None, class_names: Sequence[str] = ()
) -> Picture | None:
    """Draw the units of a layer: uint8 [height, width, 3]; None where none has a picture.

    Args:
        cards: The units, in the order in which they are shown.
        title: What the picture shows.
        display: How samples are shown.
        class_names: Name of each class.
    """
    rows = [unit_picture(card, display=display, class_names=class_names) for card in cards]
    drawn = [row for row in rows if row is not None]
    if not drawn:
        return None
    bar = colour_bar(table("RdBu_r"), "lowers the unit", "raises it")
    body = below(drawn, gap=8)
    return few_colours(framed(below([paragraph(title, width=max(420, body.shape[1])), bar, body], gap=8)), N_COLOURS)


def legend_words(cards: Sequence[UnitCard], layer: str, moment: str) -> str:
    """Return the title of a layer's picture: what is shown, and how to read it."""
    card = cards[0]
    what = "excite each unit most" if card.by == "activation" else "make each unit most relevant for their class"
    part = ", cut to exactly what the unit sees at that place" if card.exemplars[0].box else ""
    return (
        f"Layer {layer} {moment}: the validation samples that {what}{part}; in colours, what in them raises (red) or "
        f"lowers (blue) it ({card.method}, in units of its activation). Above each: class and value. Exclusive and "
        "selective are said of means over each class; the samples are the largest single ones, of whatever class."
    )
