"""Words from data in markdown: what they hold stays words."""

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
