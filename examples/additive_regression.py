"""Are the attributions right? A network learns a sum whose exact attributions are known.

Run it from the root of the repository (under a minute):

    python examples/additive_regression.py
    tensorboard --logdir runs/additive

32 features raise the target, 32 lower it and 32 are noise: y = sum of c_i x_i, where c_i rises from 1/32 to 1 for the
first group, falls from -1/32 to -1 for the second and is 0 for the third. Against the average input as baseline,
the exact attribution of feature i is c_i (x_i - mean_i). It prints how near the integrated gradients of the trained
network come to that on held-out samples, and how little they give to the noise, and draws both (`exact.png` in the
run's folder, and Images in TensorBoard).
"""

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import AttributionMonitor, IntegratedGradients

GROUP = 32
NAMES = [f"{group}_{i + 1}" for group in ("pos", "neg", "noise") for i in range(GROUP)]
STEPS = torch.arange(1, GROUP + 1) / GROUP
COEFFICIENTS = torch.cat([STEPS, -STEPS, torch.zeros(GROUP)])
RED, BLUE, GREY = "#b2182b", "#2166ac", "#777777"
COLOURS = [RED] * GROUP + [BLUE] * GROUP + [GREY] * GROUP


class Regressor(L.LightningModule):
    """A network with one hidden layer: 96 features to one number.

    Args:
        n_steps: Training steps in all, over which the learning rate falls to 0.
    """

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.n_steps = n_steps
        self.net = nn.Sequential(nn.Linear(len(NAMES), 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return one number per sample [batch, 1]."""
        return self.net(features)

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        features, y = batch
        loss = functional.mse_loss(self(features).squeeze(1), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log the loss."""
        features, y = batch
        self.log("val_loss", functional.mse_loss(self(features).squeeze(1), y), prog_bar=True)

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[dict[str, object]]]:
        """Return the optimiser and its falling rate: what is left of the noise weights shrinks with it."""
        optimiser = torch.optim.AdamW(self.parameters(), lr=3e-3, weight_decay=1e-2)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.n_steps)
        return [optimiser], [{"scheduler": falling, "interval": "step"}]


def additive_data(n_samples: int, seed: int) -> TensorDataset:
    """Draw features from 0 to 1 and add them up."""
    features = torch.rand(n_samples, len(NAMES), generator=torch.Generator().manual_seed(seed))
    return TensorDataset(features, features @ COEFFICIENTS)


@dataclass(frozen=True)
class Comparison:
    """Integrated gradients beside the exact attributions, both [samples, features]."""

    found: Tensor
    exact: Tensor

    @property
    def correlation(self) -> float:
        """Pearson's r over all samples and features."""
        return float(torch.corrcoef(torch.stack([self.found.flatten(), self.exact.flatten()]))[0, 1])

    @property
    def relative_l1(self) -> float:
        """Sum of |difference| over sum of |exact|."""
        return float((self.found - self.exact).abs().sum() / self.exact.abs().sum())

    @property
    def noise_share(self) -> float:
        """Mean |attribution| of a noise feature over that of a feature that counts."""
        size = self.found.abs().mean(0)
        return float(size[2 * GROUP :].mean() / size[: 2 * GROUP].mean())


def compare(model: Regressor, features: Tensor, baseline: Tensor) -> Comparison:
    """Explain samples and set the exact answer beside it."""
    found = IntegratedGradients(baseline=baseline, tolerance=0.01)(model, features).values
    assert isinstance(found, Tensor)
    return Comparison(found=found, exact=COEFFICIENTS * (features - baseline))


def _draw_features(axis: Axes, result: Comparison) -> None:
    place = range(len(NAMES))
    axis.axvspan(2 * GROUP - 0.5, len(NAMES) - 0.5, color="#eeeeee")
    axis.bar(place, result.found.abs().mean(0).tolist(), color=COLOURS, width=1.0, label="bars: integrated gradients")
    axis.step(
        place, result.exact.abs().mean(0).tolist(), where="mid", color="black", linewidth=1.2, label="line: exact"
    )
    middle = GROUP / 2 - 0.5
    axis.set_xticks(
        [middle, middle + GROUP, middle + 2 * GROUP],
        ["raise the target\npos_1 ... pos_32", "lower it\nneg_1 ... neg_32", "noise\nnoise_1 ... noise_32"],
    )
    axis.tick_params(axis="x", length=0)
    axis.set_ylabel("mean |attribution|, in units of the target")
    axis.set_title("By feature")
    axis.legend(loc="center right")


def _draw_samples(axis: Axes, result: Comparison) -> None:
    for start, colour, name in ((0, RED, "raise"), (GROUP, BLUE, "lower"), (2 * GROUP, GREY, "noise")):
        group = slice(start, start + GROUP)
        exact, found = result.exact[:, group].flatten(), result.found[:, group].flatten()
        axis.scatter(exact.tolist(), found.tolist(), s=3, color=colour, alpha=0.3, linewidths=0, label=name)
    limit = float(result.exact.abs().max()) * 1.05
    axis.plot([-limit, limit], [-limit, limit], color="black", linewidth=0.8)
    axis.set_xlabel("exact attribution: coefficient x (value - mean)")
    axis.set_ylabel("integrated gradients")
    axis.set_title("By sample and feature; on the line they agree")
    axis.legend(markerscale=4, loc="upper left")


def picture(result: Comparison) -> Figure:
    """Draw integrated gradients beside the exact attributions."""
    figure = Figure(figsize=(12, 4.8), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    _draw_features(left, result)
    _draw_samples(right, result)
    figure.suptitle(
        f"Integrated gradients of a trained network against the exact answer, {len(result.found)} held-out samples: "
        f"r = {result.correlation:.4f}"
    )
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Train the network with the monitor, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", type=Path, default=Path("runs/additive"), help="where TensorBoard reads")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the 10,000 training samples (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of data, weights and batches (%(default)s)")
    arguments = parser.parse_args(argv)

    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the data are in memory
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between torch and Lightning
    torch.set_num_threads(1)  # more cost time on a network this small
    L.seed_everything(arguments.seed, verbose=False)
    train, held_out = additive_data(10_000, arguments.seed), additive_data(512, arguments.seed + 1)
    loader = DataLoader(train, batch_size=64, shuffle=True)
    baseline = train.tensors[0].mean(0)
    model = Regressor(n_steps=arguments.epochs * len(loader))
    logger = TensorBoardLogger(arguments.logdir, name="")
    trainer = L.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        logger=logger,
        callbacks=[
            AttributionMonitor(
                method=IntegratedGradients(baseline=baseline),
                feature_names=NAMES,
                every_n_epochs=max(1, arguments.epochs // 5),
            )
        ],
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader, DataLoader(held_out, batch_size=512))

    result = compare(model, held_out.tensors[0][:128], baseline)
    path = Path(logger.log_dir) / "exact.png"
    figure = picture(result)
    figure.savefig(path)
    logger.experiment.add_figure("additive/exact", figure, trainer.global_step)
    logger.finalize("success")
    print(f"\nIntegrated gradients against coefficient x (value - mean), {len(result.found)} held-out samples:")
    print(f"  correlation                                  {result.correlation:.4f}")
    print(f"  relative L1 difference                       {result.relative_l1:.2%}")
    print(f"  noise features, relative to those that count {result.noise_share:.2%}")
    print(f"\nPicture: {path}\nSee how it got there:  tensorboard --logdir {arguments.logdir}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
