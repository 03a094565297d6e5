"""Words from data in markdown, where they stay words; and steps in a few letters."""

import html
import re

LONGEST = 120
"""Letters of a name; names come from data, and one of 10 kB would be in every text."""

# underscores within a word mean nothing
_MARKS = re.compile(r"[\\`*\[\]!|#~]|(?<!\w)_+|_+(?!\w)")


def _as_entities(letters: re.Match[str]) -> str:
    return "".join(f"&#{ord(letter)};" for letter in letters.group())


def markdown_safe(name: str, *, longest: int | None = None) -> str:
    """Write a name so that it is neither HTML nor a link, a picture or the end of a table's cell in markdown.

    Example:
        >>> markdown_safe("<b>|x"), markdown_safe("![](http://x)")
        ('&lt;b&gt;&#124;x', '&#33;&#91;&#93;(http&#58;//x)')
        >>> markdown_safe("hidden_1 __init__")
        'hidden_1 &#95;&#95;init&#95;&#95;'
    """
    line = " ".join(name.encode(errors="replace").decode().replace("\0", " ").split())
    if longest is not None and len(line) > longest:
        line = line[: longest - 1] + "…"
    line = _MARKS.sub(_as_entities, html.escape(line, quote=False))
    # an address becomes a link by itself in some readers
    return line.replace("://", "&#58;//")


def short_step(step: int) -> str:
    """Write a step in at most four letters.

    Example:
        >>> [short_step(step) for step in (629, 1_234, 13_000, 2_000_000)]
        ['629', '1.2k', '13k', '2.0M']
    """
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if step >= size:
            return f"{step / size:.1f}{letter}" if step < 10 * size else f"{step // size}{letter}"
    return str(step)
