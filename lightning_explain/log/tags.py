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


def file_name(tag: str, suffix: str, *, step: int | None = None) -> str:
    """Name the file of a tag, below some folder: whatever the tag holds, it stays in there.

    Args:
        tag: The tag; its `/` make folders.
        suffix: The ending, with its dot.
        step: For a file of one step, in a folder of the tag's name.

    Example:
        >>> file_name("explain/a/record", ".jsonl"), file_name("../x", ".png", step=7)
        ('explain/a/record.jsonl', '_./x/step_000000007.png')
    """
    parts = [tag_part(part) for part in tag.split("/")]
    if step is not None:
        parts.append(f"step_{step:09d}")
    return "/".join(parts) + suffix
