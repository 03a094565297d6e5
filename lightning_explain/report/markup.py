"""HTML and SVG in which names from data can be nothing but text."""

import base64
import html
import re
from dataclasses import dataclass

UNKNOWN = "\u2013"
"""Stands where there is no value."""

LONGEST = 80
"""Letters of a name that are shown."""

INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")
"""Control characters, those that turn the direction of what follows, and halves of letters."""


@dataclass(frozen=True)
class Markup:
    """Finished markup. Only `el` and `join` make it, so whatever is a plain `str` is text and gets escaped."""

    code: str


Child = Markup | str | int | None


def clean(words: str, longest: int = LONGEST) -> str:
    r"""Make a name fit for a page: no control characters, and not long.

    Example:
        >>> clean("cat\x00\u202e dog"), clean("x" * 100, 5)
        ('cat dog', 'xxxx…')
    """
    seen = INVISIBLE.sub(lambda found: " " if found[0].isspace() else "", words[: 4 * longest])
    return seen if len(seen) <= longest else f"{seen[: longest - 1]}…"


def el(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """Make an element. Text and attributes are escaped; `class_` stands for `class`, `view_box` for `viewBox`.

    Example:
        >>> el("p", "a < b", el("b", "!"), class_="note", hidden=True).code
        '<p class="note" hidden>a &lt; b<b>!</b></p>'
    """
    words = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in ("img", "meta"):
        return Markup(f"<{name}{words}>")
    return Markup(f"<{name}{words}>{join(*children).code}</{name}>")


def join(*children: Child) -> Markup:
    """Put markup and text one after the other."""
    return Markup("".join(_code(child) for child in children))


def _code(child: Child) -> str:
    if isinstance(child, Markup):
        return child.code
    return "" if child is None else html.escape(clean(str(child), 2000))


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = {"view_box": "viewBox"}.get(key, key.rstrip("_").replace("_", "-"))
    if value is True:
        return f" {name}"
    words = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(words, quote=True)}"'


def png_address(png: bytes) -> str:
    """Return the address of a picture that the page itself holds."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def table(head: list[Child], rows: list[list[Child]], *, caption: str, class_: str | None = None) -> Markup:
    """Make a table whose first cells name their rows; wider ones scroll."""
    top = el("tr", *(el("th", cell, scope="col") for cell in head))
    body = [el("tr", el("th", row[0], scope="row"), *(el("td", cell) for cell in row[1:])) for row in rows]
    made = el("table", el("caption", caption), el("thead", top), el("tbody", *body), class_=class_)
    return el("div", made, class_="scroll", tabindex="0", role="region", aria_label=caption)


def short_number(value: float) -> str:
    """Write a number shortly; an undefined one as a dash.

    Example:
        >>> short_number(0.123456), short_number(float("nan")) == UNKNOWN, short_number(12345.6)
        ('0.123', True, '12,346')
    """
    if value != value:  # noqa: PLR0124 - that is what NaN is
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(share: float) -> str:
    """Write a share; an undefined one as a dash.

    Example:
        >>> percent(0.1234)
        '12.3 %'
    """
    return UNKNOWN if share != share else f"{100 * share:.1f} %"  # noqa: PLR0124
