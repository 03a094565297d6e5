"""Names and shares where there is little room: what tells them apart stays."""

from collections.abc import Sequence

from lightning_explain.paths import LayerBlock, PathNode
from lightning_explain.render.text import fitting, text_width


def percent(share: float) -> str:
    """Write a share with two digits.

    Example:
        >>> percent(0.416), percent(0.0312), percent(0.000104)
        ('42 %', '3.1 %', '0.01 %')
    """
    value = share * 100
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"


def short_number(value: float) -> str:
    """Write a signed number with two digits, a large one without decimals.

    Example:
        >>> short_number(0.4161), short_number(-1234.5)
        ('+0.42', '-1234')
    """
    return f"{value:+.2g}" if abs(value) < 10 else f"{value:+.0f}"


def cut_at_front(words: str, width: int, size: int) -> str:
    """Cut a line that is too long for `width` pixels at its front, where names of layers have what they share.

    Example:
        >>> cut_at_front("model.encoder.layers.11.attention", 60, 11)
        '….attention'
    """
    line = words
    while len(line) > 1 and text_width(line, size) > width:
        line = "…" + line.removeprefix("…")[1:]
    return line if line != "…" else fitting(words, width, size)


def short_names(names: Sequence[str], width: int, size: int) -> list[str]:
    """Return names that fit: whole if all do, else without the modules that they have in common, else cut at the front.

    Example:
        >>> short_names(["net.3.conv", "net.4.conv"], 70, 11), short_names(["net.3.conv", "net.4.conv"], 45, 11)
        (['net.3.conv', 'net.4.conv'], ['3.conv', '4.conv'])
    """
    if all(text_width(name, size) <= width for name in names):
        return list(names)
    n_common = 0
    parts = [name.split(".") for name in names]
    while len(parts) > 1 and all(len(own) > n_common + 1 and own[n_common] == parts[0][n_common] for own in parts):
        n_common += 1
    return [cut_at_front(".".join(own[n_common:]), width, size) for own in parts]


def name_in_block(node: PathNode, block: LayerBlock) -> str:
    """Return the part of a label that tells a unit apart from the others of its block.

    Example:
        >>> one, two = LayerBlock("net.4", ("net.4.c2",)), LayerBlock("net.4", ("net.4.c2", "net.4.down"))
        >>> node = PathNode("net.4.c2", 7, "net.4.c2 7", 0.0, 0.0)
        >>> name_in_block(node, one), name_in_block(node, two)
        ('7', 'c2 7')
    """
    if len(block.layers) == 1:
        return node.label.removeprefix(node.layer).strip()
    own, names = node.layer.split("."), [name.split(".") for name in block.layers]
    n_common = 0
    while all(len(name) > n_common + 1 and name[n_common] == own[n_common] for name in names):
        n_common += 1
    rest = node.label.removeprefix(node.layer)
    return node.label if rest == node.label else f"{'.'.join(own[n_common:])}{rest}"
