"""Units on the report's page by their exemplars, read from the events that a monitor writes."""

from pathlib import Path

import numpy as np

from lightning_explain.report.reading import read_runs
from lightning_explain.report.sections.unit_section import exemplar_event, under_heat, unit_picture
from tests.report.reports import reported, texts
from tests.tensorboard_explain import unit_logs
from tests.tensorboard_explain.logs import HTML


def test_units_are_shown_with_crops_heatmaps_and_the_accuracy_without_them(tmp_path: Path) -> None:
    unit_logs.faces_run(tmp_path / "run")
    page = reported(tmp_path / "run", tmp_path)
    tables = {t.all("caption")[0].text: t for t in page.all("table", "units")}
    relu = next(t for name, t in tables.items() if name.startswith("Neurons of relu by what excites them, at step 10"))
    rows = relu.all("tbody")[0].all("tr")
    assert [row.all("th")[0].text for row in rows] == ["1", "3"]
    assert [texts(row.all("td"))[-1] for row in rows] == [
        "no probe sample changes (± 17 points)",
        "cat: -50 ± 26 points",
    ]
    assert texts(rows[1].all("figcaption")) == ["dog 3", "cat 2"]
    crop, heat = (image.pixels() for image in rows[1].all("img")[:2])
    assert crop[0, 0, :3].tolist() == [191] * 3 and crop[1, 2, :3].tolist() == [0] * 3
    assert heat[0, 0, 0] > heat[0, 0, 2] + 60 and heat[1, 2, 2] > heat[1, 2, 0] + 60
    said = " ".join(t.text for t in tables.values())
    assert "good +2" in said and f"{HTML[:23]}… -2" in said and len(tables) == 4
    assert not page.all("script")


def test_a_unit_is_found_by_the_layer_that_feeds_it(tmp_path: Path) -> None:
    unit_logs.faces_run(tmp_path / "run")
    (run,) = read_runs([tmp_path / "run"])
    (series,) = run.of("neurons")
    event = exemplar_event(series)
    assert event is not None and event.step == 10  # the last event refers to it
    assert unit_picture(series, "net.0", 3) == unit_picture(series, "relu", 3) is not None
    assert unit_picture(series, "relu", 2) is None and unit_picture(series, "text", 0) is None


def test_events_that_are_not_as_they_should_be_show_nothing(tmp_path: Path) -> None:
    from tests.tensorboard_explain.logs import Log

    log = Log(tmp_path / "run")
    odd = {"name": "a", "exemplars": {"units": [3, {"shown": [None, {"tile": 9**9, "heat": "x"}]}], "tile": [4, 4]}}
    odd |= {"effects": {"units": [[0, [1]], 7, [1, 2, 3, 4]], "classes": "no"}}
    log.put("explain/neurons/tab", {"kind": "neurons", "exemplars_step": 5, "layers": [odd, 4]}, step=0)
    log.put("explain/neurons/tab", {"kind": "neurons", "layers": [odd]}, step=9)
    assert "Neurons" in reported(tmp_path / "run", tmp_path).text


def test_a_heatmap_lies_over_a_crop_in_grey() -> None:
    crop = np.full((4, 4, 3), 100, np.uint8)
    crop[..., 0] = 200
    heat = np.array([[1.0, 0.0], [0.0, -1.0]], dtype=np.float32)
    shown = under_heat(crop, heat, 1.0).astype(int)
    assert shown[0, 0, 0] > shown[0, 0, 2] + 80 and shown[3, 3, 2] > shown[3, 3, 0] + 80
    plain = under_heat(crop, 0 * heat, 1.0)
    assert (plain == round(0.3 * 200 + 0.59 * 100 + 0.11 * 100)).all()
