"""The options of exemplars."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from lightning_explain.attribution import Attribution
from lightning_explain.errors import ConfigurationError
from lightning_explain.options.value_types import check_fields

By = Literal["activation", "relevance"]


@dataclass(frozen=True, kw_only=True)
class Exemplars:
    """Options of the exemplars: the criterion, their number, and the method behind their heatmaps.

    Attributes:
        k: Samples kept of each unit; 0 for no exemplars.
        by: What makes a sample an exemplar: the unit's largest `"activation"` over positions; or its `"relevance"`
            for the sample's class: activation times the gradient of the class's score, summed over positions (of heads,
            what they pass to the output projection). Relevance takes a forward and a backward pass of its own for every
            batch of a validation that is reported.
        shown: Samples shown of each unit.
        method: Attribution method that shows what in a sample excites the unit; default `InputXGradient()`.

    Raises:
        ConfigurationError: An option is impossible.

    Source: Achtibat et al. (2023), From attribution maps to human-understandable explanations through concept
    relevance propagation: reference samples by activation (ActMax) and by relevance (RelMax).
    """

    k: int = 8
    by: By = "activation"
    shown: int = 4
    method: Callable[..., Attribution] | None = None

    def __post_init__(self) -> None:
        check_fields(self, Exemplars)
        if self.k < 0 or self.shown < 0:
            raise ConfigurationError(
                f"exemplars: k={self.k}, shown={self.shown}; expected numbers from 0 on: how many samples are kept of "
                "each unit, and how many of them are shown. k=0 switches exemplars off."
            )
        if self.by not in ("activation", "relevance"):
            raise ConfigurationError(f"exemplars: by={self.by!r}; expected 'activation' or 'relevance'.")

    @classmethod
    def of(cls, given: Any) -> "Exemplars":
        """Return options; a number is `k`.

        Raises:
            ConfigurationError: It is neither a number nor options.
        """
        if isinstance(given, Exemplars):
            return given
        # True is an int, and may stand for "on"
        if not isinstance(given, int) or isinstance(given, bool):
            raise ConfigurationError(
                f"exemplars={given!r}; expected how many samples are kept of each unit, 0 for none, or "
                "Exemplars(k=8, by='activation')."
            )
        return cls(k=given)
