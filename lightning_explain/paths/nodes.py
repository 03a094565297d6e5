"""The displayed part of a contribution graph: nodes and edges, as objects, as rows, as plain values."""

from dataclasses import dataclass
from typing import Any

from lightning_explain.paths.blocks import LayerBlock
from lightning_explain.paths.ranking import Ranked
from lightning_explain.paths.search import Search


@dataclass(frozen=True)
class PathNode:
    """A unit, or a bundle of units.

    Attributes:
        layer: Name of its layer.
        unit: Its number; None for a bundle.
        label: Its name: `fc1 12`, a feature's, or `37 others for`.
        contribution: Signed, in units of the explained output.
        share: Share of what reaches the inputs that passes it.
        n_units: How many units it stands for.
    """

    layer: str
    unit: int | None
    label: str
    contribution: float
    share: float
    n_units: int = 1

    @property
    def id(self) -> str:
        """Identifier, unique in the graph: `fc1:12`."""
        return f"{self.layer}:{self.label if self.unit is None else self.unit}"


@dataclass(frozen=True)
class PathEdge:
    """The flow from one node to the next.

    Attributes:
        source: The node nearer to the input.
        target: The node nearer to the output.
        contribution: Signed message, in units of the explained output.
        share: Share of what reaches the inputs that goes along this edge.
    """

    source: PathNode
    target: PathNode
    contribution: float
    share: float

    @property
    def is_single(self) -> bool:
        """True if it joins two units rather than bundles."""
        return self.source.unit is not None and self.target.unit is not None

    @property
    def ends(self) -> tuple[str, str]:
        """The ids of its two nodes."""
        return self.source.id, self.target.id


@dataclass(frozen=True)
class PathGraph:
    """The displayed part of a contribution graph, with metrics of the whole.

    Attributes:
        output: The explained output.
        layers: Names of the layers, inputs first; those that are drawn are in `blocks`.
        totals: What the units of each layer contribute together: with what biases above absorbed, the output.
        n_units: How many units each layer has.
        nodes: By layer, inputs first; single units in the order of their numbers, then bundles.
        edges: Those above the threshold, the strongest of each layer first.
        paths: The strongest paths through single units, in the whole graph.
        ranked: Units in the order of best-first expansion, in the whole graph.
        shown_share: Share of what reaches the inputs that takes ways along single units and edges shown between them: 1
            if all are.
        absorbed_share: Share of the decision that comes from biases, and reaches no input.
        blocks: The columns of the drawing, with the layers that are drawn in each; inputs and output too.
        threshold: Edges with smaller shares are hidden.
        is_spread: True if no drawing carries a fifth: then the units that carry most are ranked in each block.
        kinds: What the units of each layer are, as in `UnitLayer.kind`.
        hidden_edges: Those between single units below the threshold, the strongest first, as far as they could be seen.
    """

    output: float
    layers: tuple[str, ...]
    totals: tuple[float, ...]
    n_units: tuple[int, ...]
    nodes: tuple[PathNode, ...]
    edges: tuple[PathEdge, ...]
    paths: Search
    ranked: tuple[Ranked, ...]
    shown_share: float
    absorbed_share: float
    blocks: tuple[LayerBlock, ...] = ()
    threshold: float = 0.0
    is_spread: bool = False
    hidden_edges: tuple[PathEdge, ...] = ()
    kinds: tuple[str, ...] = ()

    def of_layer(self, name: str) -> list[PathNode]:
        """Return the nodes of a layer."""
        return [node for node in self.nodes if node.layer == name]

    def kind_of(self, block: LayerBlock) -> str:
        """Return the kind of a block's units: `heads`, `channels`, `neurons`, or `units` where that is mixed."""
        kinds = {kind for name, kind in zip(self.layers, self.kinds, strict=False) if name in block.layers}
        return kinds.pop() if len(kinds) == 1 and kinds <= {"heads", "channels", "neurons"} else "units"

    @property
    def single_edges(self) -> frozenset[tuple[str, str]]:
        """The ids of both ends of each edge between single units: what is compared between steps."""
        return frozenset(edge.ends for edge in self.edges if edge.is_single)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the nodes as rows, the largest share first; `pandas.DataFrame(graph.to_rows())` takes them."""
        rank = {(self.layers[r.unit[0]], r.unit[1]): r.rank for r in self.ranked}
        rows = [
            {
                "layer": node.layer,
                "unit": node.unit,
                "label": node.label,
                "contribution": node.contribution,
                "share": node.share,
                "rank": None if node.unit is None else rank.get((node.layer, node.unit)),
            }
            for node in self.nodes
        ]
        return sorted(rows, key=lambda row: -row["share"])

    def edge_rows(self) -> list[dict[str, Any]]:
        """Return the edges as rows, the largest share first."""
        rows = [
            {"source": e.source.id, "target": e.target.id, "contribution": e.contribution, "share": e.share}
            for e in self.edges
        ]
        return sorted(rows, key=lambda row: -row["share"])

    def to_json(self, *, title: str, class_name: str | None = None, sample: int | None = None) -> dict[str, Any]:
        """Return the graph as plain values that JSON takes, nodes nearest to the input first."""
        return {
            "title": title,
            "class": class_name,
            "sample": sample,
            "output": _short(self.output),
            "shown_share": _short(self.shown_share),
            "absorbed_share": _short(self.absorbed_share),
            "threshold": _short(self.threshold),
            "is_spread": self.is_spread,
            "blocks": [{"name": block.name, "layers": list(block.layers)} for block in self.blocks],
            "nodes": [
                {
                    "id": node.id,
                    "layer": node.layer,
                    "unit": node.unit,
                    "label": node.label,
                    "contribution": _short(node.contribution),
                    "share": _short(node.share),
                }
                for node in self.nodes
            ],
            "edges": [
                {
                    "source": edge.source.id,
                    "target": edge.target.id,
                    "share": _short(edge.share),
                    "contribution": _short(edge.contribution),
                }
                for edge in self.edges
            ],
        }


def _short(value: float) -> float:
    return float(f"{value:.4g}")
