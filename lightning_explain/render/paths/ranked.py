"""Units ranked in each block, for a decision that no few ways carry."""

from dataclasses import replace

from lightning_explain.paths import LayerBlock, PathGraph, PathNode
from lightning_explain.render.paths.inputs import draw_image
from lightning_explain.render.paths.node_labels import percent
from lightning_explain.render.paths.node_places import INPUT_WIDTH, ROW, TOP, is_input
from lightning_explain.render.paths.scene import LETTERS, Scene
from lightning_explain.render.sheet import SOFT, Sheet, pale, sign_colour
from lightning_explain.render.text import fitting, text_width

BAR = 12
MOST_ROWS = 5
"""Units of a block in the picture; the Explain tab shows all that are in the graph."""

GAP = 10
SHARE = 42
"""Room for a share behind the longest bar."""


def first_ranked(graph: PathGraph) -> PathGraph:
    """Keep the units of each block that are drawn: those that carry most, and the output."""
    kept = {node.id for node in graph.of_layer(graph.layers[-1])}
    for block in graph.blocks[:-1]:
        singles = [n for layer in block.layers for n in graph.of_layer(layer) if n.unit is not None]
        kept |= {node.id for node in sorted(singles, key=lambda node: -node.share)[:MOST_ROWS]}
    return replace(graph, nodes=tuple(node for node in graph.nodes if node.id in kept), edges=())


def ranked(scene: Scene, block: LayerBlock) -> list[PathNode]:
    """Return a block's units, those that carry most first."""
    return sorted(scene.nodes_of(block), key=lambda node: -node.share)


def _blocks(scene: Scene) -> list[LayerBlock]:
    """Return the blocks that are ranked: of an image the patches are outlined instead."""
    return [
        block
        for block in scene.graph.blocks[:-1]
        if not (scene.shown.image is not None and is_input(block) and block is scene.inputs[0])
    ]


def _rows(scene: Scene, block: LayerBlock) -> list[tuple[PathNode, int, int, int]]:
    """Return each node of a block with its left end, its height, and the room for its bar."""
    nodes = ranked(scene, block)
    singles = [scene.names[node.id] for node in nodes if node.unit is not None]
    column = scene.layout.columns[block.name]
    room = scene.layout.step - GAP
    left = 0 if is_input(block) else column - room // 2
    words = min(max([text_width(name, LETTERS) for name in singles], default=0) + 5, room // 2 + 10 * is_input(block))
    return [(node, left, TOP + ROW * place + ROW // 2, words) for place, node in enumerate(nodes)]


def _first(scene: Scene, block: LayerBlock) -> PathNode:
    """Return the unit whose share is written: the other bars are read off it."""
    return ranked(scene, block)[0]


def _bar(scene: Scene, block: LayerBlock, node: PathNode, words: int) -> float:
    """Return the length of a unit's bar."""
    largest = max([each.share for each in scene.graph.nodes[:-1] if each.unit is not None], default=0.0)
    room = (INPUT_WIDTH if is_input(block) else scene.layout.step) - GAP - words - SHARE
    return max(1.0, room * node.share / largest) if largest > 0 else 1.0


def draw_ranked(sheet: Sheet, scene: Scene) -> None:
    """Draw a bar for each single unit, as long as its share of what passes its block, and the image."""
    for block in _blocks(scene):
        for node, left, y, words in _rows(scene, block):
            half = _bar(scene, block, node, words) / 2
            colour = pale(sign_colour(node.contribution), 0.7)
            sheet.block(left + words + half, y, (half, BAR / 2), colour, colour, 1)
    if scene.shown.image is not None:
        draw_image(sheet, scene, has_lines=False)


def write_ranked(sheet: Sheet, scene: Scene) -> None:
    """Write the units' names and shares."""
    for block in _blocks(scene):
        for node, left, y, words in _rows(scene, block):
            sheet.write(left, y, fitting(scene.names[node.id], words, LETTERS), anchor="lm")
            if node is _first(scene, block):
                end = left + words + _bar(scene, block, node, words) + 4
                sheet.write(end, y, percent(node.share), anchor="lm", fill=SOFT)
