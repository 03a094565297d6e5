"""The strategies found at one explanation."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from lightning_explain.callbacks.attribution.strategies.strategy_film import StrategyFilm
from lightning_explain.probe import Probe
from lightning_explain.render.modality import Shown
from lightning_explain.render.profiles import Profile
from lightning_explain.strategies import ClassStrategies
from lightning_explain.strategies.following import Followed
from lightning_explain.strategies.strategy_alert import StrategyAlert


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassReport:
    """The strategies of one class.

    Attributes:
        index: The class.
        name: Its name.
        rows: Its samples, as places in the sample.
        strategies: What was found among them; `members` count in `rows`.
        where: What each strategy's samples are decided by, in words; empty for the only one.
        inside: Share of each strategy's samples that are recognised; NaN where that is not known.
        outside: Share of the class's other samples that are.
        followed: Since when each is there; None for the largest, and for what decides nothing yet.
    """

    index: int
    name: str
    rows: list[int]
    strategies: ClassStrategies
    where: list[str]
    inside: list[float]
    outside: list[float]
    followed: list[Followed | None]

    @property
    def n_strategies(self) -> float:
        """Number of strategies; NaN where there are too few samples to say."""
        return math.nan if self.strategies.caveat else float(len(self.strategies.strategies))

    @property
    def share_of_smaller(self) -> float:
        """Share of the samples that do not follow the largest strategy; NaN where there are too few samples."""
        return math.nan if self.strategies.caveat else 1 - self.strategies.strategies[0].share

    def members(self, number: int) -> list[int]:
        """Return the samples that follow a strategy, as places in the sample, the most typical first."""
        return [self.rows[member] for member in self.strategies.strategies[number].members]


@dataclass(frozen=True, kw_only=True, eq=False)
class StrategyReport:
    """The strategies of all classes at one explanation.

    Attributes:
        step: The step it is logged at.
        epoch: The epoch.
        method: Full name of the attribution method.
        sample: The samples.
        classes: The report of each class, by its index.
        profile: The attributions that were compared, by input.
        shown: The inputs, as they are drawn.
        heat: Attributions by place of the first input [n, places...].
        predicted: The class that the network predicts for each sample [n]; None for a single output.
        alerts: New strategies.
        count: How many times strategies were looked for so far, this one included.
        film: The mean maps so far; empty for words and features, which have no map.
    """

    step: int
    epoch: int
    method: str
    sample: Probe
    classes: dict[int, ClassReport]
    profile: list[Profile]
    shown: list[Shown]
    heat: Tensor
    predicted: Tensor | None
    alerts: tuple[StrategyAlert, ...] = ()
    count: int = 1
    film: StrategyFilm = field(default_factory=StrategyFilm)
