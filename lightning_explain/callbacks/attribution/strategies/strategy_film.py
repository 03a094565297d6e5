"""The mean maps of strategies over time: a column for each explanation, kept in checkpoints, and their picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from lightning_explain.callbacks.attribution.history import LONGEST_FILM
from lightning_explain.render.colour import Picture
from lightning_explain.render.map_pages import FilmRow, largest_scale, map_film
from lightning_explain.render.words import short_step
from lightning_explain.strategies import ClassStrategies

MOST_CLASSES = 6
"""Classes of a picture: those that had several strategies most often."""

MOST_KEPT = 40
"""Classes of a column: 16 x 16 cells of 16 bits for each strategy, 0.5 MB in all where each of them has two."""


@dataclass
class StrategyFilm:
    """The mean map of each strategy over time.

    Attributes:
        columns: Step, and for each class the mean maps of its strategies, the largest first [cells...].
        names: Names of the classes.
    """

    columns: list[tuple[int, dict[int, list[Tensor]]]] = field(
        default_factory=list[tuple[int, dict[int, list[Tensor]]]]
    )
    names: dict[int, str] = field(default_factory=dict[int, str])

    def add(
        self, step: int, found: Mapping[int, ClassStrategies], cells: tuple[int, ...], names: Callable[[int], str]
    ) -> None:
        """Add an explanation; a full film loses every second column but the first and the last.

        Args:
            step: Its step.
            found: The strategies of each class.
            cells: Shape of a map.
            names: Names a class.
        """
        if len(self.columns) == LONGEST_FILM:
            self.columns = [*self.columns[:-1:2], self.columns[-1]]
        n = int(np.prod(cells))
        several = sorted(found, key=lambda c: (-len(found[c].strategies), c))[:MOST_KEPT]
        maps = {c: [each.mean[:n].reshape(cells).half() for each in found[c].strategies] for c in sorted(several)}
        self.columns.append((step, maps))
        self.names |= {c: names(c) for c in maps}

    def state_dict(self) -> dict[str, Any]:
        """Return plain tensors, numbers, strings and lists."""
        columns = [[step, [[c, own] for c, own in maps.items()]] for step, maps in self.columns]
        return {"columns": columns, "names": [[c, name] for c, name in self.names.items()]}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any] | None) -> "StrategyFilm":
        """Restore a `state_dict`; an empty film of checkpoints of before there was one."""
        if not state:
            return cls()
        return cls(
            columns=[(step, {c: list(own) for c, own in maps}) for step, maps in state["columns"]],
            names=dict(state["names"]),
        )

    @property
    def several(self) -> list[int]:
        """The classes that ever had several strategies, those most often first."""
        counts: dict[int, int] = {}
        for _, maps in self.columns:
            for c, own in maps.items():
                counts[c] = counts.get(c, 0) + (len(own) > 1)
        return sorted((c for c, n in counts.items() if n), key=lambda c: (-counts[c], c))

    def picture(self, method: str) -> Picture | None:
        """Draw the film: a row for each strategy, a column for each explanation; None where no class ever had several.

        Strategies are numbered by their size at each explanation. Colours are those of the class's largest value.

        Args:
            method: Full name of the attribution method.
        """
        drawn = self.several[:MOST_CLASSES]
        if not drawn:
            return None
        left = len(self.several) - len(drawn)
        title = (
            f"How strategies form ({method}): the mean map of each, a column for each explanation, named by its step. "
            f"Strategies are numbered by their size.{f' {left} more classes are not drawn.' if left else ''}"
        )
        columns = ["start" if step == 0 else short_step(step) for step, _ in self.columns]
        return map_film(title, columns, [row for c in drawn for row in self._rows(c)])

    def _rows(self, c: int) -> list[FilmRow]:
        columns = [maps.get(c, []) for _, maps in self.columns]
        scale = largest_scale([one for own in columns for one in own])
        return [
            FilmRow(
                f"{self.names[c]}, strategy {number + 1}",
                [own[number] if number < len(own) else None for own in columns],
                scale,
            )
            for number in range(max(map(len, columns)))
        ]
