"""Pictures come back from their PNG bit for bit, and small where they have few colours."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lightning_explain.log import png
from lightning_explain.log.png import KEPT, PALETTE_SIZE, png_bytes
from lightning_explain.render.colour import Picture


def picture_of(n_colours: int, *, seed: int = 0, height: int = 40, width: int = 50) -> Picture:
    """Exactly `n_colours` colours, in random places."""
    generator = np.random.default_rng(seed)
    numbers = generator.choice(1 << 24, size=n_colours, replace=False)
    colours = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1).astype(np.uint8)
    index = np.concatenate([np.arange(n_colours), generator.integers(0, n_colours, height * width - n_colours)])
    return colours[generator.permutation(index)].reshape(height, width, 3)


def opened(encoded: bytes) -> Image.Image:
    return Image.open(BytesIO(encoded))


@given(n_colours=st.sampled_from([1, 2, 3, 16, 255, 256, 257, 2000]), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_a_picture_comes_back_bit_for_bit(n_colours: int, seed: int) -> None:
    picture = picture_of(n_colours, seed=seed)
    found = np.asarray(opened(png_bytes(picture)).convert("RGB"))
    assert (found == picture).all()


@pytest.mark.parametrize(("n_colours", "mode"), [(1, "P"), (PALETTE_SIZE, "P"), (PALETTE_SIZE + 1, "RGB")])
def test_few_colours_get_a_palette(n_colours: int, mode: str) -> None:
    assert opened(png_bytes(picture_of(n_colours))).mode == mode


def test_a_palette_makes_the_file_smaller() -> None:
    picture = picture_of(33, height=200, width=200)
    plain = BytesIO()
    Image.fromarray(picture).save(plain, format="PNG")
    assert len(png_bytes(picture)) < 0.7 * len(plain.getvalue())


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
def test_pictures_of_any_form(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    assert (np.asarray(opened(png_bytes(picture)).convert("RGB")) == picture).all()


def test_a_cut_out_of_a_picture_is_encoded_as_it_looks() -> None:
    picture = picture_of(9)[::2, 5:40:3]
    assert (np.asarray(opened(png_bytes(picture)).convert("RGB")) == picture).all()


def test_the_same_picture_has_the_same_bytes_and_is_not_changed() -> None:
    picture = picture_of(20)
    before = picture.copy()
    assert png_bytes(picture) == png_bytes(before)
    assert (picture == before).all()


def test_a_picture_that_was_encoded_lately_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[Picture] = []
    encode = png._encoded
    monkeypatch.setattr(png, "_encoded", lambda picture: encoded.append(picture) or encode(picture))
    pictures = [picture_of(5, seed=100 + seed) for seed in range(KEPT + 1)]
    first = png_bytes(pictures[0])
    assert png_bytes(pictures[0].copy()) == png_bytes(pictures[0][:]) == first and len(encoded) == 1
    assert opened(png_bytes(pictures[0].reshape(50, 40, 3))).size == (40, 50) and len(encoded) == 2  # of another form
    for picture in pictures[1:]:
        assert (np.asarray(opened(png_bytes(picture)).convert("RGB")) == picture).all()
    assert len(png._kept) == KEPT and len(encoded) == KEPT + 2
    assert png_bytes(pictures[0]) == first and len(encoded) == KEPT + 3  # only so many are kept


def test_a_picture_that_was_changed_is_encoded_as_it_is_now() -> None:
    picture = picture_of(5, seed=200)
    png_bytes(picture)
    picture[0, 0] += 1
    assert (np.asarray(opened(png_bytes(picture)).convert("RGB")) == picture).all()
