"""Texts: words on the colours of their attribution, as a picture and as markdown."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lightning_explain.display import Display
from lightning_explain.exemplars.cards import Exemplar, UnitCard
from lightning_explain.render.colour import Picture, few_greys, signed_colours
from lightning_explain.render.layout import below, beside
from lightning_explain.render.modality import (
    Annotations,
    Modality,
    Named,
    Shown,
    film_rows,
    rounded,
    spread_rows,
    top_places,
    unpadded,
    without_padding,
)
from lightning_explain.render.page_layout import Panel, colour_scale, in_words, legend, legends, titled
from lightning_explain.render.sprites import Sprite
from lightning_explain.render.text import BACKGROUND, font, shortened, text, text_width
from lightning_explain.render.words import markdown_safe

LONGEST_WORD = 24
MOST_TOKENS = 512
"""Tokens of a text in the Explain tab."""

WIDTH, MOST_AROUND = 640, 12
MOST_SAMPLES = 24
MOST_WORDS = 120
"""Of longer texts the passage is shown that the attribution is strongest in."""

SIZE, LINE, MARGIN = 13, 20, 3
FILM_WORDS, FILM_CELL, FILM_ROW, LABEL_WIDTH = 8, 72, 13, 60
DARK = 140
"""Words on darker colours are white."""


def word_at(shown: Shown, row: int, place: int) -> str:
    """Return a token's word, on one line; a middle dot for one that cannot be seen."""
    word = shown.display.word(int(shown.inputs[row, place]))
    visible = "".join(letter if letter.isprintable() else " " for letter in word)
    return shortened(visible, LONGEST_WORD) or "·"


def scale_of_tokens(shown: Shown, values: Tensor) -> float:
    """Return the absolute value of the full colour: the 99.5 % quantile of all tokens that are shown."""
    return colour_scale(values if shown.kept is None else values[shown.kept])


def passage(shown: Shown, sizes: Tensor, row: int) -> tuple[list[int], int, int]:
    """Choose the tokens of a text that are shown: places, and how many are left out before and after."""
    places = shown.places(row)
    if len(places) <= MOST_WORDS:
        return places, 0, 0
    sums = torch.cat([torch.zeros(1), sizes[row, places].cumsum(0)])
    start = int((sums[MOST_WORDS:] - sums[:-MOST_WORDS]).argmax())
    return places[start : start + MOST_WORDS], start, len(places) - start - MOST_WORDS


