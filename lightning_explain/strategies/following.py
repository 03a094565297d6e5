"""Strategies over time: since when there is one, and when to say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

AT_ONCE = 1.7
"""Separation from which on a strategy is reported when it is first seen.

What classes consist of by nature (a 1 upright or slanted) reaches more than that, but not the effect that groups have
at least (`division.counts`). An alert may still be of a word or a shape that a part of a class has by nature.
"""

TWICE = 1.6
"""Separation from which on a strategy is reported when it is seen a second time in a row."""

LEAST_SHARE = 0.125
"""Least share of a class's samples of a strategy that is reported: words that a tenth of a class's texts have by nature
lie as far apart as marks do."""

SAME = 0.5
"""Jaccard index of the samples of two strategies from which on they are one."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A strategy as it is seen at one explanation, other than its class's largest.

    Attributes:
        members: Its samples.
        separation: How far it lies from its class's other samples.
        share: Their share of the class's samples.
        decides: False where the network does not yet know these samples, so that it decides nothing by anything.
    """

    members: frozenset[int]
    separation: float
    share: float = 1.0
    decides: bool = True


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A strategy over time.

    Attributes:
        members: Its samples when it was last seen.
        separation: How far it lay apart then.
        epoch: The epoch since when it is there.
        step: The step.
        is_reported: True if an alert has named it.
        is_present: True if the last explanation had it.
    """

    members: frozenset[int]
    separation: float
    epoch: int
    step: int
    is_reported: bool = False
    is_present: bool = True

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        return {
            "members": sorted(self.members),
            "separation": self.separation,
            "epoch": self.epoch,
            "step": self.step,
            "is_reported": self.is_reported,
            "is_present": self.is_present,
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "Followed":
        """Restore what `state_dict` returned."""
        return cls(
            members=frozenset(state["members"]),
            separation=state["separation"],
            epoch=state["epoch"],
            step=state["step"],
            is_reported=state["is_reported"],
            is_present=state["is_present"],
        )


def overlap(a: frozenset[int], b: frozenset[int]) -> float:
    """Return the Jaccard index of two sets.

    Example:
        >>> overlap(frozenset({1, 2, 3}), frozenset({2, 3, 4}))
        0.5
    """
    return len(a & b) / max(1, len(a | b))


def follow(
    known: Sequence[Followed], seen: Sequence[Sighting], *, epoch: int, step: int
) -> tuple[list[Followed], list[Followed | None], list[int]]:
    """Find the strategies of one class again in those of its next explanation.

    Args:
        known: What was known of the class.
        seen: The strategies that the explanation has.
        epoch: Its epoch.
        step: Its step.

    Returns:
        What is known from here on; for each sighting the strategy that it is of, None for one that decides nothing yet;
        and the sightings that are news.

    Example:
        >>> seen = [Sighting(members=frozenset(range(10)), separation=1.65)]
        >>> known, _, news = follow([], seen, epoch=3, step=30)
        >>> _, same, later = follow(known, seen, epoch=4, step=40)
        >>> news, later, same[0].epoch
        ([], [0], 3)
    """
    left = list(known)
    now: list[Followed] = []
    of: list[Followed | None] = []
    news: list[int] = []
    for number, sighting in enumerate(seen):
        if not sighting.decides:
            of.append(None)
            continue
        before = max(left, key=lambda each: overlap(each.members, sighting.members), default=None)
        if before is not None and overlap(before.members, sighting.members) >= SAME:
            left.remove(before)
        else:
            before = None
        is_reported = before is not None and before.is_reported
        is_news = not is_reported and _is_sure(sighting, before)
        lasts = before is not None and (before.is_present or before.is_reported)
        current = Followed(
            members=sighting.members,
            separation=sighting.separation,
            epoch=before.epoch if before is not None and lasts else epoch,
            step=before.step if before is not None and lasts else step,
            is_reported=is_reported or is_news,
        )
        now.append(current)
        of.append(current)
        if is_news:
            news.append(number)
    # one that was reported is remembered: if it comes back it is no news
    return now + [replace(each, is_present=False) for each in left if each.is_reported], of, news


def _is_sure(sighting: Sighting, before: Followed | None) -> bool:
    twice = before is not None and before.is_present and min(before.separation, sighting.separation) >= TWICE
    return sighting.share >= LEAST_SHARE and (twice or sighting.separation >= AT_ONCE)
