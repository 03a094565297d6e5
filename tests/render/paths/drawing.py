"""Path graphs to draw, and which pixels are red or blue."""

from typing import Any

from lightning_explain.paths import PathGraph, path_graph
from lightning_explain.render.paths import path_picture
from tests.paths.graphs import random_graph


def graph(seed: int = 1, *sizes: int) -> PathGraph:
    whole = random_graph(seed, *(sizes or (4, 20, 6)))
    names = [[f"feature {unit}" for unit in range(len(whole.layers[0]))]]
    return path_graph(whole, input_names=names, output_name="cat")


def draw(found: PathGraph, **options: Any) -> Any:
    return path_picture(found, title="A title", output_lines=["cat", "score 1.2", "p 98 %"], **options).astype(int)


def is_red(picture: Any) -> Any:
    return (picture[..., 0] - picture[..., 2] > 60) & (picture[..., 0] > 150)


def is_blue(picture: Any) -> Any:
    return (picture[..., 2] - picture[..., 0] > 60) & (picture[..., 2] > 120)
