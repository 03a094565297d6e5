"""Cards of units in the Explain tab, in headless Chromium: exemplars, heatmaps, accuracy without it, two steps."""

import pytest

from tests.tensorboard_explain.browser import Tab
from tests.tensorboard_explain.logs import HTML

MONITOR = "explain%2Fneurons%2Ftab"
GALLERY = ".unit-gallery button"


def opened(tab: Tab, **state: str) -> Tab:
    return tab.open(run="faces", monitor=MONITOR, **state)


def test_a_neuron_is_shown_by_its_exemplars_with_its_own_heatmap(tab: Tab) -> None:
    opened(tab, a="10", layer="relu", neuron="3")
    assert tab.texts(f"{GALLERY} > span:first-of-type") == ["1", "3"]
    assert tab.texts(".detail .unit-exemplar figcaption") == ["dog\n3.00", "cat\n2.00"]
    crop, heat = (
        ".detail .unit-exemplar:first-child canvas:nth-of-type(1)",
        ".detail .unit-exemplar:first-child .signed canvas",
    )
    assert tab.pixel(crop, 0, 0)[0] == 191 and tab.pixel(crop, 1, 0) == [0, 0, 0]
    red, neither, blue = (tab.pixel(heat, x, y) for x, y in ((0, 0), (1, 0), (2, 1)))
    assert red[0] > red[2] + 60 and blue[2] > blue[0] + 60 and max(neither) < 40
    said = " ".join(tab.texts(".detail .unit-said"))
    assert "exclusive to cat" in said and "accuracy of cat: −50 ± 26 points" in said
    assert "full colour 2.00" in tab.text(".detail .unit-what")
    assert tab.texts(".detail .without tbody tr")[0].split("\t")[:2] == ["cat", "75 %"]


def test_no_changed_sample_is_reported_as_that_and_a_unit_without_crops_by_its_numbers(tab: Tab) -> None:
    opened(tab, layer="relu", neuron="1")
    assert "no probe sample changes (each class ± 17 points)" in " ".join(tab.texts(".detail .unit-said"))
    assert "no proof" in tab.text(".detail .without .note")
    opened(tab, layer="bare", neuron="2")
    assert tab.count(GALLERY) == 0
    assert "are of cat (2), dog; no crops" in tab.text(".detail .unit-what")
    assert tab.texts(".detail .unit-rate")[0].startswith("cat: ")


def test_a_card_opens_on_hover_closes_after_it_and_shows_two_steps_side_by_side(tab: Tab) -> None:
    opened(tab, layer="relu", b="0")  # A is the last step, whose exemplars stand in the record before
    tab.frame.locator(GALLERY).nth(1).hover()
    tab.frame.wait_for_selector(".unit-popover")
    assert tab.texts(".unit-popover .step-letter") == ["A", "B"]
    left, right = (tab.frame.locator(".unit-popover .unit-step").nth(i).bounding_box() for i in (0, 1))
    assert left is not None and right is not None and left["y"] == right["y"] and left["x"] < right["x"]
    shown = [tab.frame.locator(".unit-popover .unit-step").nth(i).locator("canvas").first for i in (0, 1)]
    assert [c.evaluate("c => c.getContext('2d').getImageData(0, 0, 1, 1).data[0]") for c in shown] == [191, 128]
    tab.page.mouse.move(2, 2)
    tab.frame.wait_for_selector(".unit-popover", state="detached")
    tab.frame.locator(GALLERY).nth(1).focus()
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Shift+Tab")
    tab.frame.wait_for_selector(".unit-popover")
    tab.page.keyboard.press("Escape")
    tab.frame.wait_for_selector(".unit-popover", state="detached")
    tab.frame.locator(GALLERY).nth(1).click()
    tab.frame.wait_for_selector(".detail h3:text-is('Neuron 3 of relu')")


@pytest.mark.parametrize("layer", ["text", "wave", "table"])
def test_words_windows_and_features_stand_for_what_is_no_picture(tab: Tab, layer: str) -> None:
    opened(tab, layer=layer)
    if layer == "text":
        assert tab.texts(".detail .token") == ["good", HTML[:23] + "…", "film"]
        ground = "w => getComputedStyle(w).backgroundColor"
        colours = [tab.frame.locator(".detail .token").nth(i).evaluate(ground) for i in range(3)]
        assert colours == ["rgb(103, 0, 31)", "rgb(5, 48, 97)", "rgb(247, 247, 247)"]
    elif layer == "wave":
        points = tab.frame.locator(".detail polyline").get_attribute("points")
        assert points is not None and len(points.split()) == 32
    else:
        assert tab.texts(".detail .unit-bars .name") == ["age = 0.1", HTML, "dose"]
    assert tab.frame.evaluate("() => window.top.hacked === undefined")


def test_on_a_narrow_page_nothing_sticks_out(tab: Tab) -> None:
    tab.page.set_viewport_size({"width": 380, "height": 800})
    opened(tab, layer="relu", b="0", dark=True)
    tab.frame.locator(GALLERY).first.hover()
    tab.frame.wait_for_selector(".unit-popover")
    assert tab.frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = tab.frame.locator(".unit-popover").bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 380
