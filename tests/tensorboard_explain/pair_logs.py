"""Runs to compare: two of one probe, one of another, with neurons and paths; and tables in their old and new form."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lightning_explain import Display, Probe
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.tab import attribution_tab
from lightning_explain.callbacks.neurons.tab import share_bytes
from lightning_explain.render.sprites import value_sprite
from tests.tensorboard_explain.logs import Log, attribution, entities_run, path_graph, signal_run
from tests.tensorboard_explain.unit_logs import faces_run

NEWEST = "b"  # neither the first nor the last name
VALUES = {  # of the first sample, by run and step; the others have twice and three times as much
    ("a", 0): [1.0, 0.0, 0.0, 0.0],
    ("a", 5): [1.0, 2.0, 0.0, -1.0],
    ("b", 0): [0.0, 1.0, 0.0, 0.0],
    ("b", 7): [1.0, 0.0, 2.0, -1.0],
    ("c", 5): [1.0, 1.0, 1.0, 1.0],
}
RATES = {"a": [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], "b": [[0.4, 0.6, 1.0], [0.8, 0.2, 0.5]]}
NAMES = {"a": {"0": "dog", "1": "cat"}, "b": {"0": "cat", "1": "dog"}}
"""The second run numbers its classes the other way round."""

FEATURES = [f"a long name that is worth reading {i}" for i in range(30)]


def _probe(seed: int) -> Probe:
    images = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(seed))
    return Probe(inputs=images, targets=torch.tensor([0, 1, 1]), class_names=["dog", "cat"])


def _layer(name: str, rates: list[list[float]], **more: Any) -> dict[str, Any]:
    n_neurons = len(rates[0])
    packed = {"rates": share_bytes(torch.tensor(rates)), "selectivity": share_bytes(torch.linspace(0, 1, n_neurons))}
    return {"name": name, "n_neurons": n_neurons, "neurons": None, **packed, "metrics": {"dead": 0.25}, **more}


def _neurons(log: Log, run: str, step: int) -> None:
    flat = [[0.5, 0.5], [0.5, 0.5]]
    fed = [[0, "dog", [["row 0, column 1", 1.0], ["row 1, column 0", -0.5]]]]
    layers = [
        _layer("net.encoder.first.relu", flat, saturated=False),
        _layer("net.encoder.last.relu#1", RATES[run], feeding=fed, feeding_shape=[1, 2, 2]),
    ]
    header = {"kind": "neurons", "name": "neurons", "step": step, "epoch": 0, "count": 1, "stage": "val"}
    header |= {"classes": [0, 1], "n_classes": 2, "class_names": NAMES[run], "n_samples": [9, 9], "n_layers": 2}
    log.put("explain/neurons/tab", {**header, "layers": layers, "curve": {"f1": {"0": 0.75, "1": 0.5}}}, step=step)


def _paths(log: Log, step: int, end: str) -> None:
    graph = path_graph([("x0", "h1", 0.5), ("h1", "o0", 0.7), (end, "o0", 0.2)])
    log.put(
        "explain/path/tab", {"kind": "paths", "name": "path", "step": step, "epoch": 0, "graphs": [graph]}, step=step
    )


def _run(folder: Path, run: str, probe: Probe, neurons_at: int | None) -> None:
    log, before = Log(folder / run), None
    steps = [step for name, step in VALUES if name == run]
    header_of_probe = 0 if 0 in steps else None
    for count, step in enumerate(steps, start=1):
        first = torch.tensor(VALUES[run, step]).reshape(1, 2, 2)
        values = torch.stack([first, 2 * first, 3 * first])
        if header_of_probe is None:  # the helper writes the probe at step 0 only
            before = log.explanation(probe, values, step=0, before=before, count=1)
            header_of_probe = 0
        before = log.explanation(probe, values, step=step, before=before, count=count)
    if neurons_at is not None:
        _neurons(log, run, neurons_at)
        _paths(log, neurons_at, "h3" if run == "a" else "h5")


def pair_runs(folder: Path) -> None:
    """Write the runs, the newest one last."""
    _run(folder, "a", _probe(0), 5)
    _run(folder, "c", _probe(1), None)
    table_runs(folder)
    pieces_run(folder / "pieces")
    still_run(folder / "still")
    faces_run(folder / "faces")
    entities_run(folder / "entities")
    signal_run(folder / "signal")
    _run(folder, NEWEST, _probe(0), 7)


def pieces_run(folder: Path) -> None:
    """A text whose tokens are pieces of words."""
    display = Display(tokens=["[PAD]", "[CLS]", "un", "##believ", "##able", "film", "##"], padding=0)
    ids, labels = torch.tensor([[1, 2, 3, 4, 5, 6]]), torch.tensor([0])
    probe = Probe(inputs=ids, targets=labels, class_names=["one"], display=display)
    Log(folder).explanation(probe, torch.tensor([[0.0, 1.0, -1.0, 0.5, 0.05, 0.0]]), step=0)


def still_run(folder: Path) -> None:
    """Four samples; at the first step no output has moved from that of the baseline, at the second all have."""
    log, probe = Log(folder), Probe(inputs=torch.rand(4, 1, 2, 2), targets=torch.tensor([0, 0, 1, 1]))
    for count, (step, size) in enumerate(((0, 0.01), (9, 3.0)), start=1):
        values = torch.full((4, 1, 2, 2), size)
        found = replace(attribution(values), baseline=torch.zeros_like(values), target=torch.tensor([0, 0, 1, 1]))
        header, sprite = attribution_tab(
            probe,
            Explanation(step=step, scores=torch.rand(4, 2), attributions={"IG": found}, faithfulness={}, primary="IG"),
            {},
            {"IG": found},
        )
        header |= {"name": "attribution", "step": step, "epoch": 0, "count": count}
        log.put("explain/attribution/tab", header, sprite.picture if sprite else None, step=step)


def table_runs(folder: Path) -> None:
    """A table of 30 features with a value of 0.1999 beside one of 7; and the same as it was written before."""
    probe = Probe(
        inputs=torch.rand(2, 30),
        targets=torch.tensor([0, 1]),
        class_names=["sick", "well"],
        feature_names=FEATURES,
    )
    values = torch.linspace(0.01, 0.3, 30).repeat(2, 1)
    values[:, 3], values[:, 17] = 0.1999, -7.0
    Log(folder / "numbers").explanation(probe, values, step=0)
    sprite = value_sprite(values[:, None], max_pixels=1 << 17)
    old = {"name": "IG", "first_tile": 0, "scales": list(sprite.scales), "full_colour": 7.0, "error": None}
    log = Log(folder / "old numbers")
    log.explanation(probe, values, step=0)
    header = {"kind": "attribution", "probe": probe.fingerprint, "form": "table", "layout": "bars", "unit": "logits"}
    header |= {"tile": sprite.tile, "labels": [0, 1], "class_names": {"0": "sick", "1": "well"}, "methods": [old]}
    log.put(
        "explain/attribution/tab", {**header, "step": 1, "epoch": 0, "count": 2, "curve": {}}, sprite.picture, step=1
    )
