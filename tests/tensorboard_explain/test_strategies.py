"""The view of strategies, of real runs: a point for each sample, what is selected, two steps and two runs."""

import re
from importlib import resources

import pytest

from tests.tensorboard_explain.browser import Tab
from tests.tensorboard_explain.strategy_logs import TAG
from tests.tensorboard_explain.test_accessibility import SCRIPT

MONITOR = {"monitor": TAG.replace("/", "%2F")}
A, B = ".scatters > :nth-child(1)", ".scatters > :nth-child(2)"


def opened(tab: Tab, run: str = "marked", **state: str) -> Tab:
    return tab.open(run=run, **MONITOR, **state)


def places(tab: Tab, plot: str, strategy_colour: str) -> list[float]:
    """Return the horizontal places of the points of a colour."""
    script = """(all, colour) => all
        .filter((g) => g.querySelector('.symbol').style.getPropertyValue('--own') === colour)
        .map((g) => Number(/translate\\(([\\d.]+)/.exec(g.getAttribute('transform'))[1]))"""
    return tab.frame.locator(f"{plot} .point").evaluate_all(script, strategy_colour)


def test_it_opens_on_the_class_of_two_strategies_with_a_point_for_each_sample(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab)
    assert tab.field("Class").input_value() == "1"
    assert tab.texts("select[id] option:checked")[0] == "marked"
    assert "2 strategies in 60 samples (80 %, 20 %" in tab.text(".strategies .note")
    assert tab.count(f"{A} .point") == 60
    first, second = places(tab, A, "#0b6bb8"), places(tab, A, "#b3530a")
    assert (len(first), len(second)) == (48, 12)
    assert max(first) < min(second)
    shapes = tab.frame.locator(f"{A} .symbol").evaluate_all(
        "(all) => new Set(all.map((p) => p.getAttribute('d'))).size"
    )
    assert shapes == 2  # besides their colours
    assert tab.frame.locator(f"{A} .axis.x").text_content() == "towards strategy 2, on a line drawn without the sample"


def test_a_strategy_is_told_in_words_and_as_its_mean_map(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab)
    assert tab.count(".strategy-card") == 2
    words = tab.text(".strategy-card:nth-child(2)")
    for said in (
        "20 % (12 of 60)",
        "the upper left corner",
        "since",
        "accuracy",
        "of its relevance",
        "separation",
        "stability",
    ):
        assert said in words
    red, green, blue = tab.pixel(".strategy-card:nth-child(2) canvas", 4, 4)
    assert red > 1.5 * max(green, blue)  # the mark speaks for the class
    assert tab.count(".side .chart svg .line") == 4


def test_the_samples_of_a_strategy_are_shown_with_their_places_in_the_data(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab)
    assert tab.count(".strategy-samples .card") == 8  # the most typical ones of each
    tab.frame.locator(".strategy-card:nth-child(2) button").click()
    tab.frame.wait_for_selector(".point.selected")
    assert tab.count(f"{A} .point.selected") == 12
    assert tab.count(".strategy-samples .card") == 12
    assert "12 of 60 selected. Accuracy: " in tab.text(".strategies .controls .note")
    tab.frame.locator(".strategies details summary").click()
    places_ = [int(place) for place in tab.text(".strategies details code").split(", ")]
    # the marked ones of the training data, which begins at the 40th image: the last ones of class 1
    assert all(place >= 240 - 48 - 40 for place in places_)
    assert "strategy=2" in tab.page.url
    tab.frame.get_by_text("Clear the selection").click()
    tab.frame.wait_for_selector(".point.selected", state="detached")
    assert "strategy=" not in tab.page.url


