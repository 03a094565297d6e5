"""Cards of units, small enough to be looked at by eye."""

from typing import Any

import torch

from lightning_explain.exemplars.cards import Exemplar, UnitCard


def exemplar(**changes: Any) -> Exemplar:
    """A picture of three by four whose upper half raises the unit and whose lower right corner lowers it."""
    heat = torch.zeros(3, 4)
    heat[0], heat[2, 3] = 2.0, -1.0
    given: dict[str, Any] = {
        "sample": 7,
        "label": 1,
        "value": 2.5,
        "position": (1, 2),
        "box": ((2, 5), (0, 4)),
        "crop": torch.linspace(0, 1, 12).reshape(1, 3, 4),
        "heatmap": heat,
    }
    return Exemplar(**given | changes)


def card(*exemplars: Exemplar, **changes: Any) -> UnitCard:
    given: dict[str, Any] = {
        "layer": "conv",
        "unit": 14,
        "reason": "exclusive to cat",
        "form": "image",
        "by": "activation",
        "method": "InputXGradient",
        "scale": 2.0,
        "limits": (0.0, 1.0),
        "epoch": 3,
        "exemplars": exemplars or (exemplar(), exemplar(sample=8, label=-1, value=1.25)),
    }
    return UnitCard(**given | changes)
