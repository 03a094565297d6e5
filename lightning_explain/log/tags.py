"""Tag names and the file names derived from them."""

import hashlib
import re
from collections.abc import Sequence

LONGEST = 80
LONGEST_BYTES = 200
LONGEST_NUMBERED = 40
"""Letters of a name that gets a number: so that the number always fits."""

DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\..*)?", re.IGNORECASE)
"""Names that are no files on some systems, whatever follows after a dot."""


def tag_part(name: str) -> str:
    r"""Return a name with arbitrary characters as one part of a tag or a file name.

    Letters, digits, `_`, `-` and `.` stay; everything else, `/` included, becomes `_`. A part is never empty, neither
    starts nor ends with a dot, so that it cannot climb out of a folder, and is no name of a device. A name that is
    too long keeps its beginning and gets a checksum, so that two long names stay two.

    Example:
        >>> tag_part("cat / <b>dog</b>"), tag_part("../../etc")
        ('cat____b_dog__b_', '_._.._etc')
    """
    # a layer's second call, relu#1, is no other layer called relu_1
    part = re.sub(r"[^\w.\-]", "_", name.replace("#", "-")) or "_"
    if len(part) > LONGEST or len(part.encode()) > LONGEST_BYTES:
        checksum = hashlib.sha256(part.encode()).hexdigest()[:8]
        # file systems count bytes, and a letter may take four
        kept = part[: LONGEST - 9].encode()[: LONGEST_BYTES - 9].decode(errors="ignore")
        part = f"{kept}-{checksum}"
    part = re.sub(r"^\.|\.$", "_", part)
    return f"_{part}" if DEVICE.fullmatch(part) else part


def class_parts(names: Sequence[str], *, taken: Sequence[str] = (), suffix: str = "") -> list[str]:
    """Return a tag part for each class: different ones for different classes, none of those taken.

    Args:
        names: The classes' names.
        taken: Parts that stand for something else.
        suffix: What is put behind a part, also a taken one, for a second tag of it: no part is another's second one.

    Example:
        >>> class_parts(["cat", "<5", ">5", "first"], taken=["first"])
        ['cat', '_5', '_5_2', 'first_3']
        >>> class_parts(["cat_error", "cat"], suffix="_error")
        ['cat_error', 'cat_1']
    """
    parts: list[str] = []
    used = {f"{part}{end}".lower() for part in taken for end in ("", suffix)}
    for index, name in enumerate(names):
        part, tried = tag_part(name), index
        # compared in small letters: some file systems know no others
        while {part.lower(), f"{part}{suffix}".lower()} & used:
            part, tried = f"{tag_part(name)[:LONGEST_NUMBERED]}_{tried}", tried + len(names)
        parts.append(part)
        used |= {part.lower(), f"{part}{suffix}".lower()}
    return parts


def tag(*parts: str) -> str:
    """Join the parts of a tag under `explain/`.

    Example:
        >>> tag("attribution", "drift", "previous")
        'explain/attribution/drift/previous'
    """
    return "/".join(["explain", *(tag_part(part) for part in parts)])


def file_name(tag: str, suffix: str, *, step: int | None = None) -> str:
    """Return the file name of a tag, always inside its folder, whatever the tag contains.

    Args:
        tag: The tag; its `/` make folders.
        suffix: The ending, with its dot.
        step: For a file of one step, in a folder of the tag's name.

    Example:
        >>> file_name("explain/a/record", ".jsonl"), file_name("../x", ".png", step=7)
        ('explain/a/record.jsonl', '__/x/step_000000007.png')
    """
    parts = [tag_part(part) for part in tag.split("/")]
    if step is not None:
        parts.append(f"step_{step:09d}")
    return "/".join(parts) + suffix
