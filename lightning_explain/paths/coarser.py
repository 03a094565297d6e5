"""Coarser contribution graphs: the mean over several samples, and graphs without some of their layers."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lightning_explain.paths.contribution_graph import (
    AGAINST,
    FOR,
    OUTPUT,
    ContributionGraph,
    Link,
    Numbers,
    UnitLayer,
    Whole,
)


def _mean(arrays: Iterable[Numbers]) -> Numbers:
    """Average arrays one at a time: those of a wide network take megabytes each."""
    first, *others = arrays
    total = first.copy()
    for array in others:
        total += array
    total /= 1 + len(others)
    return total


def _averaged(same: Sequence[Any], *fields: str) -> Any:
    """Average some fields of layers or of links; those that are None stay so."""
    means = {
        field: _mean(getattr(each, field) for each in same) for field in fields if getattr(same[0], field) is not None
    }
    return replace(same[0], **means)


def mean_graph(graphs: Sequence[ContributionGraph]) -> ContributionGraph:
    """Average graphs of the same network: contributions and shares, of units and of edges.

    Where they have places for different units, those that have one in all of them keep it; the others join the bundles.
    """
    kept = [_common(same) for same in zip(*(graph.layers for graph in graphs), strict=True)]
    graphs = [_coarsened(graph, kept) for graph in graphs]
    layers = tuple(
        _averaged(same, "contribution", "share", "absorbed", "every_share")
        for same in zip(*(graph.layers for graph in graphs), strict=True)
    )
    links = tuple(
        _averaged(same, "contribution", "share", "bundled_share")
        for same in zip(*(graph.links for graph in graphs), strict=True)
    )
    return ContributionGraph(layers, links, float(np.mean([graph.output for graph in graphs])))


def _common(same: Sequence[UnitLayer]) -> Whole | None:
    """Return the numbers of the places that graphs have in common; None where all have the same."""
    if all(np.array_equal(layer.places, same[0].places) for layer in same):
        return None
    singles = [set(layer.places[layer.is_single].tolist()) for layer in same]
    return np.array([*sorted(set[int].intersection(*singles)), FOR, AGAINST])


def _membership(layer: UnitLayer, numbers: Whole) -> Numbers:
    """Return [places, places of the layer], 1 where a place of the layer goes to; what has none goes to a bundle."""
    by_sign = np.where(layer.contribution >= 0, FOR, AGAINST)
    goes_to = np.where(np.isin(layer.places, numbers), layer.places, by_sign)
    return (numbers[:, None] == goes_to[None]).astype(layer.share.dtype)


def _coarsened(graph: ContributionGraph, kept: Sequence[Whole | None]) -> ContributionGraph:
    """Give places to some units of each layer only; None leaves a layer as it is."""
    if all(numbers is None for numbers in kept):
        return graph
    members = {
        place: _membership(graph.layers[place], numbers) for place, numbers in enumerate(kept) if numbers is not None
    }

    def layer(place: int, own: UnitLayer) -> UnitLayer:
        if place not in members:
            return own
        of, counts = members[place], np.ones(len(own)) if own.counts is None else own.counts
        every = own.share if own.every_share is None else own.every_share
        sums = {name: of @ getattr(own, name) for name in ("contribution", "share", "absorbed")}
        return replace(own, **sums, numbers=kept[place], counts=(of @ counts).astype(int), every_share=every)

    def link(each: Link) -> Link:
        above, below = members.get(each.target), members.get(each.source)
        values, bundled = [each.contribution, each.share], each.bundled_share
        if below is not None:
            joined = each.share[:, below[-2:].any(0)].max(1, initial=0.0)
            bundled = joined if bundled is None else np.maximum(bundled, joined)
            values = [found @ below.T for found in values]
        if above is not None:
            values = [above @ found for found in values]
            bundled = None if bundled is None else above @ bundled
        return replace(each, contribution=values[0], share=values[1], bundled_share=bundled)

    layers = tuple(layer(place, own) for place, own in enumerate(graph.layers))
    return ContributionGraph(layers, tuple(map(link, graph.links)), graph.output)


def _per_share(share: Numbers) -> Numbers:
    return np.divide(1.0, share, out=np.zeros_like(share), where=share > 0)


def without_layer(graph: ContributionGraph, place: int) -> ContributionGraph:
    """Remove a layer and join the links on both its sides; arrays may have a first dimension of samples.

    The flow goes on as it did. A message that came into the layer is divided among the units that the layer's unit
    fed, in proportion to the flow, so that the contributions of all other layers stay exact.
    """
    gone = graph.layers[place]
    layers, links = list(graph.layers), {(link.source, link.target): link for link in graph.links}
    for above in (link for link in graph.links if link.source == place):
        # [target units, units of the layer]: which share of a unit's flow came from which target
        by_target = above.share * _per_share(gone.share)[..., None, :]
        kept = layers[above.target]
        layers[above.target] = replace(kept, absorbed=kept.absorbed + (by_target @ gone.absorbed[..., None])[..., 0])
        for below in graph.into(place):
            contribution = by_target @ below.contribution
            share = by_target @ below.share
            bundled = None if below.bundled_share is None else (by_target @ below.bundled_share[..., None])[..., 0]
            other = links.get((below.source, above.target))
            if other is not None:
                contribution, share = contribution + other.contribution, share + other.share
                bundled = None if bundled is None or other.bundled_share is None else bundled + other.bundled_share
            links[below.source, above.target] = Link(below.source, above.target, contribution, share, bundled)
    moved = [
        replace(link, source=link.source - (link.source > place), target=link.target - (link.target > place))
        for link in links.values()
        if place not in (link.source, link.target)
    ]
    del layers[place]
    return ContributionGraph(tuple(layers), tuple(sorted(moved, key=_order)), graph.output)


def _order(link: Link) -> tuple[int, int]:
    return link.target, link.source


def only_layers(graph: ContributionGraph, names: Sequence[str]) -> ContributionGraph:
    """Keep the inputs, the output, and the layers of these names."""
    for place in reversed(range(len(graph.layers))):
        layer = graph.layers[place]
        if not layer.is_input and layer.name != OUTPUT and layer.name not in names:
            graph = without_layer(graph, place)
    return graph
