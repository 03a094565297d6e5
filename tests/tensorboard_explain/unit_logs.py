"""A log directory whose units have exemplars: crops, words, windows and features, as the neuron monitor writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_explain.callbacks.neurons.tab import share_bytes
from lightning_explain.callbacks.neurons.tab_exemplars import exemplar_tab
from lightning_explain.exemplars.cards import Exemplar, UnitCard
from tests.tensorboard_explain.logs import HTML, Log, path_graph

STEPS = (0, 10, 20)


def exemplar(sample: int, label: int, value: float, crop: Tensor, heatmap: Tensor | None, **more: Any) -> Exemplar:
    given = {"position": (), "box": (), **more}
    return Exemplar(sample=sample, label=label, value=value, crop=crop, heatmap=heatmap, **given)


def card(unit: int, *exemplars: Exemplar, form: str | None = "image") -> UnitCard:
    return UnitCard(
        layer="",
        unit=unit,
        reason="exclusive to cat",
        form=form,
        by="activation",
        method="InputXGradient",
        scale=2.0,
        limits=(0.0, 1.0),
        epoch=0,
        exemplars=exemplars,
    )


def picture_card(unit: int, step: int) -> UnitCard:
    """Two crops of 2 x 3: the first pixel as bright as the step says, and liked; the last one disliked."""
    crop = torch.zeros(1, 2, 3)
    crop[0, 0, 0] = 0.5 + step / 40
    heat = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, -2.0]])
    return card(unit, *(exemplar(unit * 10 + i, i, 3.0 - i, crop, heat) for i in range(2)))


def drawn(of: UnitCard) -> list[Any]:
    return [np.repeat((one.crop[0].numpy() * 255).round().astype(np.uint8)[..., None], 3, 2) for one in of.exemplars]


def cards(step: int) -> dict[str, dict[int, UnitCard]]:
    heat = torch.tensor([2.0, -2.0, 0.0])
    said, wave = ("age = 0.1 (+2)", f"{HTML} -2", "dose (+0)"), torch.sin(torch.arange(90.0))[None]
    text = exemplar(5, 1, 1.5, torch.tensor([1, 2, 3]), heat, words=("good", HTML, "film"))
    return {
        "relu": {1: picture_card(1, step), 3: picture_card(3, step)},
        "text": {0: card(0, text, form="tokens")},
        "wave": {1: card(1, exemplar(6, 0, 1.5, wave, torch.ones(90)), form="signal")},
        "table": {2: card(2, exemplar(7, 0, 1.5, torch.rand(3), heat, words=said), form="table")},
    }


def layer(name: str, n_neurons: int, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "n_neurons": n_neurons,
        "neurons": None,
        "rates": share_bytes(torch.linspace(0, 1, 2 * n_neurons).reshape(2, -1)),
        "selectivity": share_bytes(torch.linspace(0, 1, n_neurons)),
        "exclusive": [[3, 1]],
        **more,
    }


def faces_run(folder: Path) -> None:
    """Exemplars at the first two steps; the third refers to those of the second. A path through the same units."""
    log = Log(folder)
    ablated = [[3, [0, 2], [0, 0], [0.167, 0.255]], [1, [0, 0], [0, 0], [0.167, 0.167]]]
    effects = {"epoch": 1, "classes": [0, 1], "n_samples": [4, 4], "n_correct": [4, 3], "units": ablated}
    for count, step in enumerate(STEPS, start=1):
        fields, sprite = exemplar_tab(cards(step), drawn)
        fresh = step < STEPS[-1]
        held = {name: {"exemplars": field} for name, field in fields.items()} if fresh else {}
        layers = [
            layer("relu", 4, of=["net.0"], effects=effects, **held.get("relu", {})),
            *(
                layer(name, 4, exemplar_labels=[[0], [1], [1, 0, 1], []], **held.get(name, {}))
                for name in ("text", "wave", "table", "bare")
            ),
        ]
        header = {
            "kind": "neurons",
            "name": "neurons",
            "step": step,
            "epoch": count - 1,
            "count": count,
            "stage": "val",
        }
        header |= {"classes": [0, 1], "n_classes": 2, "class_names": {"0": "dog", "1": "cat"}, "n_samples": [9, 9]}
        header |= {"n_layers": len(layers), "layers": layers, "curve": {}}
        header |= {} if fresh else {"exemplars_step": STEPS[-2]}
        log.put("explain/neurons/tab", header, sprite if fresh else None, step=step)
        graph = path_graph([("x0", "h1", 0.5), ("h1", "o0", 0.7), ("h3", "o0", 0.2)])
        log.put(
            "explain/path/tab",
            {"kind": "paths", "name": "path", "step": step, "epoch": 0, "graphs": [graph]},
            step=step,
        )
