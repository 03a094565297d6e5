"""Few combinations in which every pair of values occurs."""

import itertools
import random
from collections.abc import Mapping, Set
from typing import Any

Pair = frozenset[tuple[str, Any]]
Row = dict[str, Any]


def _pairs(row: Row) -> set[Pair]:
    return {frozenset(two) for two in itertools.combinations(row.items(), 2)}


def _grown(
    start: Pair, axes: Mapping[str, tuple[Any, ...]], wanted: Set[Pair], impossible: Set[Pair], stream: random.Random
) -> Row | None:
    """Add a value of each axis to a pair, each time the one that brings most wanted pairs; None in a dead end."""
    row: Row = dict(start)
    others = [axis for axis in axes if axis not in row]
    stream.shuffle(others)
    for axis in others:
        gains = {}
        for value in axes[axis]:
            new = {frozenset(((axis, value), item)) for item in row.items()}
            if not new & impossible:
                gains[value] = len(new & wanted) + stream.random() / 2
        if not gains:
            return None
        row[axis] = max(gains, key=gains.__getitem__)
    return {axis: row[axis] for axis in axes}


def covering(
    axes: Mapping[str, tuple[Any, ...]], *, impossible: Set[Pair] = frozenset(), tries: int = 12, seed: int = 0
) -> list[Row]:
    """Choose rows such that each possible pair of values of two axes is in one of them; greedy, seeded.

    Args:
        axes: Name -> its values.
        impossible: Pairs that no row may have.
        tries: Rows grown, of which the best is taken.
        seed: Of the choice among equals.
    """
    stream = random.Random(seed)
    items = [(axis, value) for axis, values in axes.items() for value in values]
    every = [frozenset((a, b)) for a, b in itertools.combinations(items, 2) if a[0] != b[0]]
    # an ordered dict as a set: the order must not depend on hashes
    wanted = dict.fromkeys(pair for pair in every if pair not in impossible)
    rows: list[Row] = []
    while wanted:
        first = next(iter(wanted))
        grown = [_grown(first, axes, wanted.keys(), impossible, stream) for _ in range(tries)]
        found = [row for row in grown if row is not None]
        best = max(found, key=lambda row: len(_pairs(row) & wanted.keys()))
        rows.append(best)
        for pair in _pairs(best):
            wanted.pop(pair, None)
    return rows
