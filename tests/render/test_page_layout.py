"""The frame of a picture: names in words, colour scales, the arrangement of cells."""

import torch

from lightning_explain.render.modalities.image import (
    colour_scale,
)
from lightning_explain.render.page_layout import in_words


def test_names_are_parted_at_capitals() -> None:
    assert in_words("SmoothGrad") == "Smooth Grad"
    assert in_words("LRP") == "LRP"
    assert in_words("GradCAM") == "Grad CAM"
    assert in_words("ours") == "ours"


def test_the_scale_is_the_quantile_of_all_maps_and_no_outlier() -> None:
    maps = torch.full((10, 10, 10), -2.0)
    maps[0, 0, 0] = 1000
    assert colour_scale(maps) == 2
    assert colour_scale(torch.zeros(1, 2, 2)) == 0
