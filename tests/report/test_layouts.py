"""Layouts of samples that the report knows nothing of but their names."""

from pathlib import Path

import pytest

from tests.report.reports import Element, assert_loads_nothing, reported, texts
from tests.tensorboard_explain import logs


def names_of(table: Element) -> list[str]:
    return texts([cell for cell in table.all("th") if cell.attributes.get("scope") == "row"])


def test_entities_are_listed_by_sample_under_their_names_without_padding(tmp_path: Path) -> None:
    logs.entities_run(tmp_path / "run")
    page = reported(tmp_path / "run", tmp_path)
    assert_loads_nothing(page)
    first, second = page.all("table", "features")[:2]  # of the first method
    # the strongest first
    assert names_of(first)[2:] == ["C 3", "C 0"]
    assert names_of(second) == ["數字", "O"]
    last = [float(row.all("td")[-1].text) for row in first.all("tr")[1:]]
    assert sorted(last) == pytest.approx([-1, 0, 0.5, 1], abs=0.02)
    # at the first step every sign was the other way round
    assert float(second.all("tr")[1].all("td")[-2].text) == pytest.approx(-1, abs=0.02)
    strip = second.all("tr")[1].all("img")[0].pixels()
    assert strip.shape[:2] == (1, 2)
    assert strip[0, 0, 2] > 200
    assert strip[0, 1, 0] > 200


def test_a_kind_of_input_that_is_not_known_is_shown_by_its_layout(tmp_path: Path) -> None:
    logs.newer_run(tmp_path / "run")
    page = reported(tmp_path / "run", tmp_path)
    assert len(page.all("table", "features")) == 4
    assert "no picture" not in page.text
