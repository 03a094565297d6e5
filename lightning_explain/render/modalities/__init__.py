"""The kinds of input that can be drawn, a file each; and the choice of the one that fits an input."""

import pkgutil
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from typing import cast

from torch import Tensor

from lightning_explain.display import Display
from lightning_explain.render.colour import Picture
from lightning_explain.render.modality import Annotations, Modality, Shown
from lightning_explain.render.page_layout import Panel


@lru_cache
def modality(form: str) -> Modality:
    """Return the kind of input that a file of this folder defines."""
    return cast(Modality, import_module(f"{__name__}.{form}").MODALITY)


@lru_cache
def _by_precedence() -> list[str]:
    return sorted((file.name for file in pkgutil.iter_modules(__path__)), key=lambda form: modality(form).precedence)


def recognised(inputs: Tensor) -> str | None:
    """Return the kind of an input [batch, ...] as far as shape and type are evidence of one; None without evidence.

    Example:
        >>> import torch
        >>> recognised(torch.zeros(2, 28, 28)), recognised(torch.zeros(2, 1, 8000))
        ('image', 'signal')
        >>> recognised(torch.zeros(2, 12)), recognised(torch.zeros(2, 12, dtype=torch.long))
        ('table', 'tokens')
    """
    return next((form for form in _by_precedence() if modality(form).recognises(inputs)), None)


def form_of(display: Display, inputs: Tensor, index: int = 0, *, has_names: bool = False) -> str | None:
    """Return the kind of an input: as the user declared it, else by evidence; None where there is no picture for it.

    Args:
        display: How samples are shown.
        inputs: The input [batch, ...].
        index: Its place among the inputs.
        has_names: Its features have names.
    """
    declared = display.declared_form(index)
    if declared is not None:
        return declared
    form = recognised(inputs)
    return (modality(form).if_named or form) if form is not None and has_names else form


def is_of_units(shown: Shown, values: Tensor) -> bool:
    """Return True if attributions are of a layer's units, which have no place in a picture of the input."""
    return shown.form != "table" and values.ndim == 2 < shown.inputs.ndim


def drawn_as(shown: Shown, values: Tensor) -> Shown:
    """Return the input as these attributions of it are drawn: those of a layer's units as a table of the units."""
    if not is_of_units(shown, values):
        return shown
    names = [f"unit {unit}" for unit in range(values.shape[1])]
    return replace(shown, inputs=values, form="table", feature_names=names, kept=None)


def modality_of(shown: Shown) -> Modality:
    """Return the kind of an input that has a picture."""
    assert shown.form is not None  # inputs without a picture are sorted out before
    return modality(shown.form)


def film_frame(shown: Shown, values: Tensor, labels: Tensor | None) -> Tensor:
    """Return the frame of one explanation: maps of some samples, or class means."""
    drawn = drawn_as(shown, values)
    return modality_of(drawn).frame(drawn, values, labels)


def full_scale(shown: Shown, values: Tensor) -> float:
    """Return the absolute value that gets the full colour, or the full length as a bar."""
    drawn = drawn_as(shown, values)
    return modality_of(drawn).scale(drawn, values)


def explanation_picture(shown: Shown, panels: Sequence[Panel], words: Annotations) -> Picture:
    """Draw one explanation: each sample with its attributions, or bars by feature and class; several methods together.

    Args:
        shown: The input, and how it is drawn.
        panels: Each method's attributions and scale. A layer's units are only drawn where nothing else is.
        words: Title, captions and names.
    """
    panels = [panel for panel in panels if not is_of_units(shown, panel.values)] or panels
    drawn = drawn_as(shown, panels[0].values)
    return modality_of(drawn).picture(drawn, panels, words)


def film_picture(shown: Shown, films: Sequence[Tensor], words: Annotations) -> Picture:
    """Draw explanations over time: maps, stripes or words of some samples, or features by class.

    Args:
        shown: The input as its attributions are drawn, from `drawn_as`.
        films: The frame of each explanation, in time order.
        words: Title and names.
    """
    return modality_of(shown).film(shown, films, words)
