"""What MLflow's client is given."""

import math

import numpy as np
import pytest

from lightning_explain.log.mlflow_sink import MLflowSink, mlflow_name
from tests.log.clients import Client, LoggerOf
from tests.log.loggers import PICTURE


@pytest.mark.parametrize("name", ["explain/a/f1/cat", "val acc-1.5_b"])
def test_a_name_that_mlflow_takes_stays(name: str) -> None:
    assert mlflow_name(name) == name


def test_names_that_differ_in_other_letters_only_stay_different() -> None:
    names = [mlflow_name(f"f1/{word}") for word in ("猫", "犬", "a:b", "a;b", "_")]
    assert len(set(names)) == 5 and all(name.startswith("f1/") and name.isascii() for name in names)


def test_pictures_words_and_records_go_to_the_run() -> None:
    client = Client()
    sink = MLflowSink(LoggerOf(client))
    sink.image("explain/a", PICTURE, 3, "what it shows")
    sink.text("explain/a/words", "**bold**", 3)
    sink.record("explain/a/record", {"x": math.nan, "y": (1,)}, 3)
    sink.layout({"drift": ["a"]})
    sink.tab("explain/a/tab", {"kind": "path"}, None, 3, once=False)
    (image, text, record) = client.calls
    assert image[0] == "log_image" and image[2] == {"key": "explain/a", "step": 3}
    assert image[1][0] == "run 1" and (np.asarray(image[1][1]) == PICTURE).all()
    assert text == ("log_text", ("run 1", "**bold**", "explain/a/words/step_000000003.md"), {})
    values = {"step": 3, "x": None, "y": [1]}
    assert record == ("log_dict", ("run 1", values, "explain/a/record/step_000000003.json"), {})
