"""Random contribution graphs, and their paths by enumeration."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from lightning_explain.paths.contribution_graph import FOR, ContributionGraph, Link, Numbers, UnitLayer


def flowing(
    names: Sequence[str],
    contributions: Sequence[Numbers],
    messages: Mapping[tuple[int, int], Numbers],
    output: float,
) -> ContributionGraph:
    """Compute the flow from the output to the inputs along given messages.

    Args:
        names: Names of the layers, inputs first, the output last.
        contributions: Relevance of the units of each.
        messages: (source, target) -> signed messages [target units, source units].
        output: The explained output.
    """
    shares = [np.zeros_like(values) for values in contributions]
    absorbed = [np.zeros_like(values) for values in contributions]
    shares[-1] = np.ones_like(contributions[-1])
    links: list[Link] = []
    for target in reversed(range(len(names))):
        incoming = {source: found for (source, end), found in messages.items() if end == target}
        if not incoming:
            continue
        absorbed[target] = contributions[target] - sum(found.sum(1) for found in incoming.values())
        sizes = {source: np.abs(found) for source, found in incoming.items()}
        total = sum(size.sum(1) for size in sizes.values()) + np.abs(absorbed[target])
        per_size = np.divide(shares[target], total, out=np.zeros_like(total), where=total > 0)
        for source, size in sizes.items():
            # in place: these are the largest arrays there are
            share = np.multiply(size, per_size[:, None], out=size)
            shares[source] = shares[source] + share.sum(0)
            links.append(Link(source, target, incoming[source], share))
    layers = tuple(UnitLayer(*fields) for fields in zip(names, contributions, shares, absorbed, strict=True))
    return ContributionGraph(layers, tuple(reversed(links)), output)


def random_graph(seed: int, *sizes: int, zeros: float = 0.2, skip: bool = False) -> ContributionGraph:
    """Random messages between random layers, some of them zero; with `skip`, also past a layer."""
    rng = np.random.default_rng(seed)

    def messages(n_target: int, n_source: int) -> np.ndarray:
        return rng.normal(size=(n_target, n_source)) * (rng.random((n_target, n_source)) > zeros)

    sizes = (*sizes, 1)
    between = {(k, k + 1): messages(sizes[k + 1], sizes[k]) for k in range(len(sizes) - 1)}
    if skip and len(sizes) > 2:
        between[0, 2] = messages(sizes[2], sizes[0])
    names = ["input", *(f"fc{k}" for k in range(1, len(sizes) - 1)), "output"]
    contributions = [rng.normal(size=size) for size in sizes]
    return flowing(names, contributions, between, float(contributions[-1][0]))


def all_paths(graph: ContributionGraph) -> dict[tuple[tuple[int, int], ...], float]:
    """Every path with its share, by walking the whole tree."""
    found = {}

    def walk(units, share):
        layer, unit = units[-1]
        if graph.layers[layer].is_input:
            found[units] = share
            return
        for link in graph.into(layer):
            for source in range(link.share.shape[1]):
                flow = graph.layers[layer].share[unit]
                if flow > 0 and link.share[unit, source] > 0:
                    walk((*units, (link.source, source)), share * link.share[unit, source] / flow)

    walk(((len(graph.layers) - 1, 0),), 1.0)
    return found


def with_bundles(graph: ContributionGraph, place: int, kept: int) -> ContributionGraph:
    """Bundle the units of a layer but the first ones, as layers without a closed form do."""
    layer = graph.layers[place]
    n = len(layer)

    def gathered(values, axis):
        return np.concatenate(
            [values.take(range(kept), axis), values.take(range(kept, n), axis).sum(axis, keepdims=True)], axis
        )

    links = []
    for link in graph.links:
        found = {"contribution": link.contribution, "share": link.share}
        if link.source == place:
            found["bundled_share"] = link.share[:, kept:].max(1)
        if place in (link.source, link.target):
            axis = 1 if link.source == place else 0
            found |= {key: gathered(found[key], axis) for key in ("contribution", "share")}
        links.append(replace(link, **found))
    bundled = replace(
        layer,
        **{key: gathered(getattr(layer, key), 0) for key in ("contribution", "share", "absorbed")},
        numbers=np.array([*range(kept), FOR]), counts=np.array([*[1] * kept, n - kept]), every_share=layer.share,
    )  # fmt: skip
    layers = list(graph.layers)
    layers[place] = bundled
    return ContributionGraph(tuple(layers), tuple(links), graph.output)


graphs = st.builds(
    lambda seed, sizes, zeros, skip: random_graph(seed, *sizes, zeros=zeros, skip=skip),
    st.integers(0, 100_000),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.3, 0.8]),
    st.booleans(),
)
