"""Steps of two runs beside each other, and what is said where there is no such step, run or monitor."""

import math

import pytest

from tests.tensorboard_explain.browser import Tab
from tests.tensorboard_explain.pair_logs import NEWEST, RATES, VALUES

NEURONS, PATHS = "explain%2Fneurons%2Ftab", "explain%2Fpath%2Ftab"


def cosine_distance(one: list[float], other: list[float]) -> float:
    product = sum(x * y for x, y in zip(one, other, strict=True))
    return 1 - product / math.sqrt(sum(x * x for x in one) * sum(y * y for y in other))


def test_the_tab_opens_on_the_newest_run_and_stays_there(pair_tab: Tab) -> None:
    pair_tab.open()
    assert pair_tab.field("Run").input_value() == NEWEST
    assert f"p.explain.run={NEWEST}" in pair_tab.page.url
    assert pair_tab.count(".missing:visible") == 0


def test_a_step_of_another_run_is_shown_beside_this_one(pair_tab: Tab) -> None:
    pair_tab.open(run="a", a="5", b="7", runb="b", scale="own")
    assert pair_tab.text("#explain .row.b .step-words") == "step 7 · epoch 0"
    tiles = ".card[data-sample='0'] .tile:nth-child"
    red, blue = [103, 0, 31], [5, 48, 97]
    # at A 1, 2, 0, -1 and at B 1, 0, 2, -1: the difference is 0, 2, -2, 0, in a scale of 2
    assert pair_tab.pixel(f"{tiles}(2) canvas", 1, 0) == red and pair_tab.pixel(f"{tiles}(3) canvas", 0, 1) == red
    assert pair_tab.pixel(f"{tiles}(4) canvas", 1, 0) == red and pair_tab.pixel(f"{tiles}(4) canvas", 0, 1) == blue
    said = pair_tab.text(".between .note")
    distance, error = (float(said.split()[i].rstrip(",")) for i in (0, 2))
    expected = cosine_distance(VALUES["a", 5], VALUES["b", 7])
    assert abs(distance - expected) < error < 0.1 and "A: a, step 5; B: b, step 7" in said
    assert pair_tab.texts(".between tbody th") == ["dog", "cat"] or pair_tab.texts(".between tbody th") == [
        "cat",
        "dog",
    ]
    legends = pair_tab.texts(".chart-legend")
    assert "B, b: all samples" in legends[0] and "B, b: mean" in legends[1]
    pair_tab.frame.locator(".run-b").select_option("")
    pair_tab.drawn("5/5")
    assert "p.explain.runb" not in pair_tab.page.url and "B, b" not in pair_tab.texts(".chart-legend")[0]


def test_runs_of_different_probes_are_shown_without_a_difference(pair_tab: Tab) -> None:
    pair_tab.open(run="a", a="5", b="5", runb="c")
    assert "The probes differ (fingerprints" in pair_tab.text(".attribution .note")
    assert "The probes differ" in pair_tab.text(".between .note") and pair_tab.count(".between table:visible") == 0
    assert pair_tab.texts(".run-title") == ["A: a, step 5", "B: c, step 5"]
    assert pair_tab.count(".card") == 6 and pair_tab.count(".cards.compared") == 0


@pytest.mark.parametrize(
    ("monitor", "state", "said", "steps"),
    [
        (NEURONS, {"a": "5", "b": "0"}, "B: neurons has no record of step 0 in run a; B stands at step 5.", "5/5"),
        (NEURONS, {"a": "0"}, "A: neurons has no record of step 0 in run a; A stands at step 5.", "5/"),
        (PATHS, {"a": "5", "b": "3"}, "B: path has no record of step 3 in run a; B stands at step 5.", "5/5"),
        ("", {"a": "5", "b": "4"}, "B: attribution has no record of step 4 in run a; B stands at step 0.", "5/0"),
        ("", {"a": "5", "b": "5", "runb": "b"}, "B: attribution has no record of step 5 in run b; B stands at step 0.",
         "5/0"),
        ("", {"a": "5", "b": "x"}, "B: attribution has no record of “x” in run a; B stands at step 5.", "5/5"),
    ],
)  # fmt: skip
def test_a_step_without_a_record_is_said_and_never_shown_as_another(
    pair_tab: Tab, monitor: str, state: dict[str, str], said: str, steps: str
) -> None:
    pair_tab.open(run="a", monitor=monitor, **state)
    pair_tab.drawn(steps)
    assert pair_tab.text(".missing") == said
    for letter, step in zip("ab", steps.split("/"), strict=True):
        assert not step or pair_tab.text(f".row.{letter} .step-words").startswith(f"step {step}")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"run": "gone"}, "There is no run “gone” here (any more); this is b, the newest one."),
        ({"run": "a", "monitor": "explain%2Fmine%2Ftab"}, "Run a has no monitor “mine”; this is attribution."),
        ({"run": "a", "b": "last", "runb": "gone"}, "There is no run “gone” here (any more), so nothing is compared"),
        ({"run": "a", "monitor": NEURONS, "b": "last", "runb": "c"}, "Run c has no monitor to compare with neurons."),
        ({"run": "a", "class": "77"}, "There is no sample of class 77 in this record."),
        ({"run": "a", "sample": "9"}, "There is no sample 10 in this record."),
        ({"run": "a", "method": "Mine"}, "There are no attributions by “Mine” in this record."),
        ({"run": "a", "monitor": NEURONS, "layer": "gone"}, "There is no layer “gone” in this record"),
        ({"run": "a", "monitor": NEURONS, "neuron": "99"}, "has no neuron 99."),
        ({"run": "a", "monitor": PATHS, "graph": "gone"}, "There is no path of “gone” in this record"),
    ],
)
def test_a_link_to_what_is_gone_says_so(pair_tab: Tab, state: dict[str, str], said: str) -> None:
    pair_tab.open(**state)
    assert said in pair_tab.text(".missing")
    if "run" in state and state.get("runb") == "gone":
        assert pair_tab.count(".tile:nth-child(3):visible") == 0


def test_neurons_of_two_runs_have_matrices_of_their_own_by_the_names_of_classes(pair_tab: Tab) -> None:
    pair_tab.open(run="a", monitor=NEURONS, a="5", b="7", runb="b")
    assert pair_tab.count(".matrix") == 2  # no difference: their neurons are not the same
    assert "A neuron of one run is not the neuron of the same number in another one" in pair_tab.text(".neurons .note")
    pair_tab.frame.locator(".matrix").nth(1).hover(position={"x": 4, "y": 4})
    dog, cat = RATES["b"][1], RATES["b"][0]  # numbered the other way round there
    shown = pair_tab.texts(".matrices .reading span")
    assert shown == [f"dog {dog[0]:.0%}".replace("%", " %"), f"cat {cat[0]:.0%}".replace("%", " %")]
    pair_tab.frame.locator(".matrix").nth(1).click(position={"x": 4, "y": 4})
    pair_tab.frame.wait_for_selector(".detail h3:text-is('B, b: neuron 0 of net.encoder.last.relu-1')")
    assert pair_tab.texts(".layers small")  # the layers' figures do compare


def test_paths_of_two_runs_stand_side_by_side_without_edges_won_and_lost(pair_tab: Tab) -> None:
    pair_tab.open(run="a", monitor=PATHS, a="5", b="7", runb="b")
    assert pair_tab.texts(".path-block h3") == ["A a, step 5: class setosa", "B b, step 7: class setosa"]
    assert pair_tab.count(".edge.won") == pair_tab.count(".edge.lost") == 0
    assert "edges are not compared" in pair_tab.text(".caveat")
