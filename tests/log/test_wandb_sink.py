"""What a W&B run is given, without W&B."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lightning_explain.log.wandb_sink import WandbSink
from tests.log.clients import Client, LoggerOf
from tests.log.loggers import PICTURE


def test_pictures_go_through_the_logger_with_their_words() -> None:
    client = Client()
    sink = WandbSink(LoggerOf(client))
    sink.image("explain/a", PICTURE, 3, "what it shows")
    sink.image("explain/b", PICTURE, 4)
    sink.layout({"drift": ["a"]})
    sink.tab("explain/a/tab", {"kind": "path"}, None, 3, once=False)
    (_, (tag, (image,)), options), (_, (other, _), without) = client.calls
    assert (tag, other) == ("explain/a", "explain/b") and (np.asarray(image) == PICTURE).all()
    assert options == {"step": 3, "caption": ["what it shows"]} and without == {"step": 4}


def test_nothing_in_a_text_becomes_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(Html=lambda page, inject: (page, inject)))
    client = Client()
    WandbSink(LoggerOf(client)).text("explain/a", "<script>alert('&')</script>", 3)
    ((name, (metrics,), options),) = client.calls
    page, inject = metrics["explain/a"]
    assert name == "log_metrics" and options == {"step": 3} and inject is False
    assert "<script>" not in page and "&lt;script&gt;" in page and "&amp;" in page


def test_a_record_is_a_file_of_the_run_that_is_uploaded_at_once(tmp_path: Path) -> None:
    client = Client(tmp_path)
    WandbSink(LoggerOf(client)).record("explain/a/record", {"x": math.nan}, 3)
    path = tmp_path / "explain/a/record/step_000000003.json"
    assert json.loads(path.read_text()) == {"step": 3, "x": None}
    assert client.calls == [("save", (str(path),), {"base_path": str(tmp_path), "policy": "now"})]
