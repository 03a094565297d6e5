"""Whether a checkpoint asked the same as this run: curves of two questions are no drift."""

from collections.abc import Callable, Mapping
from typing import Any

Asked = dict[str, str]
"""Options that decide what is asked, in words: by their names."""


def in_words(option: Any) -> str:
    """Write an option so that two runs of one script write the same.

    Example:
        >>> in_words("logits"), in_words(len), in_words(0.5)
        ("'logits'", 'len()', '0.5')
    """
    if isinstance(option, Callable) and not isinstance(option, type):
        # without the address in memory that its repr has
        return f"{getattr(option, '__qualname__', type(option).__qualname__)}()"
    return repr(option)


def what_changed(earlier: Mapping[str, Any] | None, now: Asked) -> str:
    """Say what a checkpoint asked otherwise than this run; empty if nothing, or if it does not say.

    Example:
        >>> what_changed({"explained": "'label'"}, {"explained": "'predicted'"})
        "explained='label' (now 'predicted')"
    """
    if earlier is None:
        return ""
    differing = {key: earlier[key] for key, value in now.items() if key in earlier and earlier[key] != value}
    return ", ".join(f"{key}={value} (now {now[key]})" for key, value in differing.items())
