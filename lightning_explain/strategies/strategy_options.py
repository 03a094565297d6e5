"""The options of strategies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lightning_explain.attribution import Attribution
from lightning_explain.errors import ConfigurationError
from lightning_explain.options.value_types import check_fields
from lightning_explain.probe import Probe
from lightning_explain.strategies.class_strategies import FEWEST_SAMPLES, LEAST_SEPARATION


@dataclass(frozen=True, kw_only=True)
class Strategies:
    """Options of the search for strategies: the sample, the method, and what counts.

    Args:
        per_class: Samples of each class, at least 16; each is explained by one cheap pass.
        method: Attribution method, called as `method(model, inputs, target)`; default `InputXGradient()`. In
            photographs it shows a mark in the mark's own pixels; LRP spreads it over those around.
        every: Look for strategies at every n-th explanation of the monitor.
        data: Where the sample is drawn from: the `"training"` data, whose marks are what a network learns; or
            `"validation"`, which is also taken where training samples cannot be picked by index.
        samples: The sample itself, instead of drawing one.
        max_samples: Most samples in all. A sample takes at most 256 MiB, whatever this allows.
        least_separation: How far apart two strategies are at least, in halves of a uniform cloud.
        false_discoveries: Share of the classes said to have several strategies that may be wrong.
        seed: Seed of the drawing.

    Raises:
        ConfigurationError: An option is impossible.

    Source: Lapuschkin et al. (2019), Unmasking Clever Hans predictors and assessing what machines really learn.
    """

    per_class: int = 64
    method: Callable[..., Attribution] | None = None
    every: int = 1
    data: Literal["training", "validation"] = "training"
    samples: Probe | None = None
    max_samples: int = 1024
    least_separation: float = LEAST_SEPARATION
    false_discoveries: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, Strategies, {"samples": "Probe.from_dataset(dataset) draws some."})
        if self.per_class < FEWEST_SAMPLES or self.max_samples < FEWEST_SAMPLES:
            raise ConfigurationError(
                f"strategies: per_class={self.per_class}, max_samples={self.max_samples}; expected at least "
                f"{FEWEST_SAMPLES} of each: fewer maps show no strategies."
            )
        if self.every < 1:
            raise ConfigurationError(f"strategies: every={self.every}; expected 1 or more explanations.")
        if self.data not in ("training", "validation"):
            raise ConfigurationError(f"strategies: data={self.data!r}; expected 'training' or 'validation'.")
        if self.method is not None and not callable(self.method):
            raise ConfigurationError(
                f"strategies: method={self.method!r} cannot be called; expected e.g. InputXGradient()."
            )
        if not self.least_separation > 0:
            raise ConfigurationError(f"strategies: least_separation={self.least_separation}; expected more than 0.")
        if not 0 < self.false_discoveries < 1:
            raise ConfigurationError(
                f"strategies: false_discoveries={self.false_discoveries}; expected a share between 0 and 1."
            )
