"""Pictures of a page: numbers out of bytes, colours of numbers, tiles out of sheets."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lightning_explain.render import sprites
from lightning_explain.report.pictures import (
    AGAINST,
    COLUMNS,
    FOR,
    RISE,
    SHARES,
    STEPS,
    UNDEFINED,
    ZERO,
    cut,
    opened,
    plain_picture,
    share_picture,
    signed_picture,
    values_of,
)


def rgba(png: bytes) -> np.ndarray:
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image.convert("RGBA"))


def test_bytes_mean_what_the_monitors_wrote() -> None:
    assert (ZERO, STEPS, COLUMNS) == (sprites.ZERO, sprites.STEPS, sprites.N_COLUMNS)
    tile = np.array([[0, 128, 160, 96, 144]], dtype=np.uint8)[..., None].repeat(3, axis=-1)
    np.testing.assert_array_equal(values_of(tile, 3.0), np.float32([[np.nan, 0, 3, -3, 1.5]]))


def test_tiles_are_cut_out_row_by_row_and_never_beyond_the_sheet() -> None:
    sheet = np.zeros((4, 24, 3), dtype=np.uint8)  # two rows of eight tiles of 2 x 3
    for index in range(16):
        sheet[index // 8 * 2 :, index % 8 * 3 : index % 8 * 3 + 3] = index + 1
    for index in range(16):
        tile = cut(sheet, (2, 3), index)
        assert tile is not None and tile.shape == (2, 3, 3) and set(tile.flatten().tolist()) == {index + 1}
    assert cut(sheet, (2, 3), 16) is None and cut(sheet, (2, 3), -1) is None
    assert cut(sheet, (5, 3), 0) is None


def test_positive_is_red_negative_blue_zero_transparent_and_undefined_grey() -> None:
    found = rgba(signed_picture(np.float32([[2, -2, 0, np.nan, 1, 4]]), 2.0))[0]
    assert found[0].tolist() == [*FOR, 255] and found[1].tolist() == [*AGAINST, 255]
    assert found[2, 3] == 0
    assert found[3].tolist() == list(UNDEFINED)
    assert found[4].tolist() == [*FOR, round(255 * 0.5**RISE)]
    assert found[5].tolist() == [*FOR, 255]  # beyond the full colour
    assert (rgba(signed_picture(np.zeros((2, 2), dtype=np.float32), 0.0))[..., 3] == 0).all()


def test_shares_go_from_dark_to_bright_through_their_stops() -> None:
    found = rgba(share_picture(np.float32([[0, 0.25, 0.5, 1, np.nan, 7]])))[0]
    stops = [SHARES[0], SHARES[1], SHARES[2], SHARES[4]]
    assert [tuple(pixel[:3]) for pixel in found[:4].tolist()] == stops
    assert found[4].tolist() == list(UNDEFINED) and tuple(found[5, :3].tolist()) == SHARES[4]


@pytest.mark.parametrize("colours", [True, False])
def test_pixels_come_back_as_they_were(colours: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    pixels = pixels if colours else pixels[..., :1].repeat(3, axis=-1)
    png = plain_picture(pixels)
    back = opened(png)
    assert back is not None
    np.testing.assert_array_equal(back, pixels)
    with Image.open(BytesIO(png)) as image:
        assert image.mode == ("RGB" if colours else "L")


def test_what_is_no_png_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    jpeg = BytesIO()
    Image.fromarray(pixels).save(jpeg, format="JPEG")
    assert opened(b"") is None and opened(jpeg.getvalue()) is None and opened(plain_picture(pixels)[:40]) is None
    monkeypatch.setattr("lightning_explain.report.pictures.MOST_PIXELS", 15)
    assert opened(plain_picture(pixels)) is None
