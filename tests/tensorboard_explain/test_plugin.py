"""The tab's server side: what it serves, what it refuses, and what it says of bad requests."""

import json
from importlib import resources
from io import BytesIO

import pytest
from PIL import Image

from tensorboard_explain.plugin import FILES
from tests.tensorboard_explain.board import Board


def test_the_list_of_files_is_the_folder() -> None:
    folder = resources.files("tensorboard_explain").joinpath("static")
    with resources.as_file(folder) as root:
        assert {f"/{path.relative_to(root).as_posix()}" for path in root.rglob("*") if path.is_file()} == set(FILES)
    assert "/modalities/image.js" in FILES


def test_every_listed_file_is_served_with_its_type(board: Board) -> None:
    for route, kind in FILES.items():
        status, body, headers = board.ask(f"data/plugin/explain{route}")
        assert status == 200 and headers["Content-Type"].startswith(kind), route
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert body == resources.files("tensorboard_explain").joinpath("static", *route[1:].split("/")).read_bytes()


@pytest.mark.parametrize(
    "path",
    ["plugin.py", "../plugin.py", "%2e%2e/plugin.py", "static/index.js", "..%2fplugin.py", "index.js/../../plugin.py",
     "/etc/passwd", "..%2f..%2f..%2f..%2fetc%2fpasswd", "index.js%00.css", "base.css.map", "", "static/", "x.js",
     "modalities/", "modalities/none.js", "modalities/../../plugin.py"],
)  # fmt: skip
def test_nothing_else_is_served(board: Board, path: str) -> None:
    status, body, _ = board.ask(f"data/plugin/explain/{path}")
    assert status in (400, 404) or b"<!doctype html>" in body[:200].lower()  # TensorBoard's own page
    assert b"root:" not in body and b"class ExplainPlugin" not in body and b"import" not in body[:200]


def test_what_a_request_lacks_is_said(board: Board) -> None:
    for route, parameters, expected in [
        ("events", {}, 400), ("events", {"run": "no", "tag": "no"}, 404), ("curves", {"run": "known"}, 400),
        ("curves", {"run": "known", "tag": "explain/attribution/tab", "most": "-1"}, 400),
        ("event", {}, 400), ("event", {"header": "!!"}, 404), ("event", {"header": "WzEsMl0"}, 404),
        ("event", {"header": ""}, 404),
        ("history", {"run": "known", "tag": "x", "layer": "y", "neuron": "-1"}, 400),
    ]:  # fmt: skip
        status, body, _ = board.ask(f"data/plugin/explain/{route}", **parameters)
        assert status == expected, (route, parameters, status, body)
        assert json.loads(body)["error"]
    assert board.ask("data/plugin/explain/runs", method="POST")[0] == 405


def test_only_our_events_are_listed_in_order(board: Board) -> None:
    runs = board.data("runs")["runs"]
    assert "other" not in runs
    assert {(s["tag"], s["kind"]) for s in runs["known"]} == {
        ("explain/attribution/probe", "probe"), ("explain/attribution/tab", "attribution"),
    }  # fmt: skip
    events = board.data("events", run="long", tag="explain/attribution/tab")["events"]
    assert [event[0] for event in events] == list(range(0, 5000, 10))


def test_curves_and_histories_are_those_of_the_headers(board: Board) -> None:
    points = board.data("curves", run="known", tag="explain/attribution/tab")["points"]
    assert [(p["step"], p["count"]) for p in points] == [(0, 1), (5, 2)]
    distance, error = points[1]["curve"]["drift"]["previous"]["all"]
    assert distance == pytest.approx(2) and 0 < error < 0.1  # from x to -x
    real = {"run": "lightning_logs/version_0", "tag": "explain/neurons/tab"}
    history = board.data("history", **real, layer="head.1", neuron="3")["points"]
    assert len(history) == 3 and all(len(p["rates"]) == 10 for p in history)
    assert board.data("history", **real, layer="head.1", neuron="99")["points"] == []


def test_malformed_events_leave_the_rest_readable(board: Board) -> None:
    tag = "explain/attribution/tab"
    assert [p["step"] for p in board.data("curves", run="malformed", tag=tag)["points"]][-1] == 12
    for _, _, header, sprite in board.data("events", run="malformed", tag=tag)["events"]:
        status, body, _ = board.ask("data/plugin/explain/event", header=header, sprite=sprite)
        assert status in (200, 404, 422)
        assert status == 200 or json.loads(body)["error"]


def test_an_event_is_its_header_and_its_picture(board: Board) -> None:
    tag = "explain/attribution/tab"
    _, _, header, sprite = board.data("events", run="known", tag=tag)["events"][1]
    status, body, headers = board.ask("data/plugin/explain/event", header=header, sprite=sprite)
    end = 4 + int.from_bytes(body[:4], "big")
    assert status == 200 and headers["Content-Type"] == "application/octet-stream"
    assert json.loads(body[4:end])["step"] == 5
    assert Image.open(BytesIO(body[end:])).size == (2 * 2 * 3, 2)  # two methods of two samples, 2 x 3 pixels each
