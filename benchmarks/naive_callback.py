"""The callback that a user writes in 25 lines, to see much less of the same: captum, matplotlib and `.item()`."""

from typing import Any

import captum.attr
import lightning.pytorch as pl
import matplotlib as mpl
from torch import Tensor, nn

mpl.use("agg")
from matplotlib import pyplot as plt


class Naive(pl.Callback):
    """Draws attributions of 40 samples after each epoch, and reads off how often each channel is active by class."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets
        self.outputs: list[tuple[str, Tensor]] = []
        self.rates: dict[tuple[str, int, int], float] = {}

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        for name, module in pl_module.named_modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(lambda _m, _i, out, name=name: self.outputs.append((name, out)))

    def on_train_batch_end(self, *_: Any) -> None:
        self.outputs.clear()

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        for name, out in self.outputs:
            for c in range(10):
                for unit, rate in enumerate((out[batch[1] == c].amax((2, 3)) > 0).float().mean(0)):
                    self.rates[name, c, unit] = rate.item()
        self.outputs.clear()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        method = captum.attr.IntegratedGradients(pl_module.eval())
        values = method.attribute(self.inputs, target=self.targets, internal_batch_size=128).detach()
        pl_module.train()
        figure, axes = plt.subplots(10, 8, figsize=(8, 10))
        for place, axis in enumerate(axes.flat):
            axis.imshow((self.inputs if place % 2 == 0 else values)[place // 2, 0])
            axis.axis("off")
        trainer.logger.experiment.add_figure("attributions", figure, trainer.global_step)
        plt.close(figure)
