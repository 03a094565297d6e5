"""Which neurons does each iris species use, and which measurements feed them? A 4-12-3 network on 150 flowers.

Run it from the root of the repository (seconds; needs scikit-learn):

    python examples/iris.py
    tensorboard --logdir runs/iris

It prints, for each species, the neurons that are active for it and the measurements with positive weights into each
of them, and the precision, recall and F1 of the held-out flowers. TensorBoard shows the same over time: activation
rates by species and neuron, what each measurement says for and against each species, and the way of one flower of
each species from its measurements over the neurons to its name. Those last pictures are also kept as files.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor

FEATURES = ("sepal length", "sepal width", "petal length", "petal width")
SPECIES = ("setosa", "versicolor", "virginica")


class IrisNet(L.LightningModule):
    """The classic network: 4 measurements, 12 hidden neurons, 3 species."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 12)
        self.relu = nn.ReLU()
        self.scores = nn.Linear(12, 3)

    def forward(self, flowers: Tensor) -> Tensor:
        """Return the scores (logits) of the three species."""
        return self.scores(self.relu(self.hidden(flowers)))

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        flowers, labels = batch
        loss = functional.cross_entropy(self(flowers), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log loss and accuracy."""
        flowers, labels = batch
        scores = self(flowers)
        self.log("val_loss", functional.cross_entropy(scores, labels), prog_bar=True)
        self.log("val_acc", (scores.argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=0.02)


def iris_data(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """Split the flowers into training and held-out ones, standardised by the training ones.

    Standardised, the baseline of zeros is the average flower: attributions say what sets a flower apart from it.
    Versicolor lies in the middle, so there is little to say of it; setosa and virginica lie on either side.
    """
    measured, species = load_iris(return_X_y=True)
    train, held_out, train_species, held_out_species = train_test_split(
        measured, species, test_size=1 / 3, stratify=species, random_state=seed
    )
    mean, spread = train.mean(0), train.std(0)

    def dataset(flowers: Tensor, labels: Tensor) -> TensorDataset:
        return TensorDataset(flowers.float(), labels.long())

    return (
        dataset(torch.tensor((train - mean) / spread), torch.tensor(train_species)),
        dataset(torch.tensor((held_out - mean) / spread), torch.tensor(held_out_species)),
    )


def feeding(weights: Tensor) -> str:
    """Name the measurements with positive weights into one neuron, the strongest first."""
    order = weights.argsort(descending=True).tolist()
    named = [f"{FEATURES[i]} {weights[i]:+.2f}" for i in order if weights[i] > 0]
    return ", ".join(named) or "none; it answers to smaller than average measurements"


def print_neurons(model: IrisNet, monitor: ActiveNeuronMonitor) -> None:
    """Print each species' active neurons and what feeds them."""
    weights = model.hidden.weight.detach().cpu()
    for c, neurons in monitor.active_sets["relu"].items():
        print(f"\n{SPECIES[c]}: {len(neurons)} of {len(weights)} hidden neurons are active. Fed by")
        for neuron in neurons:
            print(f"  neuron {neuron:2d}: {feeding(weights[neuron])}")


def print_scores(monitor: ActiveNeuronMonitor) -> None:
    """Print precision, recall and F1 of each species."""
    print(f"\n{'held-out flowers':18}{'precision':>10}{'recall':>10}{'F1':>10}")
    metrics = monitor.class_metrics
    for c, name in enumerate(SPECIES):
        print(f"{name:18}" + "".join(f"{metrics[metric][c]:10.3f}" for metric in ("precision", "recall", "f1")))


def print_paths(monitor: DecisionPathMonitor) -> None:
    """Print the strongest way of one flower of each species through the network."""
    explanation = monitor.latest
    assert explanation is not None
    for found in explanation.classes:
        graph = explanation.samples[found.group.members[0]]
        labels = {node.id: f"{node.label} ({node.contribution:+.2f})" for node in graph.nodes}
        best = graph.paths.paths[0]
        units = [f"{graph.layers[layer]}:{unit}" for layer, unit in reversed(best.units)]
        way = " -> ".join(labels.get(unit, unit) for unit in units)
        print(f"\n{found.group.name}: the strongest of all ways carries {best.share:.0%} of the decision\n  {way}")


def main(argv: Sequence[str] | None = None) -> int:
    """Train the network with the monitors and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", type=Path, default=Path("runs/iris"), help="where TensorBoard reads (%(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="passes over the training flowers (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of split, weights and batches (%(default)s)")
    arguments = parser.parse_args(argv)

    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # 150 flowers need none
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between torch and Lightning
    torch.set_num_threads(1)  # more cost time on a network this small
    L.seed_everything(arguments.seed, verbose=False)
    train, held_out = iris_data(arguments.seed)
    every = max(1, arguments.epochs // 6)
    neurons = ActiveNeuronMonitor(class_names=SPECIES, every_n_epochs=every)
    attribution = AttributionMonitor(class_names=SPECIES, feature_names=FEATURES, every_n_epochs=every)
    paths = DecisionPathMonitor(class_names=SPECIES, feature_names=FEATURES, every_n_epochs=every, show="sample")
    model = IrisNet()
    tensorboard = TensorBoardLogger(arguments.logdir, name="")
    trainer = L.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        logger=tensorboard,
        callbacks=[neurons, attribution, paths],
        log_every_n_steps=5,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(train, batch_size=16, shuffle=True), DataLoader(held_out, batch_size=50))

    print_neurons(model, neurons)
    print_scores(neurons)
    print_paths(paths)
    for name, picture in paths.pictures().items():
        Image.fromarray(picture).save(Path(tensorboard.log_dir) / f"path_{name}.png")
    print(f"\nEach way is drawn in {tensorboard.log_dir}/path_<species>.png")
    print(f"See how it got there:  tensorboard --logdir {arguments.logdir}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
