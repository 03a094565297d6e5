"""The sheet: smooth shapes where they should be, words last."""

import numpy as np
import pytest

from lightning_explain.render.sheet import BLUE, RED, Sheet, few_colours, ink_on, pale
from lightning_explain.render.text import fitting
from tests.render.paths.drawing import is_blue, is_red


def test_the_sheet():
    sheet = Sheet(40, 30)
    sheet.ribbon((0, 10), (40, 10), RED, 6)
    sheet.block(20, 22, (8, 4), BLUE, BLUE, 1)
    drawn = sheet.done().astype(int)
    assert drawn.shape == (30, 40, 3)
    assert is_red(drawn[:, 20]).sum() == pytest.approx(6, abs=1)
    assert is_blue(drawn[22]).sum() == pytest.approx(16, abs=1)
    sheet.write(20, 10, "word")
    assert (sheet.done() != drawn).any()
    assert ink_on((250, 250, 250)) != ink_on((10, 10, 10))
    assert pale(RED, 1.0) == RED and pale(RED, 0.0) == (255, 255, 255)
    assert fitting("a long name of a layer", 40, 11).endswith("…")
    noisy = np.random.default_rng(0).integers(0, 255, (50, 50, 3)).astype(np.uint8)
    assert len(np.unique(few_colours(noisy).reshape(-1, 3), axis=0)) <= 250