def words_picture(words: Sequence[str], colours: Picture, *, width: int = WIDTH) -> Picture:
    """Write words on their colours [words, 3], in lines of at most so many pixels: uint8 [height, width, 3]."""
    boxes: list[tuple[int, int, int]] = []
    x = y = 0
    for word in words:
        size = min(width, text_width(word, SIZE) + 2 * MARGIN)
        if x + size > width and x > 0:
            x, y = 0, y + LINE
        boxes.append((x, y, size))
        x += size + 2
    image = Image.new("RGB", (width, y + LINE), (BACKGROUND,) * 3)
    pen = ImageDraw.Draw(image)
    for word, (left, top, size), ground in zip(words, boxes, colours.tolist(), strict=True):
        cell = Image.new("L", (size, LINE - 2), 0)
        ImageDraw.Draw(cell).text((MARGIN, LINE // 2 - 1), word, fill=255, font=font(SIZE), anchor="lm")
        ink = (255, 255, 255) if np.mean(ground) < DARK else (0, 0, 0)
        pen.rectangle((left, top, left + size - 1, top + LINE - 3), fill=tuple(ground))
        # letters in four strengths: as in other words of a picture
        image.paste(ink, (left, top), Image.fromarray(few_greys(np.asarray(cell), step=85)))
    return np.asarray(image)


def _sizes(panels: Sequence[Panel]) -> Tensor:
    return torch.stack([p.values.abs() / max(p.scale, 1e-30) for p in panels]).sum(0)


def _text(shown: Shown, row: int, panel: Panel, chosen: tuple[list[int], int, int]) -> Picture:
    places, before, after = chosen
    words = [word_at(shown, row, place) for place in places]
    values = panel.values[row, places]
    zero = torch.zeros(1)
    if before:
        words, values = [f"… {before} before:", *words], torch.cat([zero, values])
    if after:
        words, values = [*words, f"… {after} more"], torch.cat([values, zero])
    return words_picture(words, signed_colours(values, panel.scale))


def token_picture(
    shown: Shown,
    panels: Sequence[Panel],
    *,
    captions: Sequence[str],
    title: str,
    labels: Tensor | None = None,
    unit: str = "logits",
) -> Picture:
    """Draw texts with each word on the colour of its attribution, once for each method.

    Args:
        shown: The token ids, and their words.
        panels: For each method its attributions [batch, tokens] and its colour scale.
        captions: What stands over each text.
        title: What the picture shows.
        labels: Class of each text, for the choice of texts.
        unit: Unit of the attributions.

    Returns:
        uint8 [height, width, 3].
    """
    n_samples, sizes = len(shown.inputs), _sizes(panels)
    rows = spread_rows(labels, n_samples, MOST_SAMPLES)
    cells: list[Picture] = []
    for row in rows:
        chosen = passage(shown, sizes, row)
        lines = [text(f"{captions[row]}:", width=WIDTH, size=12)]
        for panel in panels:
            if len(panels) > 1:
                lines.append(text(in_words(panel.name), width=WIDTH, size=11))
            lines.append(_text(shown, row, panel, chosen))
        cells.append(below(lines))
    words = title if len(rows) == n_samples else f"{title} {len(rows)} of {n_samples} samples."
    return titled(below(cells, gap=8), words, legends(panels, unit))


def token_film_picture(
    shown: Shown,
    films: Sequence[Tensor],
    rows: Sequence[int],
    *,
    row_names: Sequence[str],
    column_names: Sequence[str],
    title: str,
    unit: str = "logits",
) -> Picture:
    """Draw the strongest words of some texts over training: a column for each word, a stripe for each explanation.

    Args:
        shown: The token ids, and their words.
        films: For each explanation the attributions of the texts shown [rows, tokens], in time order.
        rows: Which texts these are.
        row_names: Name of each text.
        column_names: Name of each explanation.
        title: What the picture shows.
        unit: Unit of the attributions.

    Returns:
        uint8 [height, width, 3].
    """
    stacked = torch.stack([film.float() for film in films])
    scale = colour_scale(stacked)
    cells: list[Picture] = []
    for position, (row, name) in enumerate(zip(rows, row_names, strict=True)):
        places = torch.tensor(shown.places(row))
        strongest = stacked[:, position, places].abs().amax(0).topk(min(FILM_WORDS, len(places))).indices
        chosen = places[strongest.sort().values].tolist()
        head = [text(name, width=LABEL_WIDTH), *(text(word_at(shown, row, p), width=FILM_CELL) for p in chosen)]
        lines = [beside(head, gap=2)]
        for step, film in zip(column_names, stacked[:, position][:, chosen], strict=True):
            stripe = signed_colours(film, scale)
            boxes = [np.full((FILM_ROW, FILM_CELL, 3), colour, dtype=np.uint8) for colour in stripe]
            lines.append(beside([text(step, width=LABEL_WIDTH, height=FILM_ROW, size=10), *boxes], gap=2))
        cells.append(below(lines, gap=1))
    words = f"{title} The {FILM_WORDS} strongest words of each text, in their order."
    return titled(below(cells, gap=10), words, legend(scale, unit))


def token_text(
    shown: Shown, values: Tensor, *, captions: Sequence[str], labels: Tensor | None, n_strongest: int = 8
) -> str:
    """Write texts as a markdown table: words that speak for the output bold, against it in italics.

    Args:
        shown: The token ids, and their words.
        values: Attributions [batch, tokens].
        captions: What is said of each text.
        labels: Class of each text, for the choice of texts.
        n_strongest: How many words are marked and given with their attribution.

    Returns:
        Markdown in which words from data are plain text.
    """
    lines = ["| text | strongest words |", "|---|---|"]
    for row in spread_rows(labels, len(values), MOST_SAMPLES):
        places, before, after = passage(shown, values.abs(), row)
        top = values[row, places].abs().topk(min(n_strongest, len(places))).indices.tolist()
        marked = {places[i] for i in top}
        words = [_marked(word_at(shown, row, p), float(values[row, p]), p in marked) for p in places]
        told = [f"{markdown_safe(word_at(shown, row, places[i]))} {float(values[row, places[i]]):+.3g}" for i in top]
        parts = [f"({before} before)"] * (before > 0) + words + [f"({after} more)"] * (after > 0)
        lines.append(f"| *{markdown_safe(captions[row])}*: {' '.join(parts)} | {', '.join(told)} |")
    return "\n".join(lines)


def _marked(word: str, value: float, is_strong: bool) -> str:
    plain = markdown_safe(word)
    if not is_strong or value == 0:
        return plain
    return f"**{plain}**" if value > 0 else f"*{plain}*"


class Tokens(Modality):
    """Token ids [batch, tokens]: words on colours; padding is left out."""

    precedence = 10
    layout = "words"
    caption_over = "text"
    film_part = "stripe"
    shapes: ClassVar[Mapping[int, str]] = {2: "[batch, tokens]"}

    def recognises(self, inputs: Tensor) -> bool:
        """Return True for rows of integers."""
        return inputs.ndim == 2 and not inputs.is_floating_point()

    def kept(self, shown: Shown, masks: Sequence[Tensor]) -> Tensor | None:
        """Return the mask of tokens that are no padding."""
        return unpadded(shown, masks)

    def scale(self, shown: Shown, values: Tensor) -> float:
        """Return the 99.5 % quantile of the tokens that are shown."""
        return scale_of_tokens(shown, values)

    def picture(self, shown: Shown, panels: Sequence[Panel], words: Annotations) -> Picture:
        """Draw the words of each text on the colours of their attribution."""
        return token_picture(
            shown, panels, captions=words.captions, title=words.title, labels=words.labels, unit=words.unit
        )

    def film(self, shown: Shown, films: Sequence[Tensor], words: Annotations) -> Picture:
        """Draw a stripe for each explanation under the strongest words of each text."""
        rows = film_rows(words.labels, len(shown.inputs))
        return token_film_picture(
            shown,
            films,
            rows,
            row_names=[words.captions[row] for row in rows],
            column_names=words.column_names,
            title=words.title,
            unit=words.unit,
        )

    def markdown(self, shown: Shown, values: Tensor, words: Annotations) -> str:
        """Return the texts with their strongest words marked."""
        return token_text(shown, values, captions=words.captions, labels=words.labels)

    def top_features(self, shown: Shown, values: Tensor, row: int) -> Named | None:
        """Return [place, word, value] of the strongest tokens; places count from 0, padding included."""
        places = shown.places(row)
        chosen = [places[i] for i in top_places(values[row, places])]
        return [[place, word_at(shown, row, place), rounded(float(values[row, place]))] for place in chosen]

    def tab_inputs(self, shown: Shown, rows: Sequence[int]) -> tuple[dict[str, Any], Sprite | None]:
        """Return each text's words by place; None for padding, which is not shown."""
        texts: list[list[str | None]] = []
        for row in rows:
            kept = set(shown.places(row))
            places = range(min(shown.inputs.shape[1], MOST_TOKENS))
            texts.append([word_at(shown, row, place) if place in kept else None for place in places])
        return {"tokens": texts}, None

    def window_axes(self, inputs: Tensor) -> tuple[int, ...]:  # noqa: ARG002
        """Return the axis of tokens."""
        return (-1,)

    def place_names(self, shown: Shown, row: int) -> Sequence[str]:
        """Return the tokens."""
        return tuple(word_at(shown, row, place) for place in range(shown.inputs.shape[1]))

    def exemplar_picture(self, exemplar: Exemplar, card: UnitCard, display: Display) -> Picture:  # noqa: ARG002
        """Write the tokens on the colours of what excites the unit, the passage in which that is most."""
        heat = torch.zeros(len(exemplar.words)) if exemplar.heatmap is None else exemplar.heatmap
        start = max(0, min(int(heat.abs().argmax()) - MOST_AROUND // 2, len(heat) - MOST_AROUND))
        part = slice(start, start + MOST_AROUND)
        return words_picture(exemplar.words[part], signed_colours(heat[part], card.scale), width=WIDTH // 2)

    def tab_maps(self, shown: Shown, values: Tensor, rows: Sequence[int]) -> Tensor:
        """Return a row for each text."""
        return without_padding(shown, values, rows)[:, None, :MOST_TOKENS]


MODALITY = Tokens()
