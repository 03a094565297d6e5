"""Words from data in markdown: what they hold stays words."""

import html
import re

LONGEST = 120
"""Letters of a name; names come from data, and one of 10 kB would be in every text."""

_MARKS = re.compile(r"[\\`*\[\]!|#~]")


def markdown_safe(name: str, *, longest: int | None = None) -> str:
    """Write a name so that it is neither HTML nor a link, a picture or the end of a table's cell in markdown.

    Example:
        >>> markdown_safe("<b>|x"), markdown_safe("![](http://x)")
        ('&lt;b&gt;&#124;x', '&#33;&#91;&#93;(http&#58;//x)')
    """
    line = " ".join(name.encode(errors="replace").decode().replace("\0", " ").split())
    if longest is not None and len(line) > longest:
        line = line[: longest - 1] + "…"
    line = _MARKS.sub(lambda mark: f"&#{ord(mark.group())};", html.escape(line, quote=False))
    # an address becomes a link by itself in some readers
    return line.replace("://", "&#58;//")
