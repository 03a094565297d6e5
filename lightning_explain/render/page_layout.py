"""The frame of every picture of a probe: title, legends, column heads, and the arrangement of its cells."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lightning_explain.render.colour import Picture, table
from lightning_explain.render.layout import below, beside, colour_bar, framed, padded
from lightning_explain.render.text import paragraph, text, text_width

QUANTILE = 0.995
"""Values beyond this share of all get the full colour, so that one outlier does not whiten the rest."""

MIN_WIDTH = 420

LONGEST_NAME = 200
"""Pixels for the name of a method beside its colour bar."""

HEADER_SIZE = 11


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One method's attributions.

    Attributes:
        name: Name of the method.
        values: Attributions [batch, ...].
        scale: Absolute value of the full colour, or of a full bar; methods have different units, so each has its own.
    """

    name: str
    values: Tensor
    scale: float


def in_words(name: str) -> str:
    """Part a name where it can be wrapped into a narrow column.

    Example:
        >>> in_words("IntegratedGradients n_steps=20"), in_words("InputXGradient"), in_words("LRP")
        ('Integrated Gradients n_steps=20', 'Input X Gradient', 'LRP')
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)


def header(name: str, *, width: int) -> Picture:
    """Write a column's head, wrapped at capitals: uint8 [height, width, 3]."""
    return paragraph(in_words(name), width=width, size=HEADER_SIZE)


def colour_scale(values: Tensor) -> float:
    """Return the absolute value that gets the full colour: the 99.5 % quantile of all together."""
    return float(np.quantile(values.detach().abs().cpu().numpy(), QUANTILE)) if values.numel() else 0.0


def n_columns(n_cells: int, labels: Tensor | None, most: int) -> int:
    """Give each class its own rows where the probe is balanced; otherwise a landscape block."""
    if labels is not None:
        counts = labels.unique_consecutive(return_counts=True)[1]
        per_class = int(counts[0])
        if len(counts) > 1 and bool((counts == per_class).all()) and 2 <= per_class <= 8:
            return max(n for n in range(1, per_class + 1) if per_class % n == 0 and n <= most)
    return min(most, max(1, int(np.ceil(np.sqrt(n_cells)))))


def sign_words(unit: str) -> tuple[str, str]:
    """Return the legend of negative and positive attributions.

    Example:
        >>> sign_words("output"), sign_words("logits")
        (('lowers the output', 'raises it'), ('against the class', 'for it'))
    """
    return ("lowers the output", "raises it") if unit == "output" else ("against the class", "for it")


def legend(scale: float, unit: str) -> Picture:
    """Draw the colour bar of signed values."""
    low, high = sign_words(unit)
    return colour_bar(table("RdBu_r"), f"{low}  -{scale:.3g}", f"+{scale:.3g} {unit}  {high}")


def legends(panels: Sequence[Panel], unit: str) -> Picture:
    """Draw the colour bar, or one for each scale with the names of the panels that have it."""
    by_scale: dict[float, str] = {}
    for panel in panels:
        by_scale[panel.scale] = f"{by_scale[panel.scale]}, {panel.name}" if panel.scale in by_scale else panel.name
    if len(by_scale) == 1:
        return legend(panels[0].scale, unit)
    width = min(LONGEST_NAME, max(text_width(name) for name in by_scale.values()) + 8)
    return below([beside([text(name, width=width), legend(scale, unit)]) for scale, name in by_scale.items()], gap=2)


def titled(body: Picture, title: str, bars: Picture) -> Picture:
    """Set title and legend over a picture."""
    width = max(body.shape[1], bars.shape[1], MIN_WIDTH)
    return framed(below([paragraph(title, width=width), bars, padded(body, height=1, width=width)], gap=6))
