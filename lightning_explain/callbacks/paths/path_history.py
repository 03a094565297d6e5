"""The earlier explanations of a path monitor: edges to compare with, and places of units in pictures."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lightning_explain.callbacks.paths.explanation import MOST_CLASSES, PathExplanation
from lightning_explain.callbacks.paths.path_options import Show
from lightning_explain.errors import ExplanationError
from lightning_explain.paths import PathChange, PathGraph, path_change
from lightning_explain.render.paths import sticky_slots


@dataclass
class PathHistory:
    """The earlier explanations of a path monitor, as far as later ones are compared with them.

    Attributes:
        count: Number of explanations so far.
        target: The explained output of each sample, fixed for the whole run.
        edges: Edges of each class in the explanation before, by the class's place.
        blocks: Names of the blocks that were drawn then, by the class's place.
        slots: Places of the units of each class in the pictures.
        caveat: A sentence that must be known to read the curve, e.g. why it restarts; empty if there is none.
        probe: Fingerprint of the probe; empty before the first explanation.
    """

    count: int = 0
    target: Tensor | None = None
    edges: dict[int, list[tuple[str, str]]] = field(default_factory=dict[int, list[tuple[str, str]]])
    blocks: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    slots: dict[int, dict[str, list[int | None]]] = field(default_factory=dict[int, dict[str, list[int | None]]])
    caveat: str = ""
    probe: str = ""

    def check(self, n_samples: int) -> None:
        """Refuse a history of another number of samples.

        Raises:
            ExplanationError: It is of another number of samples.
        """
        if self.target is not None and len(self.target) != n_samples:
            raise ExplanationError(f"it remembers paths of {len(self.target)} samples, its probe has {n_samples}.")

    def change(self, place: int, graph: PathGraph) -> PathChange | None:
        """Compare a class's edges with those of the explanation before; None where those were chosen otherwise."""
        is_comparable = place in self.edges and place in self.blocks
        return path_change(graph.single_edges, self.edges[place]) if is_comparable else None

    def add(self, explanation: PathExplanation, *, show: Show) -> None:
        """Add an explanation; in pictures its units keep the places that they had before."""
        self.count += 1
        for place, found in enumerate(explanation.classes):
            self.edges[place] = sorted(found.graph.single_edges)
            self.blocks[place] = [block.name for block in found.graph.blocks]
        for place, found in enumerate(explanation.classes[:MOST_CLASSES]):
            graph, _ = explanation.drawn(found, show)
            self.slots[place] = sticky_slots(graph, self.slots.get(place, {}))

    def state_dict(self) -> dict[str, Any]:
        """Return plain tensors, numbers, strings and lists, which `torch.load(weights_only=True)` accepts."""
        return {
            "count": self.count,
            "target": self.target,
            "edges": {place: [list(edge) for edge in edges] for place, edges in self.edges.items()},
            "blocks": {place: list(names) for place, names in self.blocks.items()},
            "slots": {place: {layer: list(units) for layer, units in s.items()} for place, s in self.slots.items()},
            "caveat": self.caveat,
            "probe": self.probe,
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "PathHistory":
        """Restore the state that `state_dict` returned; one of a version that drew other edges has no blocks."""
        return cls(
            count=state["count"],
            target=state["target"],
            edges={place: [(a, b) for a, b in edges] for place, edges in state["edges"].items()},
            blocks={place: list(names) for place, names in state.get("blocks", {}).items()},
            slots={place: {layer: list(units) for layer, units in s.items()} for place, s in state["slots"].items()},
            caveat=state.get("caveat", ""),
            probe=state.get("probe", ""),
        )
