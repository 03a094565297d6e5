"""The left side of a path picture: the image with its patches, the features with their values, the words of a text."""

from lightning_explain.paths import PathNode
from lightning_explain.render.paths.node_places import INPUT_WIDTH, TOP
from lightning_explain.render.paths.scene import HALF, LETTERS, Scene, draw_node, row_of_word, write_node
from lightning_explain.render.sheet import GREY, SOFT, Sheet, sign_colour
from lightning_explain.render.text import fitting

IMAGE = 128
PATCH = HALF + 2


def patches_of(scene: Scene) -> list[PathNode]:
    """Return the patches that are drawn as nodes."""
    return [node for node in scene.nodes_of(scene.inputs[0]) if node.unit is not None]


def _outline(scene: Scene, node: PathNode, top: int) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a patch in the drawn image."""
    assert node.unit is not None
    assert scene.shown.image is not None
    y, x, height, width = scene.shown.boxes[node.unit]
    scale = IMAGE / max(scene.shown.image.shape[:2])
    return x * scale, top + y * scale, (x + width) * scale - 1, top + (y + height) * scale - 1


def draw_image(sheet: Sheet, scene: Scene, *, has_lines: bool = True) -> None:
    """Draw an image with its drawn patches outlined, and a copy of each patch as a node.

    Args:
        sheet: Where.
        scene: Of the graph.
        has_lines: Draw a line from each patch to its copy.
    """
    image = scene.shown.image
    assert image is not None
    scale = IMAGE / max(image.shape[:2])
    width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
    at_top = TOP + (scene.layout.height - TOP - height) // 2
    sheet.picture(image, 0, at_top, width, height)
    for node in patches_of(scene):
        outline = _outline(scene, node, at_top)
        x, y = scene.place(node)
        if has_lines:
            sheet.line([(outline[2], (outline[1] + outline[3]) / 2), (x - PATCH, y)], GREY, 0.5)
        top, left, rows, columns = scene.shown.boxes[node.unit or 0]
        patch = image[top : top + rows, left : left + columns]
        sheet.picture(patch, x - PATCH, y - PATCH, 2 * PATCH, 2 * PATCH)
        sheet.frame((x - PATCH - 1, y - PATCH - 1, x + PATCH, y + PATCH), sign_colour(node.contribution), 2)
        sheet.frame(outline, sign_colour(node.contribution), 1.5)


def draw_inputs(sheet: Sheet, scene: Scene) -> None:
    """Draw the inputs: an image with its patches outlined and set out as nodes, or a node for each feature or word."""
    for block in scene.inputs:
        is_first = block is scene.inputs[0]
        for node in scene.nodes_of(block):
            if node.unit is None:
                if not (is_first and scene.shown.words):
                    draw_node(sheet, scene, node)
            elif not (is_first and scene.shown.image is not None):
                draw_node(sheet, scene, node)
    if scene.shown.image is not None:
        draw_image(sheet, scene)


def write_inputs(sheet: Sheet, scene: Scene) -> None:
    """Write names and values, all words of a text, and how many units are bundled."""
    words = scene.shown.words
    for block in scene.inputs:
        for node in scene.nodes_of(block):
            if not (block is scene.inputs[0] and words and node.unit is None):
                write_node(sheet, scene, node)
    drawn = {node.unit for node in scene.nodes_of(scene.inputs[0])}
    for place, word in enumerate(words):
        if word and place not in drawn:
            y = row_of_word(place, scene.shown, scene.layout)
            sheet.write(INPUT_WIDTH - 6, y, fitting(word, INPUT_WIDTH - 24, LETTERS), anchor="rm", fill=SOFT)
