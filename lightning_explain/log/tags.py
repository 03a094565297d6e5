"""Tag names: where everything is found in a logger."""

import re
from collections.abc import Sequence

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
    # a layer's second call, relu#1, is no other layer called relu_1
    part = re.sub(r"[^\w.\-]", "_", name.replace("#", "-"))[:LONGEST] or "_"
    # file systems count bytes, and a letter may take four
    part = part.encode()[:LONGEST_BYTES].decode(errors="ignore")
    return f"_{part[1:]}" if part.startswith(".") else part


def class_parts(names: Sequence[str], *, taken: Sequence[str] = ()) -> list[str]:
    """Make a tag part for each class: different ones for different classes, and none of those taken.

    Example:
        >>> class_parts(["cat", "<5", ">5", "first"], taken=["first"])
        ['cat', '_5', '_5_2', 'first_3']
    """
    parts: list[str] = []
    for index, name in enumerate(names):
        part = tag_part(name)
        parts.append(f"{part}_{index}" if part in parts or part in taken else part)
    return parts


def tag(*parts: str) -> str:
    """Join the parts of a tag under `explain/`.

    Example:
        >>> tag("attribution", "drift", "previous")
        'explain/attribution/drift/previous'
    """
    return "/".join(["explain", *(tag_part(part) for part in parts)])
