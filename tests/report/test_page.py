"""The report's page, made of events whose content is known."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_explain import Probe
from lightning_explain.cli import main
from lightning_explain.report.charts import Line, chart
from lightning_explain.report.command import run
from lightning_explain.report.markup import Markup, clean, el
from tests.report.reports import Element, parsed, reported
from tests.tensorboard_explain import logs

FREE = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "nav", "a", "p", "main", "section", "h2", "h3",
    "h4", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "bdi", "small", "details", "summary", "ul",
    "li", "img", "span", "svg", "g", "path", "line", "circle", "text",
}  # fmt: skip


def names_in(element: Element) -> set[str]:
    return {element.name} | {name for c in element.children if isinstance(c, Element) for name in names_in(c)}


def attributes_in(element: Element) -> list[tuple[str, str]]:
    own = list(element.attributes.items())
    return own + [pair for c in element.children if isinstance(c, Element) for pair in attributes_in(c)]


def assert_loads_nothing(page: Element) -> None:
    """No element that loads or runs anything, no attribute that does, and a policy that forbids it."""
    assert names_in(page) - {""} <= FREE
    for key, value in attributes_in(page):
        assert not key.startswith("on") and key != "style", key
        if key in ("src", "href"):
            assert value.startswith(("data:image/png;base64,", "#")), value
    (policy,) = [m.attributes["content"] for m in page.all("meta") if "http-equiv" in m.attributes]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy


def texts(elements: list[Element]) -> list[str]:
    return [" ".join(element.text.split()) for element in elements]


def test_heatmaps_have_the_colours_of_their_values(tmp_path: Path) -> None:
    logs.known_run(tmp_path / "run")
    page = reported(tmp_path / "run", tmp_path)
    assert_loads_nothing(page)
    film = page.all("table", "film")[0]
    assert texts(film.all("th")[:4]) == ["label", "input", "0", "5"]
    first, second = film.all("tr")[1:]
    assert [img.attributes["alt"].partition(":")[0] for img in first.all("img")] == ["input", "step 0", "step 5"]
    at_0, at_5 = first.all("img")[1].pixels(), first.all("img")[2].pixels()
    assert at_0.shape == (2, 3, 4)
    red, none, blue, half = at_0[0, 0], at_0[0, 1], at_0[0, 2], at_0[1, 0]
    assert red[0] > 200 and red[2] < 80
    assert blue[2] > 200 and blue[0] < 80
    assert none[3] == 0
    assert 0 < half[3] < red[3]
    # at step 5 every sign is turned round
    assert (at_5[0, 0] == blue).all() and (at_5[0, 2] == red).all()
    # one scale for all: the second sample's 2 is stronger than the first one's 1
    assert second.all("img")[1].pixels()[0, 2, 3] > red[3]


def test_every_sample_gets_its_own_heatmap_in_colours_that_compare_over_time(tmp_path: Path) -> None:
    log, probe = logs.Log(tmp_path / "run"), logs.image_probe(12, 2)
    signs = torch.tensor([1.0, -1.0]).repeat(6).reshape(12, 1, 1, 1).expand(12, 1, 2, 2)
    for step in (0, 1):
        log.explanation(probe, signs * (step + 1), step=step, count=step + 1)
    film = reported(tmp_path / "run", tmp_path).all("table", "film")[0]
    rows = film.all("tr")[1:]
    # by class, so that the samples 10 and 11 follow the samples 0 and 1
    order = [0, 10, 1, 11, *range(2, 10)]
    for sample, row in zip(order, rows, strict=True):
        before, after = (img.pixels()[0, 0] for img in row.all("img")[1:])
        assert (before[0] > before[2]) == (after[0] > after[2]) == (sample % 2 == 0)
        assert before[3] < after[3]


def test_a_wrong_prediction_is_marked(tmp_path: Path) -> None:
    log, probe = logs.Log(tmp_path / "run"), logs.image_probe(6, 4)
    log.explanation(probe, torch.randn(6, 1, 4, 4), step=0, predicted=[0, 9, 2, 9, 4, 5])
    film = reported(tmp_path / "run", tmp_path).all("table", "film")[0]
    marks = ["wrong" in row.all("img")[1].attributes.get("class", "") for row in film.all("tr")[1:]]
    assert marks == [False, True, False, True, False, False]
    assert "taken for 9" in film.all("tr")[2].all("img")[1].attributes["alt"]


def test_drift_is_drawn_with_its_error_and_tabulated(tmp_path: Path) -> None:
    log, probe, before = logs.Log(tmp_path / "run"), logs.image_probe(), None
    for step in range(0, 50, 10):
        values = torch.randn(40, 1, 28, 28, generator=torch.Generator().manual_seed(step))
        before = log.explanation(probe, values, step=step, before=before, count=step)
    log.writer.close()
    page = reported(tmp_path / "run", tmp_path)
    (drift,) = [block for block in page.all("div", "chart") if "Drift to the previous" in block.text]
    curve = drift.all("g", "whole")[0]
    assert curve.all("path", "band")[0].attributes["d"].endswith("Z")
    assert len(curve.all("circle")) == 4
    heights = [float(circle.attributes["cy"]) for circle in curve.all("circle")]
    told = [row.all("td")[-1].text for row in drift.all("tr")[1:]]
    values = [float(words.split(" ± ")[0]) for words in told]
    assert all(0.8 < value < 1.2 for value in values)
    assert all(" ± " in words for words in told)
    # higher drift is drawn higher
    assert np.corrcoef(values, heights)[0, 1] < -0.99
    assert texts(drift.all("li")) == [*map(str, range(10)), "all samples"]


def test_drift_against_what_the_user_named_is_drawn_too(tmp_path: Path) -> None:
    for name in ("one", "two"):
        logs.known_run(tmp_path / name)
    page = reported(tmp_path, tmp_path)
    charts = [block for block in page.all("div", "chart") if "Drift to pretrained (cosine distance)" in block.text]
    assert len(charts) == 2
    assert [row.all("td")[-1].text.split(" ")[0] for row in charts[0].all("tr")[1:]] == ["0", "2"]
    assert [block for block in page.all("div", "chart") if "Drift of every run to pretrained" in block.text]
    assert f"Drift to {logs.HTML[:30]}" in page.text
    assert not page.all("script")


def test_the_band_of_a_curve_is_its_error_on_both_sides() -> None:
    made = chart("drift", [Line("all", [(0, 1.0, 0.5), (1, 2.0, 0.25)])])
    assert made is not None
    band = re.search(r'<path d="M([^"]*)Z" class="band"', made.code)
    assert band is not None
    heights = [float(point.split()[1]) for point in band[1].split("L")]
    lows = [float(y) for y in re.findall(r'cy="([^"]*)"', made.code)]
    unit = lows[0] - lows[1]  # the two values are one apart
    upper, lower = heights[:2], heights[:1:-1]
    assert [(y - top) / unit for y, top in zip(lows, upper, strict=True)] == pytest.approx([0.5, 0.25], abs=0.01)
    assert [(bottom - y) / unit for y, bottom in zip(lows, lower, strict=True)] == pytest.approx([0.5, 0.25], abs=0.01)


def test_a_chart_is_logarithmic_where_one_value_dwarfs_the_others() -> None:
    def heights(values: list[float]) -> list[float]:
        made = chart("drift", [Line("all", [(k, value, 0.0) for k, value in enumerate(values)])])
        assert made is not None
        return [float(part.split('"')[0]) for part in made.code.split('cy="')[1:]]

    falling = heights([1.0, 0.1, 0.01, 0.01])
    assert falling[1] - falling[0] == pytest.approx(falling[2] - falling[1], abs=0.2)
    even = heights([0.4, 0.3, 0.2, 0.1])
    assert even[1] - even[0] == pytest.approx(even[3] - even[2], abs=0.2)
    assert heights([math.nan, 0.5]) == heights([0.5])
    assert chart("nothing", [Line("all", [(0, math.nan, math.nan)])]) is None


def test_paths_show_which_edges_are_new(tmp_path: Path) -> None:
    logs.path_run(tmp_path / "run")
    page = reported(tmp_path / "run", tmp_path)
    now, at_first = page.all("svg", "path")
    edges = now.all("path", "edge")
    assert len(edges) == 5
    new = [edge.all("title")[0].text for edge in edges if "stroke-dasharray" in edge.attributes]
    assert sorted(words.partition(":")[0] for words in new) == ["h3 to o0", "x2 to h3"]
    assert not [edge for edge in at_first.all("path", "edge") if "stroke-dasharray" in edge.attributes]
    widths = {edge.all("title")[0].text.partition(":")[0]: float(edge.attributes["stroke-width"]) for edge in edges}
    assert widths["x0 to h1"] == max(widths.values()) and widths["r9 to o0"] == min(widths.values())
    (table,) = [t for t in page.all("table") if "Strongest edges" in t.text]
    assert texts(table.all("tr"))[1].startswith("x0h160.0 %")


def test_tables_show_every_feature_over_time(tmp_path: Path) -> None:
    logs.table_run(tmp_path / "run")
    page = reported(tmp_path / "run", tmp_path)
    tables = page.all("table", "features")
    assert texts([t.all("caption")[0] for t in tables[:3]]) == ["setosa", "versicolor", "virginica"]
    values = np.linspace(-1, 1, 24).reshape(6, 4)
    means = values[:2].mean(0)
    rows = {row.all("th")[0].text: row for row in tables[0].all("tr")[1:]}
    for feature, mean in zip(["sepal length", "sepal width", "petal length", "petal width"], means, strict=True):
        shown = [float(cell.text) for cell in rows[feature].all("td")[1:]]
        # a byte in 32 steps of the largest value
        assert shown == pytest.approx([mean, 4 * mean], abs=0.15)
        assert rows[feature].all("img")[0].pixels().shape == (1, 2, 4)


def test_words_have_the_colours_of_their_attributions(tmp_path: Path) -> None:
    log = logs.Log(tmp_path / "run")
    # one of two inputs of a monitor, as a series of its own
    tag = "explain/attribution/review"
    log.put(f"{tag}/probe", {"v": 1, "kind": "probe", "form": "tokens", "tokens": [["a", "<b>good</b>", None, "bad"]]})
    values = sprite_of(torch.tensor([[0.0, 1.0, 1.0, -0.5]]))
    method = {"name": "IG", "first_tile": 0, "scales": [1.0], "full_colour": 1.0}
    header = {"kind": "attribution", "form": "tokens", "tile": [1, 4], "labels": [1], "class_names": {"1": "liked"}}
    log.put(f"{tag}/tab", {"v": 1, **header, "methods": [method]}, values, step=4)
    page = reported(tmp_path / "run", tmp_path)
    assert_loads_nothing(page)
    words = page.all("table", "texts")[0].all("span")
    assert [(word.text, word.attributes.get("class")) for word in words] == [
        ("a", None), ("<b>good</b>", "for-6"), ("bad", "against-4"),
    ]  # fmt: skip
    assert "What it looks at: attribution/review" in texts(page.all("h2"))


def sprite_of(rows: torch.Tensor) -> Any:
    """One tile with a byte of `128 + 32 * value` each."""
    level = (128 + 32 * rows).round().byte().numpy()
    return np.repeat(level[..., None], 3, axis=2)


def test_neurons_and_scores(tmp_path: Path) -> None:
    log = logs.Log(tmp_path / "run")
    rates = torch.tensor([[0.0, 1.0, 0.5], [0.0, 0.2, float("nan")]])
    for step, f1 in ((0, 0.25), (9, 0.75)):
        layer = {"name": "net.1", "n_neurons": 3, "neurons": None, "rates": _bytes(rates), "n_dead": 1 if step else 2,
                 "n_always_on": 0, "n_exclusive": 1, "overlap": 0.5, "turnover": 0.125,
                 "feeding": [[1, "cat", [["ear", 0.5], ["tail", -0.25]]]]}  # fmt: skip
        curve = {"precision": {"0": 1, "1": 0.5}, "recall": {"0": 1, "1": 0.5}, "f1": {"0": f1, "1": 0.5}}
        header = {"v": 1, "kind": "neurons", "classes": [0, 1], "class_names": {"0": "cat", "1": "dog"},
                  "n_samples": [7, 8], "stage": "val", "layers": [layer], "curve": curve}  # fmt: skip
        log.put("explain/neurons/tab", header, step=step)
    page = reported(tmp_path / "run", tmp_path)
    said = page.text
    assert "Counted over 15 samples of the validation data." in said
    (scores,) = [t for t in page.all("table") if "Scores by class" in t.text]
    assert texts(scores.all("tr")[1].all("td"))[-1] == "0.75 was 0.25"
    (layers,) = [t for t in page.all("table") if "Layers at step 9" in t.text]
    assert texts(layers.all("tr")[1].all("td")) == [
        "3", "33.3 % was 66.7 %", "0.0 % was 0.0 %", "33.3 % was 33.3 %", "50.0 % was 50.0 %", "12.5 % was 12.5 %",
    ]  # fmt: skip
    pixels = page.all("img", "rates")[0].pixels()
    assert pixels.shape == (2, 3, 4)
    assert pixels[0, 1].tolist() == [254, 232, 56, 255] and pixels[0, 0].tolist() == [0, 34, 78, 255]
    assert pixels[1, 2].tolist() == [150, 150, 150, 255]
    assert "ear +0.5, tail -0.25" in said
    assert "0.625" in texts(page.all("td"))  # the mean F1 in the overview


def _bytes(rates: torch.Tensor) -> str:
    from lightning_explain.callbacks.neurons.tab import share_bytes

    return share_bytes(rates)


def test_names_from_data_are_nothing_but_text(tmp_path: Path) -> None:
    folder = tmp_path / "<img src=x onerror=1>" / 'a"b'
    logs.hostile_run(folder)
    log = logs.Log(folder)
    broken = {"v": 1, "kind": "paths", "graphs": [{"title": "\ud800 half\x00", "nodes": [], "edges": []}]}
    log.blobs("explain/other/tab", "paths", json.dumps(broken).encode())
    (tmp_path / "out").mkdir()
    page = reported(tmp_path, tmp_path / "out")
    assert_loads_nothing(page)
    assert "window.top.hacked" in page.text
    assert "<img src=x" in page.text
    raw = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in raw
    assert not [letter for letter in "\u202e\x00\x07\ud800" if letter in raw]
    assert "x" * 200 not in raw


def test_escaping() -> None:
    made = el("p", "<b>", Markup("<i></i>"), title='"><script>')
    assert made.code == '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;<i></i></p>'
    assert clean("a\nb\u202ec\u0000") == "a bc"
    assert len(clean("é" * 10_000)) == 80


def test_events_that_are_not_ours_or_broken_cost_only_themselves(tmp_path: Path) -> None:
    logs.malformed_run(tmp_path / "malformed")
    logs.other_data(tmp_path / "other")
    (file,) = (tmp_path / "malformed").glob("events*")
    with file.open("ab") as torn:
        torn.write(b"\x10\x00\x00\x00\x00\x00\x00\x00torn")  # as a run that is being written leaves it
    page = reported(tmp_path, tmp_path)
    assert_loads_nothing(page)
    assert "events could not be read" in page.text
    steps = texts(page.all("table", "film")[0].all("thead")[0].all("th"))
    assert steps[2] == "0" and steps[-1] == "12"
    assert texts(page.all("table")[0].all("tbody")[0].all("th")) == ["malformed"]


@pytest.mark.parametrize("content", [b"", b"no event file", b"\x00" * 100])
def test_files_that_only_look_like_event_files(tmp_path: Path, content: bytes, capsys: Any) -> None:
    (tmp_path / "events.out.tfevents.1").write_bytes(content)
    assert run([tmp_path], output=tmp_path / "r.html", version="1") == 1
    assert "there are no explanations" in capsys.readouterr().err


def test_long_runs_are_thinned_out_evenly_and_said(tmp_path: Path) -> None:
    log, probe = logs.Log(tmp_path / "run"), Probe(inputs=torch.rand(40, 1, 4, 4), targets=torch.arange(40) // 4)
    for k in range(30):
        log.explanation(probe, torch.randn(40, 1, 4, 4), step=k, count=k + 1)
    page = reported(tmp_path / "run", tmp_path, most_steps=4, most_samples=15)
    film = page.all("table", "film")[0]
    assert texts(film.all("thead")[0].all("th"))[2:] == ["0", "10", "19", "29"]
    labels = texts([row.all("th")[0] for row in film.all("tr")[1:]])
    # of each class in turn: two of the first five, one of the others
    assert labels == [*"00112233445", *"6789"][:15]
    assert "15 of 40 samples, 4 of 30 explanations" in page.text


def test_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    for name in ("one", "two"):
        logs.known_run(tmp_path / name)
    page = reported(tmp_path, tmp_path)
    assert texts(page.all("h3")) == ["one", "two"]
    assert len(page.all("table", "film")) == 4
    (together,) = [block for block in page.all("div", "chart") if "Drift of every run to the previous" in block.text]
    assert texts(together.all("li")) == ["one", "two"]
    again = reported(tmp_path / "one", tmp_path, tmp_path / "two")
    assert texts(again.all("h3")) == ["one", "two"]


def test_the_animation_has_a_frame_for_each_explanation(tmp_path: Path) -> None:
    logs.known_run(tmp_path / "run")
    reported(tmp_path / "run", tmp_path, gif=tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 2
        first = np.asarray(film.convert("RGB")).astype(int)
        film.seek(1)
        second = np.asarray(film.convert("RGB")).astype(int)
        assert film.info["duration"] == 2000
    # the left third of the first heatmap is red, then blue: every sign is turned round
    x, y = 6 + 56 + 2 + 5, 30 + 5
    assert first[y, x, 0] > first[y, x, 2] + 80
    assert second[y, x, 2] > second[y, x, 0] + 80


def test_animations_of_several_runs_are_numbered(tmp_path: Path, capsys: Any) -> None:
    for name in ("one", "two"):
        logs.known_run(tmp_path / name)
    reported(tmp_path, tmp_path, gif=tmp_path / "pictures" / "film.gif")
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["film-1.gif", "film-2.gif"]
    assert "film-2.gif: two, 2 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["report", "nowhere"], "nowhere: no such folder"),
        (["report", "empty"], "trainer = Trainer(callbacks=[AttributionMonitor()"),
        (["report", "table", "--gif", "film.gif"], "--gif needs heatmaps"),
        (["report", "table", "-o", "empty"], "empty"),
    ],
)
def test_what_is_wrong_is_said(argv: list[str], words: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    logs.table_run(Path("table"))
    assert main(argv) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.startswith("lightning-explain report: ")
    assert "Traceback" not in said


def test_it_loads_neither_torch_nor_lightning(tmp_path: Path) -> None:
    logs.known_run(tmp_path / "run")
    argv = ["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html"), "--gif", str(tmp_path / "r.gif")]
    script = f"""
import sys
from lightning_explain.cli import main
assert main({argv!r}) == 0
heavy = {{"torch", "lightning", "pytorch_lightning", "torchmetrics", "matplotlib", "tensorflow", "pandas"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    assert done.returncode == 0, done.stderr
    assert "1 run, " in done.stdout and "MB" in done.stdout
    assert_loads_nothing(parsed(tmp_path / "r.html"))


def test_the_probe_may_be_missing(tmp_path: Path) -> None:
    log, probe = logs.Log(tmp_path / "run"), Probe(inputs=torch.rand(2, 1, 4, 4), targets=torch.tensor([0, 1]))
    log.explanation(probe, torch.randn(2, 1, 4, 4), step=3)
    film = reported(tmp_path / "run", tmp_path).all("table", "film")[0]
    assert [len(row.all("img")) for row in film.all("tr")[1:]] == [1, 1]
