"""Level of detail of what goes to the loggers: the telling part, or all of it."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lightning_explain.errors import ConfigurationError

DetailLevel = Literal["terse", "full"]

TAGS = re.compile(r"explain/[\w.\-/]+")


def _texts(value: Any) -> Iterator[str]:
    """Iterate over an attribute's text: itself, or what a list or a mapping of texts holds."""
    several: Iterable[Any] = [value]
    if isinstance(value, Mapping):
        several = [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        several = value
    yield from (each for each in several if isinstance(each, str))


def monitored_tags(trainer: Any) -> set[str]:
    """Return the tags of monitors that callbacks and learning-rate schedulers of a Trainer name.

    Whatever their attributes are called: `monitor="explain/..."` of `EarlyStopping`, `filename="{explain/...}"` of
    `ModelCheckpoint`, a list of metrics of somebody's own callback.
    """
    watching = [vars(callback) for callback in vars(trainer).get("callbacks", [])]
    watching += [vars(config) for config in getattr(trainer, "lr_scheduler_configs", [])]
    return {
        found
        for attributes in watching
        for value in attributes.values()
        for text in _texts(value)
        for found in TAGS.findall(text)
    }


@dataclass
class Detail:
    """Level of detail of what goes to the loggers. Records and the Explain tab hold everything either way.

    Attributes:
        level: `"terse"`: what says most, and whatever another callback names; `"full"`: everything.

    Raises:
        ConfigurationError: There is no such level.
    """

    level: DetailLevel = "terse"

    def __post_init__(self) -> None:
        if self.level not in get_args(DetailLevel):
            raise ConfigurationError(
                f"detail={self.level!r}; expected 'terse' (what says most) or 'full' (every metric and picture)."
            )

    @property
    def is_full(self) -> bool:
        """True if everything is logged."""
        return self.level == "full"

    def logged(self, trainer: Any, scalars: Mapping[str, float], telling: Collection[str]) -> dict[str, float]:
        """Return the metrics that go to the loggers.

        Args:
            trainer: Whose callbacks may monitor some.
            scalars: All metrics by tag.
            telling: The tags that are always logged.
        """
        if self.is_full:
            return dict(scalars)
        wanted = monitored_tags(trainer).union(telling)
        return {key: value for key, value in scalars.items() if key in wanted}
