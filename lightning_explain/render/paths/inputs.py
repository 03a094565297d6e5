"""The left side of a path picture: the image with its patches, or the features with their values."""

from lightning_explain.paths import PathNode
from lightning_explain.render.paths.node_places import INPUT_WIDTH
from lightning_explain.render.paths.scene import RADIUS, Scene, draw_node, middle_of_image, write_node
from lightning_explain.render.sheet import GREY, SOFT, Sheet, sign_colour
from lightning_explain.render.text import INK, fitting

MARGIN = 16
ROOM = INPUT_WIDTH - MARGIN


def _shown_singly(scene: Scene) -> list[PathNode]:
    return [node for node in scene.graph.of_layer(scene.inputs[0]) if node.unit is not None]


def _outline(scene: Scene, node: PathNode) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a patch in the drawn image."""
    assert node.unit is not None
    assert scene.shown.image is not None
    y, x, height, width = scene.shown.boxes[node.unit]
    scale = ROOM / max(scene.shown.image.shape[:2])
    top = middle_of_image(scene, round(scene.shown.image.shape[0] * scale))
    return x * scale, top + y * scale, (x + width) * scale - 1, top + (y + height) * scale - 1


def _draw_patch(sheet: Sheet, scene: Scene, node: PathNode) -> None:
    """Draw a copy of the patch as a node, framed in the colour of its sign."""
    assert node.unit is not None
    assert scene.shown.image is not None
    x, y = scene.place(node)
    top, left, height, width = scene.shown.boxes[node.unit]
    patch = scene.shown.image[top : top + height, left : left + width]
    sheet.picture(patch, x - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS)
    if node.id in scene.ringed:
        sheet.frame((x - RADIUS - 4, y - RADIUS - 4, x + RADIUS + 3, y + RADIUS + 3), INK, 2)
    colour = sign_colour(node.contribution)
    sheet.frame((x - RADIUS - 2, y - RADIUS - 2, x + RADIUS + 1, y + RADIUS + 1), colour, 2)
    sheet.frame(_outline(scene, node), colour, 2)


def _draw_image(sheet: Sheet, scene: Scene) -> None:
    image = scene.shown.image
    assert image is not None
    scale = ROOM / max(image.shape[:2])
    width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
    sheet.picture(image, 0, middle_of_image(scene, height), width, height)
    for node in _shown_singly(scene):
        _, top, right, bottom = _outline(scene, node)
        x, y = scene.place(node)
        sheet.line([(right, (top + bottom) / 2), (x - RADIUS, y)], GREY, 0.5)
    for node in _shown_singly(scene):
        _draw_patch(sheet, scene, node)


def draw_inputs(sheet: Sheet, scene: Scene) -> None:
    """Draw the inputs: an image with its patches outlined and set out as nodes, or a node for each feature."""
    is_image = scene.shown.image is not None
    if is_image:
        _draw_image(sheet, scene)
    for layer in scene.inputs:
        for node in scene.graph.of_layer(layer):
            if node.unit is None or not is_image:
                draw_node(sheet, scene, node)


def write_inputs(sheet: Sheet, scene: Scene) -> None:
    """Write the features' names and values, and how many units are bundled."""
    for layer in scene.inputs:
        for node in scene.graph.of_layer(layer):
            if node.unit is None:
                write_node(sheet, scene, node)
            elif scene.shown.image is None:
                _write_feature(sheet, scene, node)


def _write_feature(sheet: Sheet, scene: Scene, node: PathNode) -> None:
    assert node.unit is not None
    x, y = scene.place(node)
    right = x - RADIUS - 5
    has_value = bool(scene.shown.values) and node.layer == scene.inputs[0]
    sheet.write(right, y - (6 if has_value else 0), fitting(node.label, right, 11), anchor="rm")
    if has_value:
        sheet.write(right, y + 7, scene.shown.values[node.unit], anchor="rm", size=10, fill=SOFT)
