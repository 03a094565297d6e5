"""Blocks: layers that are shown together, because a network has more of them than can be read side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lightning_explain.paths.coarser import only_layers
from lightning_explain.paths.contribution_graph import ContributionGraph

MOST_BLOCKS = 6
"""Blocks between inputs and output: more columns than that cannot be read."""


@dataclass(frozen=True)
class LayerBlock:
    """Layers that are shown together.

    Attributes:
        name: What their names have in common: `encoder.3`, `encoder.3-5`, or the name of the only layer.
        layers: Their names.
    """

    name: str
    layers: tuple[str, ...]


Parts = tuple[str, ...]


def _runs(names: Sequence[Parts], depth: int) -> list[list[Parts]]:
    """Group neighbouring names that agree in so many parts."""
    groups: list[list[Parts]] = []
    for name in names:
        if groups and groups[-1][-1][:depth] == name[:depth]:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _common(names: Sequence[Parts]) -> Parts:
    """Return the parts in which all names agree from the front."""
    first, *others = names
    n_common = 0
    while n_common < len(first) and all(other[: n_common + 1] == first[: n_common + 1] for other in others):
        n_common += 1
    return first[:n_common]


def _name(group: Sequence[Parts], names: Sequence[Parts]) -> str:
    """Name a group among all names: by its module, or by the first and the last of those that it has a part of."""
    common = _common(group)
    inside = [name for name in names if name[: len(common)] == common]
    if common and len(inside) == len(group):
        return ".".join(common)
    ends = [part for name in (group[0], group[-1]) for part in name[len(common) :][:1]]
    return ".".join((*common, "-".join(dict.fromkeys(ends))))


def _halved(groups: list[list[Parts]], depth: int, most: int) -> list[list[Parts]]:
    """Merge neighbours with the same parent, the smallest first, until there are few enough or none are left."""
    groups = [list(group) for group in groups]
    while len(groups) > most:
        pairs = [
            (len(one) + len(other), place)
            for place, (one, other) in enumerate(pairwise(groups))
            if one[0][:depth] == other[0][:depth]
        ]
        if not pairs:
            return groups
        _, place = min(pairs)
        groups[place : place + 2] = [groups[place] + groups[place + 1]]
    return groups


def blocks_of(names: Sequence[str], most: int = MOST_BLOCKS) -> list[LayerBlock]:
    """Merge layers into blocks along the module tree, in the order in which they run.

    Layers stay single while there are few. Of more, those of one module make a block, at the deepest level of the tree
    that has few enough; where that level says little (all layers are in `blocks`), neighbours of the next one are
    merged evenly.

    Args:
        names: Of the layers between inputs and output, with dots as in `named_modules`.
        most: Blocks.

    Example:
        >>> names = [f"blocks.{i}.{layer}" for i in range(4) for layer in ("attn", "mlp")]
        >>> [block.name for block in blocks_of(names, most=4)], [block.name for block in blocks_of(names, most=2)]
        (['blocks.0', 'blocks.1', 'blocks.2', 'blocks.3'], ['blocks.0-1', 'blocks.2-3'])
    """
    if len(names) <= most:
        return [LayerBlock(name, (name,)) for name in names]
    parts = [tuple(name.split(".")) for name in names]
    depth = next(d for d in range(max(map(len, parts)), -1, -1) if len(_runs(parts, d)) <= most)
    groups = _runs(parts, depth)
    if 2 * len(groups) <= most:
        groups = _halved(_runs(parts, depth + 1), depth, most)
    return [LayerBlock(_name(group, parts), tuple(".".join(name) for name in group)) for group in groups]


def partitions(names: Sequence[str], most: int = MOST_BLOCKS) -> list[list[LayerBlock]]:
    """Return the ways to merge layers into blocks, from the finest with few enough blocks to a single one."""
    found: list[list[LayerBlock]] = []
    for n_blocks in range(most, 0, -1):
        blocks = blocks_of(names, n_blocks)
        if blocks and blocks not in found:
            found.append(blocks)
    return found or [[]]


def in_blocks(
    graph: ContributionGraph, blocks: Sequence[LayerBlock]
) -> tuple[ContributionGraph, tuple[LayerBlock, ...]]:
    """Merge a graph's layers into blocks: of a block stay the layers that feed others outside it.

    Layers between inputs and output that are in no block are removed, too. What is removed is passed through exactly
    (`without_layer`): a unit of a layer that stays then also carries the biases of those inside its block.

    Returns:
        The graph with the layers that stay, and the blocks with them, from the inputs on: each input and the output are
        blocks of their own.
    """
    graph = only_layers(graph, [name for block in blocks for name in block.layers])
    names = [layer.name for layer in graph.layers]
    block_of = {name: block.name for block in blocks for name in block.layers}
    ends = [(names[link.source], names[link.target]) for link in graph.links]
    leaving = {source for source, target in ends if block_of.get(source) != block_of.get(target)}
    kept = [tuple(name for name in block.layers if name in leaving) for block in blocks]
    parts = [[tuple(name.split(".")) for name in stay] for stay in kept if stay]
    every = [name for stay in parts for name in stay]
    shown = [LayerBlock(_name(stay, every), tuple(".".join(name) for name in stay)) for stay in parts]
    outer = [LayerBlock(name, (name,)) for name in names if name not in block_of]
    return only_layers(graph, [name for name in block_of if name in leaving]), (*outer[:-1], *shown, outer[-1])