def test_points_are_selected_by_dragging_and_by_a_click(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab)
    box = tab.frame.locator(f"{A} svg.scatter").bounding_box()
    mouse = tab.page.mouse
    mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 4)
    mouse.down()
    mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"])
    mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] - 4)
    mouse.up()
    tab.frame.wait_for_selector(".point.selected")
    assert tab.count(f"{A} .point.selected") == 12
    assert tab.texts(".strategy-samples h4") == ["Strategy 2: 12 selected"]
    point = tab.frame.locator(f"{A} .point:not(.selected)").first.bounding_box()
    tab.page.keyboard.down("Shift")
    mouse.click(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    tab.page.keyboard.up("Shift")
    tab.frame.wait_for_function("document.querySelectorAll('.point.selected').length === 13")
    assert tab.texts(".strategy-samples h4") == ["Strategy 1: 1 selected", "Strategy 2: 12 selected"]


def test_points_are_reached_and_selected_by_keys(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab)
    tab.frame.locator(f"{A} .point[tabindex='0']").focus()
    for _ in range(60):
        tab.page.keyboard.press("ArrowRight")
    tab.page.keyboard.press("Enter")
    tab.frame.wait_for_selector(".point.selected")
    assert tab.frame.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    assert "strategy 2" in tab.frame.evaluate("document.activeElement.getAttribute('aria-label')")
    assert (
        tab.page.url.count("&p.explain.a=") == 0
    )  # the arrow keys of the page move A; here they go from point to point
    tab.page.keyboard.press("Escape")
    tab.frame.wait_for_selector(".point.selected", state="detached")


def test_the_same_samples_are_found_at_two_steps(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab, b="0", strategy="2")
    assert tab.count(f"{A} .point.selected") == tab.count(f"{B} .point.selected") == 12
    n_at_b = int(re.search(r"B, step 0: (\d) strateg", tab.text(".strategies .note"))[1])
    assert tab.count(".strategy-card") == 2 + n_at_b
    # input, A, B and the difference
    assert tab.count(".strategy-samples .card:first-child .tile:not([hidden])") == 4
    selected = "(all) => all.map((g) => g.dataset.row)"
    rows = [tab.frame.locator(f"{plot} .point.selected").evaluate_all(selected) for plot in (A, B)]
    assert rows[0] == rows[1]


def test_another_run_of_the_same_samples_is_compared(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab, b="last", runb="seed 1", strategy="2")
    assert "A (marked), step 29" in tab.text(".strategies .note")
    assert "B (seed 1), step 29" in tab.text(".strategies .note")
    assert tab.count(f"{B} .point") == 60
    other = opened(strategy_tab, b="last", runb="words")
    assert "only those of A can be selected" in other.text(".strategies .note")
    assert other.count(f"{B} .point.selected") == 0


def test_a_class_of_one_strategy_and_what_is_not_there(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab, **{"class": "0"})
    assert tab.text(".strategies .note") == "1 strategy in 60 samples."
    assert tab.count(".strategy-card") == 1
    assert "separation" not in tab.text(".strategy-card")
    gone = opened(strategy_tab, **{"class": "7", "strategy": "9"})
    assert "There is no class 7 in this record" in gone.text(".missing")
    assert "There is no strategy 9" in gone.text(".missing")


def test_texts_show_their_words(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab, run="words")
    (marked,) = [number for number, words in enumerate(tab.texts(".strategy-card"), 1) if "“marker”" in words]
    card = f".strategy-card:nth-child({marked})"
    assert tab.texts(f"{card} .bar-row .name")[0] == "marker"
    tab.frame.locator(f"{card} button").click()
    tab.frame.wait_for_selector(".point.selected")
    assert tab.count(".strategy-samples .card.text") == 12
    assert all("marker" in words for words in tab.texts(".strategy-samples .card.text"))


def test_a_sample_is_enlarged_and_put_back(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab)
    tab.frame.locator(".strategy-samples .card").first.click()
    tab.frame.wait_for_selector(".card.large")
    assert tab.count(".strategy-samples .card") == 1
    tab.frame.locator(".card.large").click()
    tab.frame.wait_for_selector(".card.large", state="detached")
    assert tab.count(".strategy-samples .card") == 8


def test_events_that_nobody_should_write_are_shown_as_far_as_they_go(strategy_tab: Tab) -> None:
    tab = opened(strategy_tab, run="hostile")
    assert tab.count(f"{A} .point") == 2
    assert "2 samples have no map" in tab.text(A)
    assert "onerror" in tab.text(".strategy-card")
    tab.frame.locator(".chart h3").first.click()
    for step in range(7, -1, -1):
        tab.page.keyboard.press("ArrowLeft")
        tab.drawn(f"{step}/")
        said = tab.frame.locator(".trouble").inner_text() if tab.count(".trouble:not([hidden])") else ""
        assert ("it holds no class" in said) == (step < 6), step
    assert not tab.frame.evaluate("window.top.hacked")
    assert tab.count("#explain img, #explain script") == 0


@pytest.mark.parametrize(("dark", "width"), [(False, 1400), (True, 380)])
def test_axe_core_finds_nothing(strategy_tab: Tab, dark: bool, width: int) -> None:
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    strategy_tab.page.set_viewport_size({"width": width, "height": 900})
    found: list[str] = []
    for state in ({"run": "marked", "b": "0", "strategy": "2"}, {"run": "words"}, {"run": "marked", "sample": "80"}):
        strategy_tab.open(dark=dark, **MONITOR, **state)
        strategy_tab.frame.evaluate(axe)
        found += [f"{state} {violation}" for violation in strategy_tab.frame.evaluate(SCRIPT)]
        size = strategy_tab.frame.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert size[0] <= size[1]
    assert not found, "\n".join(found)


def test_the_legend_names_the_marks_that_are_there(strategy_tab: Tab) -> None:
    said = " ".join(opened(strategy_tab).texts(".side .keys"))
    assert "◉ alert" in said
    assert "drift" not in said
