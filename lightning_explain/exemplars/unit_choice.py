"""The units of a layer that are shown: those that just changed, lie on a path, or tell classes apart."""

from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest

from torch import Tensor

from lightning_explain.neurons import LayerProfile

DIED = "died"
"""The reason to show a unit that was active in the report before."""

MOST_OF_A_KIND = 2
"""Units shown because they died, came to life, or lie on a path."""


def choose_units(
    profile: LayerProfile,
    *,
    most: int,
    excited: Tensor,
    dead_before: Tensor | None = None,
    on_path: Collection[int] = (),
    class_names: Sequence[str] = (),
) -> dict[int, str]:
    """Choose the units that matter most, and say why each does.

    Args:
        profile: Of the layer.
        most: How many.
        excited: Units that some sample excites: boolean [units].
        dead_before: Units that were dead in the report before; None in the first one.
        on_path: Units on a decision path.
        class_names: Name of each class.

    Returns:
        The reason by unit: those that died or came to life since the report before first, then those on paths, then in
        turn the most selective exclusive unit of each class; what room is left goes to the most selective others.
    """
    chosen: dict[int, str] = {}
    for unit, reason in _in_order(profile, dead_before, on_path, class_names):
        if len(chosen) == most:
            break
        if unit not in chosen and (bool(excited[unit]) or reason == DIED):
            chosen[unit] = reason
    return chosen


def _in_order(
    profile: LayerProfile, dead_before: Tensor | None, on_path: Collection[int], class_names: Sequence[str]
) -> Iterator[tuple[int, str]]:
    if dead_before is not None and len(dead_before) == len(profile.dead):
        yield from ((unit, DIED) for unit in _indices(profile.dead & ~dead_before)[:MOST_OF_A_KIND])
        yield from ((unit, "came to life") for unit in _indices(~profile.dead & dead_before)[:MOST_OF_A_KIND])
    yield from ((unit, "on a decision path") for unit in list(on_path)[:MOST_OF_A_KIND] if unit < len(profile.dead))
    selectivity = profile.selectivity.nan_to_num(-1.0)
    by_size = selectivity.argsort(descending=True, stable=True).tolist()
    favourite = profile.activation.nan_to_num(-float("inf")).argmax(0).tolist()
    names = [class_names[c] if c < len(class_names) else str(c) for c in range(len(profile.rates))]
    own = {c: list[int]() for c in _indices(profile.seen)}
    for unit in by_size:
        if bool(profile.exclusive[unit]):
            own[int(profile.active_sets[:, unit].float().argmax())].append(unit)
    for turn in zip_longest(*([(unit, f"exclusive to {names[c]}") for unit in units] for c, units in own.items())):
        yield from (each for each in turn if each is not None)
    if int(profile.seen.sum()) > 1:
        yield from ((unit, f"selective for {names[favourite[unit]]}") for unit in by_size if selectivity[unit] > 0)
    strongest = profile.activation.nan_to_num(0.0).amax(0).argsort(descending=True, stable=True).tolist()
    yield from ((unit, "strongly active") for unit in strongest)


def _indices(members: Tensor) -> list[int]:
    return members.nonzero().flatten().tolist()
