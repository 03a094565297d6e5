"""The sets of monitors that the matrix puts on a run: every method, and every option that runs forward passes."""

import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import captum.attr
import lightning.pytorch as pl
import torch
from torch import nn

from lightning_explain import (
    LRP,
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    GradCAM,
    InputXGradient,
    IntegratedGradients,
    LayerConductance,
    Probe,
    Saliency,
    SmoothGrad,
)
from lightning_explain.attribution import Epsilon, EpsilonGammaBox, ZPlusRule, from_captum
from tests.reliability.nets import Net, padded_block

FEW = IntegratedGradients(n_steps=3)
"""For what is not what the case is about."""

BUDGET = {"max_overhead": 0.02, "every_n_epochs": 1, "every_n_train_steps": 2}

MEASURES = ("deletion", "insertion", "infidelity", "max_sensitivity", "randomisation")

Options = dict[str, Any]


@cache
def other_weights() -> str:
    """Write a checkpoint with other weights of the matrix' network, whichever of its variants reads it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(77)
        net = Net(
            optimisation="automatic", accumulate=1, clip="nothing", frozen="nothing", lazy="nothing",
            compiled="nothing", checkpointing="nothing",
        )  # fmt: skip
        late = {"mixer.weight": torch.randn(96, 96) / 10, "mixer.bias": torch.randn(96), "anchor": torch.zeros(1)}
        block = {f"block.{name}": tensor for name, tensor in padded_block(norm_first=False).state_dict().items()}
    own = net.state_dict()
    compiled = {f"body._orig_mod.{name[5:]}": tensor for name, tensor in own.items() if name.startswith("body.")}
    path = Path(tempfile.mkdtemp()) / "other.ckpt"
    torch.save({**own, **compiled, **{f"late.{name}": tensor for name, tensor in late.items()}, **block}, path)
    return str(path)


WATCHING: Mapping[str, Callable[[], tuple[Options, Options, Options]]] = {
    "integrated gradients": lambda: ({}, {"method": IntegratedGradients(max_steps=17)}, {}),
    "fixed steps": lambda: ({}, {"method": FEW}, {}),
    "mean baseline": lambda: ({}, {"method": IntegratedGradients(baseline="mean", n_steps=3)}, {}),
    "blurred baseline": lambda: ({}, {"method": IntegratedGradients(baseline="blur", n_steps=3)}, {}),
    "noise, several draws": lambda: (
        {}, {"method": IntegratedGradients(baseline="noise", n_draws=3, n_steps=3)}, {},
    ),
    "mean of the training data": lambda: ({}, {"method": IntegratedGradients(baseline="train_mean", n_steps=3)}, {}),
    "LRP": lambda: ({}, {"method": LRP()}, {}),
    "LRP, gamma and box": lambda: ({}, {"method": LRP(EpsilonGammaBox(low=0.0, high=1.5))}, {}),
    "LRP, epsilon": lambda: ({}, {"method": LRP(Epsilon())}, {}),
    "conductance": lambda: ({}, {"method": LayerConductance("head.1", n_steps=3)}, {}),
    "Grad-CAM": lambda: ({}, {"method": GradCAM()}, {}),
    "saliency": lambda: ({}, {"method": Saliency()}, {}),
    "input x gradient": lambda: ({}, {"method": InputXGradient()}, {}),
    "SmoothGrad": lambda: ({}, {"method": SmoothGrad(n_draws=3)}, {}),
    "captum's DeepLift": lambda: ({}, {"method": from_captum(captum.attr.DeepLift)}, {}),
    "captum's Occlusion": lambda: (
        {}, {"method": from_captum(captum.attr.Occlusion, sliding_window_shapes=(1, 4, 4))}, {},
    ),
    "captum's GradientShap": lambda: (
        {}, {"method": from_captum(captum.attr.GradientShap, baselines=lambda x: x[:2] * 0, n_samples=2)}, {},
    ),
    "several methods, every measure": lambda: (
        {}, {"method": [FEW, LRP(), SmoothGrad(n_draws=2)], "faithfulness": MEASURES}, {},
    ),
    "compared with other weights": lambda: (
        {}, {"method": [FEW, LRP()], "compare_with": {"other": other_weights(), "begin": 1}}, {},
    ),
    "neurons by prediction": lambda: ({"by": "prediction", "layers": ["stem.*", "head.*"]}, {"method": FEW}, {}),
    "feeding features by LRP, all maps": lambda: ({"method": LRP(), "maps": 64, "feeding": 8}, {"method": FEW}, {}),
    "paths of samples, z+": lambda: (
        {}, {"method": FEW},
        {"show": "sample", "every_sample": True, "rules": {nn.Conv2d: ZPlusRule(), nn.Linear: ZPlusRule()}},
    ),
    "paths of pixels and positions": lambda: ({}, {"method": FEW}, {"patch": 1, "keep_positions": True}),
    "a budget of time": lambda: (BUDGET, {"method": FEW, **BUDGET}, BUDGET),
    "what is predicted": lambda: ({}, {"method": FEW, "explained": "predicted"}, {"explained": "predicted"}),
}  # fmt: skip

MECHANISMS = (
    "integrated gradients", "noise, several draws", "LRP", "conductance", "Grad-CAM", "captum's DeepLift",
    "compared with other weights", "neurons by prediction", "paths of samples, z+",
)  # fmt: skip
"""One of `WATCHING` for each way of reaching into a network; the others differ from one of them by figures only."""


def monitors(
    watching: str, *, cadence: Options, probe: Probe | None, layers: str | None, block: bool = False
) -> list[pl.Callback]:
    """Make all three monitors, set up as `WATCHING` says, raising what fails; the first one watches `layers`.

    A transformer layer beside the network is watched, but not explained, by the first one.
    """
    neurons, attribution, path = WATCHING[watching]()
    common = {"on_error": "raise", "probe": probe, **cadence}
    watch = ActiveNeuronMonitor(**{"layers": layers, "feeding": 1, "method": InputXGradient(), **common, **neurons})
    if block:
        return [watch]
    return [
        watch,
        AttributionMonitor(**common, **attribution),
        DecisionPathMonitor(**common, **path),
    ]
