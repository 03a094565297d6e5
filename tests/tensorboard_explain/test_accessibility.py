"""axe-core finds nothing in the tab, light and dark, wide and narrow, whatever kind of record is shown."""

from importlib import resources

import pytest

from tests.tensorboard_explain.browser import Tab

SHOWN = [
    {"run": "a", "b": "0"},
    {"run": "a", "sample": "0"},
    {"run": "a", "b": "7", "runb": "b", "monitor": "explain%2Fneurons%2Ftab"},
    {"run": "a", "b": "7", "runb": "b", "monitor": "explain%2Fpath%2Ftab"},
    {"run": "faces", "b": "0", "layer": "relu", "monitor": "explain%2Fneurons%2Ftab"},
    {"run": "numbers"},
    {"run": "pieces"},
    {"run": "entities", "b": "0"},
    {"run": "gone"},
]
SCRIPT = """async () => (await axe.run(document, { resultTypes: ['violations'] })).violations
    .map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' | ' + n.failureSummary)}`)"""


@pytest.mark.parametrize(("dark", "width"), [(False, 1400), (True, 380)])
def test_axe_core_finds_nothing(pair_tab: Tab, dark: bool, width: int) -> None:
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    pair_tab.page.set_viewport_size({"width": width, "height": 900})
    found: list[str] = []
    for state in SHOWN:
        pair_tab.open(dark=dark, **state)
        pair_tab.frame.evaluate(axe)
        found += [f"{state} {violation}" for violation in pair_tab.frame.evaluate(SCRIPT)]
    assert not found, "\n".join(found)
