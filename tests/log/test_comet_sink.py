"""What Comet's experiment is given."""

import json
import math

import numpy as np
from PIL import Image

from lightning_explain.log.comet_sink import CometSink
from tests.log.clients import Client
from tests.log.loggers import PICTURE


def test_pictures_words_and_records_go_to_the_experiment_each_with_its_step() -> None:
    client = Client()
    sink = CometSink(client)
    sink.image("explain/a", PICTURE, 3, "what it shows")
    sink.text("explain/a/words", "**bold**", 3)
    sink.record("explain/a/record", {"x": math.nan}, 3)
    sink.layout({"drift": ["a"]})
    sink.tab("explain/a/tab", {"kind": "path"}, None, 3, once=False)
    image, text, record = client.calls
    assert image[0] == "log_image"
    assert image[2] == {"name": "explain/a", "step": 3, "metadata": {"description": "what it shows"}}
    # a file, not an array, which Comet would stretch
    assert (np.asarray(Image.open(image[1][0]).convert("RGB")) == PICTURE).all()
    assert text == ("log_text", ("**bold**",), {"step": 3, "metadata": {"tag": "explain/a/words"}})
    assert record[0] == "log_asset_data" and json.loads(record[1][0]) == {"step": 3, "x": None}
    assert record[2] == {"name": "explain/a/record/step_000000003.json", "step": 3}
