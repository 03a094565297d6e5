"""Neurons and scores by class on the report's page."""

from pathlib import Path

import torch

from tests.report.reports import reported, texts
from tests.tensorboard_explain import logs


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
