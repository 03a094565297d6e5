"""The strategies that one or several gloo processes find; called by test_strategies_in_training."""

import json
import warnings
from typing import Any

import torch
from torch import nn

from lightning_explain import AttributionMonitor, Saliency, Strategies
from tests.callbacks.attribution.strategies.marked_digits import loaders, net, two_kinds
from tests.training import fit

N_STEPS = 60


def found(processes: int) -> dict[str, Any]:
    """Return the last record's strategies, found in a network that has learnt the mark."""
    warnings.filterwarnings("ignore")
    images, labels, _ = two_kinds()
    torch.manual_seed(0)
    learner = net()
    optimizer = torch.optim.Adam(learner.parameters(), 3e-3)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(learner(images[40:]), labels[40:]).backward()
        optimizer.step()
    # it stays as it is: the padding of uneven data would train two processes on other samples than one
    learner.lr = 0.0
    monitor = AttributionMonitor(
        method=Saliency(), measures=["cosine"], strategies=Strategies(per_class=55), on_error="raise"
    )
    options: dict[str, Any] = {"strategy": "ddp", "devices": processes} if processes > 1 else {}
    fit(monitor, model=learner, data=loaders(images, labels), max_epochs=1, **options)
    assert monitor.latest is not None
    assert monitor.latest.strategies is not None
    record = monitor.records[-1] if monitor.records else {}
    heat = monitor.latest.strategies.heat
    return {
        "strategies": json.loads(json.dumps(record.get("strategies"))),
        "scalars": {key: value for key, value in record.get("scalars", {}).items() if "/strategies/" in key},
        "heat": heat.flatten().tolist(),
    }
