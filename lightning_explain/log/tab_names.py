"""Class names for the Explain tab: those that occur, shortened."""

from collections.abc import Callable, Iterable

from lightning_explain.render.text import shortened

LONGEST = 120
"""Letters of a name in an event: names come from data, and one of 10 kB would be in every event."""


def names_of(indices: Iterable[int], name: Callable[[int], str]) -> dict[str, str]:
    """Return the names of the classes that occur: `{"3": "cat"}`.

    Example:
        >>> names_of([2, 0, 2], "abc".__getitem__)
        {'0': 'a', '2': 'c'}
    """
    return {str(index): shortened(name(index), LONGEST) for index in sorted(set(indices))}
