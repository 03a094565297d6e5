"""What several methods say of the same samples, to be drawn side by side."""

import re
from dataclasses import dataclass

from torch import Tensor

from lightning_explain.render.canvas import paragraph
from lightning_explain.render.colour import Picture

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
