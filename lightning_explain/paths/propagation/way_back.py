"""The way back through a pass that was cut: gradients, modified by the rules, from any place to those before it."""

from collections.abc import Collection, Mapping
from functools import cached_property

import torch
from torch import Tensor

from lightning_explain.attribution.autograd_graph import Node, operation_of, ordered_nodes
from lightning_explain.paths.propagation.cuts import CutPass

SCORE = -1
"""Place of the explained score, beside those of the cuts."""

LEAF = "torch::autograd::AccumulateGrad"


class WayBack:
    """Walks back from places of a pass to others.

    Args:
        run: The pass.
    """

    def __init__(self, run: CutPass) -> None:
        self.cuts, self.score, self.began_score = run.cuts, run.score, run.began_score
        self._place = {id(cut.leaf): place for place, cut in enumerate(self.cuts)}

    def before(self, place: int) -> Tensor | None:
        """Return the tensor that a place was computed from, with its graph."""
        return self.score if place == SCORE else self.cuts[place].before

    @cached_property
    def pieces(self) -> dict[int, tuple[Node, ...]]:
        """The nodes of each piece of the graph, those nearer to the leaves first."""
        places = [SCORE, *(place for place, cut in enumerate(self.cuts) if cut.before is not None)]
        return {place: _nodes(self.before(place)) for place in places}

    @cached_property
    def reads(self) -> dict[int, tuple[int, ...]]:
        """The places that each place was computed from without another one in between."""
        found: dict[int, tuple[int, ...]] = {}
        for place, nodes in self.pieces.items():
            ends = [self._place.get(id(node.variable)) for node in nodes if operation_of(node) == LEAF]
            found[place] = tuple(sorted({end for end in ends if end is not None}))
        return found

    @cached_property
    def used(self) -> frozenset[int]:
        """The places that the score depends on."""
        waiting, found = [SCORE], set[int]()
        while waiting:
            for place in self.reads.get(waiting.pop(), ()):
                if place not in found:
                    found.add(place)
                    waiting.append(place)
        return frozenset(found)

    def one_piece(self, place: int, gradient: Tensor) -> dict[int, Tensor]:
        """Walk from a place to those that it reads.

        Args:
            place: Where to begin.
            gradient: Modified gradient at its value.
        """
        places, before = self.reads[place], self.before(place)
        if not places or before is None:
            return {}
        back = gradient if place == SCORE else self.cuts[place].back(gradient)
        leaves = [self.cuts[each].leaf for each in places]
        return dict(zip(places, torch.autograd.grad(before, leaves, back, retain_graph=True), strict=True))

    def from_score(self, gradient: Tensor) -> dict[int, Tensor]:
        """Walk from the score to every place it depends on: the modified gradient at each.

        Args:
            gradient: At the score [batch].

        Cost: one backward pass.
        """
        return self._walk({SCORE: gradient}, frozenset(), keep=True)

    def to(self, place: int, gradient: Tensor, stops: Collection[int]) -> dict[int, Tensor]:
        """Walk from a place back to stops, beyond which nothing goes: the modified gradient at those that it reaches.

        Args:
            place: Where to begin.
            gradient: At its value.
            stops: Where to end.

        Cost: one backward pass through what lies between.
        """
        return self._walk({place: gradient}, stops, keep=False)

    def _walk(self, begin: Mapping[int, Tensor], stops: Collection[int], *, keep: bool) -> dict[int, Tensor]:
        (first,) = begin
        at = self.one_piece(first, begin[first])
        for place in reversed(range(len(self.cuts))):
            if place in at and place not in stops:
                gradient = at[place] if keep else at.pop(place)
                for end, more in self.one_piece(place, gradient).items() if place in self.reads else ():
                    at[end] = at[end] + more if end in at else more
        return at


def _nodes(tensor: Tensor | None) -> tuple[Node, ...]:
    """List the nodes of a piece, each after those it reads."""
    return () if tensor is None else tuple(ordered_nodes(tensor.grad_fn))
