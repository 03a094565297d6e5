"""Selection of the displayed part of a contribution graph: a few units per layer, the rest bundled, the main edges."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_explain.errors import ConfigurationError
from lightning_explain.paths.contribution_graph import OUTPUT, ContributionGraph, Link, Numbers, UnitLayer
from lightning_explain.paths.nodes import PathEdge, PathGraph, PathNode
from lightning_explain.paths.ranking import ranking
from lightning_explain.paths.search import Unit, share_along, top_paths

N_UNITS = 8
COVERED = 0.9
"""Share of the flow between the units shown of two layers that the edges kept carry."""

FOR, AGAINST = "for", "against"


@dataclass(frozen=True)
class _Bundles:
    """Bundles of the units of one layer: the node of each unit."""

    nodes: tuple[PathNode, ...]
    members: Numbers
    """[nodes, units], 1 where a unit belongs to a node."""


def _label(layer: UnitLayer, unit: int, names: Sequence[str]) -> str:
    if layer.name == OUTPUT or layer.is_input:
        return names[unit] if names else OUTPUT
    return f"{layer.name} {unit}"


def _single(layer: UnitLayer, unit: int, names: Sequence[str]) -> PathNode:
    share, contribution = float(layer.share[unit]), float(layer.contribution[unit])
    return PathNode(layer.name, unit, _label(layer, unit, names), contribution, share)


def _bundle(layer: UnitLayer, units: list[int], side: str) -> PathNode:
    return PathNode(
        layer.name,
        None,
        f"{len(units)} others {side}",
        float(layer.contribution[units].sum()),
        float(layer.share[units].sum()),
        len(units),
    )


def _bundled(layer: UnitLayer, names: Sequence[str], n_units: int) -> _Bundles:
    """Show a small layer completely; of a larger one the units that carry most, and the others bundled by sign."""
    n = len(layer)
    strongest = range(n) if n <= n_units else np.argsort(-layer.share, kind="stable")[: n_units - 2]
    singles = sorted(int(unit) for unit in strongest if n <= n_units or layer.share[unit] > 0)
    others = [unit for unit in range(n) if unit not in set(singles)]
    groups: list[tuple[PathNode, list[int]]] = [(_single(layer, unit, names), [unit]) for unit in singles]
    for side, sign in ((FOR, 1), (AGAINST, -1)):
        units = [unit for unit in others if sign * layer.contribution[unit] > 0]
        if units:
            groups.append((_bundle(layer, units, side), units))
    members = np.zeros((len(groups), n), dtype=layer.share.dtype)
    for place, (_, units) in enumerate(groups):
        members[place, units] = 1
    return _Bundles(tuple(node for node, _ in groups), members)


def _edges(link: Link, below: _Bundles, above: _Bundles) -> list[PathEdge]:
    """Keep the largest edges between two layers: most of the flow between single units, and most of the bundles'."""
    share = above.members @ link.share @ below.members.T
    contribution = above.members @ link.contribution @ below.members.T
    is_single = np.outer(
        [node.unit is not None for node in above.nodes], [node.unit is not None for node in below.nodes]
    )
    kept = [*_covering(np.where(is_single, share, 0.0)), *_covering(np.where(is_single, 0.0, share))]
    edges = [PathEdge(below.nodes[s], above.nodes[t], float(contribution[t, s]), float(share[t, s])) for t, s in kept]
    return sorted(edges, key=lambda edge: -edge.share)


def _covering(share: Numbers) -> list[tuple[int, int]]:
    """Return the places [row, column] of the largest shares that together make up most of their sum."""
    if not share.any():
        return []
    order = np.argsort(-share, axis=None, kind="stable")
    carried = np.cumsum(share.flatten()[order])
    n_kept = int(np.searchsorted(carried, COVERED * carried[-1])) + 1
    return [divmod(int(flat), share.shape[1]) for flat in order[:n_kept]]


def path_graph(
    graph: ContributionGraph,
    *,
    input_names: Sequence[Sequence[str]],
    output_name: str = OUTPUT,
    n_units: int = N_UNITS,
    n_paths: int = 10,
    n_ranked: int = 30,
) -> PathGraph:
    """Choose the displayed part of a contribution graph, and search the whole graph.

    Args:
        graph: Of one sample, or the mean of several.
        input_names: Names of the units of each input, as in `Contributions.units`.
        output_name: Name of the explained output.
        n_units: Most nodes of a layer: a larger layer shows the `n_units - 2` units that carry most, and bundles the
            others by the sign of their contribution.
        n_paths: How many of the strongest paths are searched for.
        n_ranked: How many units are ranked.

    Raises:
        ConfigurationError: `n_units` is below 3, or a count below 1.
    """
    if n_units < 3:
        raise ConfigurationError(f"n_units={n_units}; expected at least 3: one unit, and two bundles of the others.")
    names = [*input_names, *[()] * (len(graph.layers) - len(input_names) - 1), (output_name,)]
    bundles = [_bundled(layer, own, n_units) for layer, own in zip(graph.layers, names, strict=True)]
    edges = [edge for link in graph.links for edge in _edges(link, bundles[link.source], bundles[link.target])]
    place = {layer.name: index for index, layer in enumerate(graph.layers)}

    def unit(node: PathNode) -> Unit:
        assert node.unit is not None
        return place[node.layer], node.unit

    return PathGraph(
        output=graph.output,
        layers=tuple(layer.name for layer in graph.layers),
        totals=tuple(float(layer.contribution.sum()) for layer in graph.layers),
        n_units=tuple(len(layer) for layer in graph.layers),
        nodes=tuple(node for bundle in bundles for node in bundle.nodes),
        edges=tuple(edges),
        paths=top_paths(graph, n_paths),
        ranked=ranking(graph, n_ranked),
        shown_share=share_along(graph, [(unit(e.source), unit(e.target)) for e in edges if e.is_single]),
        absorbed_share=graph.absorbed_share,
    )
