"""Change of a path graph from one explanation to the next."""

from collections.abc import Collection
from dataclasses import dataclass

Edge = tuple[str, str]
"""The ids of the units at its ends, the one nearer to the input first: ("fc1:3", "fc2:11")."""


@dataclass(frozen=True)
class PathChange:
    """Edges added and removed between two explanations of the same samples.

    Attributes:
        won: Edges only in the later graph, sorted.
        lost: Edges only in the earlier one.
        n_kept: Edges in both.
    """

    won: tuple[Edge, ...]
    lost: tuple[Edge, ...]
    n_kept: int

    @property
    def turnover(self) -> float:
        """1 - Jaccard index of the edges: 0 if they are the same, 1 if they are disjoint; 0 for two empty graphs."""
        n_edges = len(self.won) + len(self.lost) + self.n_kept
        return (len(self.won) + len(self.lost)) / n_edges if n_edges else 0.0


def path_change(now: Collection[Edge], earlier: Collection[Edge]) -> PathChange:
    """Compare the edges of two graphs.

    Example:
        >>> change = path_change([("a", "b"), ("b", "c")], [("a", "b"), ("x", "b")])
        >>> change.won, change.lost, round(change.turnover, 4)
        ((('b', 'c'),), (('x', 'b'),), 0.6667)
    """
    then, later = set(earlier), set(now)
    return PathChange(tuple(sorted(later - then)), tuple(sorted(then - later)), len(later & then))
