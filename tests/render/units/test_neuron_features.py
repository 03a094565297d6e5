"""What feeds the neurons of a class, as small heatmaps and as a table."""

import torch

from lightning_explain.render.colour import signed_colours
from lightning_explain.render.modalities.image import (
    colour_scale,
)
from lightning_explain.render.units.neuron_features import fed_images_picture, fed_table_picture


def test_fed_images_are_signed_and_in_one_scale() -> None:
    maps = torch.zeros(3, 8, 8)
    maps[0, 2, 3], maps[1, 4, 4] = 2.0, -1.0
    picture = fed_images_picture(
        torch.tensor([0, 0, 1]), torch.tensor([5, 7, 9]), maps, class_names=["cat", "dog"], title="t"
    )
    colours = {tuple(c) for c in picture.reshape(-1, 3)}
    scale = colour_scale(maps)
    assert tuple(signed_colours(torch.tensor([2.0]), scale)[0]) in colours
    assert tuple(signed_colours(torch.tensor([-1.0]), scale)[0]) in colours
    wide = fed_images_picture(
        torch.arange(40) // 4, torch.arange(40), torch.randn(40, 64, 64), class_names=["n"] * 10, title="t"
    )
    assert wide.shape[1] <= 720


def test_fed_tables_show_the_strongest_features_and_grey_for_what_was_not_kept() -> None:
    features = torch.tensor([[0, 3], [3, 1]])
    values = torch.tensor([[1.0, -2.0], [0.5, 0.1]])
    picture = fed_table_picture(
        torch.tensor([0, 1]),
        torch.tensor([4, 2]),
        features,
        values,
        name_of=lambda index: f"feature {index}",
        class_names=["cat", "dog"],
        title="t",
    )
    colours = {tuple(c) for c in picture.reshape(-1, 3)}
    scale = colour_scale(values)
    for value in (1.0, -2.0, 0.5, 0.1):
        assert tuple(signed_colours(torch.tensor([value]), scale)[0]) in colours
    assert (160, 160, 160) in colours
    wide = fed_table_picture(
        torch.arange(80) // 4,
        torch.arange(80),
        torch.arange(20).expand(80, 20),
        torch.randn(80, 20),
        name_of=lambda index: f"a feature with a long name {index}",
        class_names=[f"class {i}" for i in range(20)],
        title="t",
    )
    assert wide.shape[1] <= 720
