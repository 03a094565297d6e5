"""Random contribution graphs, and their paths by enumeration."""

import numpy as np
from hypothesis import strategies as st

from lightning_explain.paths.contribution_graph import ContributionGraph, flowing


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


graphs = st.builds(
    lambda seed, sizes, zeros, skip: random_graph(seed, *sizes, zeros=zeros, skip=skip),
    st.integers(0, 100_000),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.3, 0.8]),
    st.booleans(),
)
