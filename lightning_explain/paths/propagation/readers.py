"""The operations on a place's value before the next one reads it: an activation, a residual sum, an attention."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lightning_explain.attribution.autograd_graph import Node, inputs_of, operation_of
from lightning_explain.attribution.lrp.steps import PassedActivation
from lightning_explain.paths.propagation.way_back import LEAF, SCORE, WayBack

ACTIVATES = frozenset({"Relu", "LeakyRelu", "PreluKernel", "RreluWithNoise"})
SUMS = frozenset({"Add", "Sub", "Rsub", "torch::autograd::CopySlices"})


@dataclass
class Fate:
    """The operations on a value on all its ways to the next places.

    Attributes:
        activated: An elementwise activation reads it, directly or after pooling or a sum.
        summed: It is added to what comes from another place, and no activation follows.
        readers: The places that read it without an activation in between.
    """

    activated: bool = False
    summed: bool = False
    readers: set[int] = field(default_factory=set[int])

    def is_layer_of_units(self, kinds: Mapping[int, str]) -> bool:
        """Return True unless the value is a write to a residual stream, or a query, key or value of an attention."""
        read_by = {kinds.get(reader, "score") for reader in self.readers}
        return self.activated or not (self.summed or "heads" in read_by)


def fates(way: WayBack) -> dict[int, Fate]:
    """Follow the value of each place through the operations behind it."""
    found: dict[int, Fate] = {}
    for reader in (SCORE, *sorted(way.used)):
        if reader in way.pieces:
            _follow(way, reader, found)
    return found


def _follow(way: WayBack, reader: int, found: dict[int, Fate]) -> None:
    """Follow one piece from its leaves on, until an activation: (place, was it summed) arrive at each node."""
    place_of = {id(way.cuts[place].leaf): place for place in way.reads[reader]}
    arriving: dict[Node, frozenset[tuple[int, bool]]] = {}
    for node in way.pieces[reader]:
        if operation_of(node) == LEAF:
            place = place_of.get(id(node.variable))
            arriving[node] = frozenset() if place is None else frozenset({(place, False)})
            continue
        operands = [arriving[parent] for parent in inputs_of(node)]
        here = frozenset[tuple[int, bool]]().union(*operands)
        places = [{place for place, _ in operand} for operand in operands]
        if operation_of(node) in SUMS and sum(map(bool, places)) > 1 and len(set().union(*places)) > 1:
            here = frozenset((place, True) for place, _ in here)
        if operation_of(node) in ACTIVATES or getattr(node, "_forward_cls", None) is PassedActivation:
            for place, _ in here:
                found.setdefault(place, Fate()).activated = True
            here = frozenset()
        arriving[node] = here
    for place, summed in arriving[way.pieces[reader][-1]]:
        fate = found.setdefault(place, Fate())
        fate.summed |= summed
        fate.readers.add(reader)
