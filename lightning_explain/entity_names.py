"""Names of the entities of each sample (atoms, players), as a batch or the user gives them."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from lightning_explain.batches import describe, select
from lightning_explain.display import Display
from lightning_explain.errors import ConfigurationError

Names = tuple[tuple[str, ...], ...]
"""By sample, the names of its entities."""

EXPECTED = (
    "expected for each sample a list of names or a row of ids (Display(tokens=...) names those). Give entity_names= a "
    "callable that returns that, e.g. entity_names=lambda batch: [text.split() for text in batch['atoms']]"
)


def is_looked_up(entity_names: Any) -> bool:
    """Return True if entity names are looked up in batches, rather than given."""
    return isinstance(entity_names, int | str) or callable(entity_names)


def names_in(display: Display | None, batch: Any, n_samples: int) -> Names:
    """Look up the names of a batch's entities; empty where none are asked for.

    Raises:
        ConfigurationError: `entity_names` leads to nothing in the batch, or to something that names no entities.
    """
    if display is None or not is_looked_up(display.entity_names):
        return ()
    found = select(batch, display.entity_names, option="entity_names")
    rows: Any = list(zip(*found, strict=True)) if _is_collated(found, n_samples, display.entity_names) else found
    return as_names(rows, display, n_samples)


def _is_collated(found: Any, n_samples: int, selector: Any) -> bool:
    """Return True for what `default_collate` makes of lists of names: for each place a tuple of the whole batch."""
    if callable(selector) or not isinstance(found, list):
        return False
    places = cast(list[Any], found)
    return bool(places) and all(isinstance(place, tuple) and len(cast(Any, place)) == n_samples for place in places)


def as_names(given: Any, display: Display, n_samples: int) -> Names:
    """Return given names by sample; those that are given once belong to all samples.

    Raises:
        ConfigurationError: They are no names, or of another number of samples.
    """
    if isinstance(given, Tensor) and given.ndim == 2 and not given.is_floating_point():
        given = [[display.word(token) for token in row] for row in given.tolist()]
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ConfigurationError(f"entity_names leads to {describe(given)}; {EXPECTED}.")
    rows = cast(Sequence[Any], given)
    if all(isinstance(name, str) for name in rows):
        if is_looked_up(display.entity_names):
            raise ConfigurationError(f"entity_names leads to one string for each of {len(rows)} samples; {EXPECTED}.")
        rows = [rows] * n_samples
    if len(rows) != n_samples or any(isinstance(row, str) or not isinstance(row, Sequence) for row in rows):
        raise ConfigurationError(f"entity_names has {len(rows)} entries for {n_samples} samples; {EXPECTED}.")
    return tuple(tuple(str(name) for name in cast(Sequence[Any], row)) for row in rows)
