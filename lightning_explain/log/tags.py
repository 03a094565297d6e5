"""Tag names: where everything is found in a logger."""

import re

LONGEST = 80
LONGEST_BYTES = 200


def tag_part(name: str) -> str:
    r"""Make one part of a tag, or of a file name, out of a name that may hold anything.

    Letters, digits, `_`, `-` and `.` stay; everything else, `/` included, becomes `_`. A part is never empty and
    never starts with a dot, so that it cannot climb out of a folder.

    Example:
        >>> tag_part("cat / <b>dog</b>"), tag_part("../../etc")
        ('cat____b_dog__b_', '_._.._etc')
    """
    part = re.sub(r"[^\w.\-]", "_", name)[:LONGEST] or "_"
    # file systems count bytes, and a letter may take four
    part = part.encode()[:LONGEST_BYTES].decode(errors="ignore")
    return f"_{part[1:]}" if part.startswith(".") else part


def tag(*parts: str) -> str:
    """Join the parts of a tag under `explain/`.

    Example:
        >>> tag("attribution", "drift", "previous")
        'explain/attribution/drift/previous'
    """
    return "/".join(["explain", *(tag_part(part) for part in parts)])
