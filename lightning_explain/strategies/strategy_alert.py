"""The alert of a new strategy."""

import math
from dataclasses import dataclass

from lightning_explain.drift.alert import Alert

STRATEGIES = "strategies"
"""The measure of such an alert."""


@dataclass(frozen=True, kw_only=True)
class StrategyAlert(Alert):
    """A class that is decided in a way in which it was not decided before; `str(alert)` describes it.

    `samples` are the most typical members: places in `monitor.latest.strategies.sample`; `indices` their places in the
    data set. `excesses` is empty.

    Attributes:
        class_name: The class.
        share: Share of the class's samples that follow it.
        where: What these samples are decided by, in words.
        since_epoch: Epoch of the first explanation in which it was seen.
        since_step: Its step.
        separation: How far it lies from the class's other samples, in halves of a uniform cloud.
        effect: Share of these samples' relevance that they owe to it, beyond what the others do.
        inside: Share of its samples that are recognised; NaN where that is not known.
        outside: Share of the class's other samples that are.
    """

    class_name: str
    share: float
    where: str
    since_epoch: int
    since_step: int
    separation: float
    inside: float
    outside: float
    effect: float = math.nan

    def __str__(self) -> str:
        known = not math.isnan(self.inside) and not math.isnan(self.outside)
        right = f" {self.inside:.0%} of them are recognised, {self.outside:.0%} of the others." if known else ""
        owes = "" if math.isnan(self.effect) else f", {self.effect:.0%} of what speaks for or against the class in them"
        listed = ", ".join(str(number) for number in self.indices or self.samples)
        of = "in the data set" if self.indices else "in the sample"
        return (
            f"a new strategy at step {self.step}, in epoch {self.epoch}, by {self.method}: {self.share:.0%} of class "
            f"{self.class_name} are decided by {self.where}{owes}, since epoch {self.since_epoch} "
            f"(separation {self.separation:.1f}).{right} Most typical {of}: {listed}."
        )
