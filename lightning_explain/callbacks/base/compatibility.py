"""Whether a checkpoint asked the same as this run: curves of two questions are no drift."""

from collections.abc import Callable, Mapping
from typing import Any

Asked = dict[str, str]
"""Options that decide what is asked, in words: by their names."""


UNREADABLE = "Begins anew: its checkpoint could not be read."
PROBE_CHANGED = "Begins anew: the samples of the probe have changed since the explanation before."
DATA_CHANGED = (
    "The probe is that of the checkpoint; the validation data have changed since, so that it may be no sample of them."
)


def begins_anew(with_: str) -> str:
    """Say why a curve begins anew: because a checkpoint was written with something else."""
    return f"Begins anew: the checkpoint was written with {with_}."


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
