"""The comparison of a checkpoint with the run that resumes from it: explanations of other things are no drift."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

ComparedOptions = dict[str, str]
"""Options that decide what is explained: name to text."""


UNREADABLE = "Restarts: its checkpoint could not be read."
PROBE_CHANGED = "Restarts: the samples of the probe have changed since the explanation before."
DATA_CHANGED = (
    "The probe is that of the checkpoint; the validation data have changed since, so that it may be no sample of them."
)


@runtime_checkable
class ExplanationHistory(Protocol):
    """The earlier explanations of a monitor, as far as later ones are compared with them.

    Attributes:
        count: Number of explanations so far.
        target: The explained output of each sample, fixed for the whole run.
        caveat: A sentence that must be known to read what is compared; empty if there is none.
        probe: Fingerprint of the probe; empty before the first explanation.
    """

    count: int
    target: Tensor | None
    caveat: str
    probe: str

    def check(self, n_samples: int) -> None:
        """Refuse a history of another number of samples."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain tensors, numbers, strings, lists and dicts."""
        ...


def begins_anew(with_: str) -> str:
    """Return the sentence on a curve that restarts since the checkpoint was written with something else."""
    return f"Restarts: the checkpoint was written with {with_}."


def in_words(option: Any) -> str:
    """Return an option as text that is the same in two runs of one script.

    Example:
        >>> in_words("logits"), in_words(len), in_words(0.5)
        ("'logits'", 'len()', '0.5')
    """
    if isinstance(option, Callable) and not isinstance(option, type):
        # without the address in memory that its repr has
        return f"{getattr(option, '__qualname__', type(option).__qualname__)}()"
    return repr(option)


def what_changed(earlier: Mapping[str, Any] | None, now: ComparedOptions) -> str:
    """List the options of a checkpoint that differ from those of this run; empty if none does or none is recorded.

    Example:
        >>> what_changed({"explained": "'label'"}, {"explained": "'predicted'"})
        "explained='label' (now 'predicted')"
    """
    if earlier is None:
        return ""
    differing = {key: earlier[key] for key, value in now.items() if key in earlier and earlier[key] != value}
    return ", ".join(f"{key}={value} (now {now[key]})" for key, value in differing.items())
