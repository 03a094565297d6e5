"""What does a vision transformer look at? Relevance propagation beside integrated gradients, on handwritten digits.

Run it from the root of the repository (less than a minute on one core):

    python examples/vit.py
    tensorboard --logdir runs/vit

The digits have 8x8 pixels, the transformer reads them as 16 patches. While it learns, both methods explain the same
held-out digits: their drift says when the reasons stop changing, and their agreement how far they say the same. In the
end pixels are taken away in the order of each explanation: the sooner the network loses its confidence, the better the
explanation. A picture of the heatmaps, and of what each attention head brings, is kept as a file.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import LRP, AttributionMonitor, InputXGradient, IntegratedGradients, Saliency
from lightning_explain.faithfulness import deletion

SIDE, WIDTH = 4, 48


class ViT(L.LightningModule):
    """A vision transformer of torch's own layers: 16 patches of 2x2 pixels, a class token, learned positions."""

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, kernel_size=2, stride=2)
        self.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(0.02 * torch.randn(1, SIDE**2 + 1, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, digits: Tensor) -> Tensor:
        """Return the scores (logits) of the ten digits: [batch, 1, 8, 8] to [batch, 10]."""
        tokens = self.patches(digits).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(digits), -1, -1), tokens], 1) + self.positions
        return self.head(self.norm(self.encoder(tokens)[:, 0]))

    def training_step(self, batch: Sequence[Tensor]) -> Tensor:
        """Return the loss of one batch."""
        digits, labels = batch
        return functional.cross_entropy(self(digits), labels)

    def validation_step(self, batch: Sequence[Tensor]) -> None:
        """Log the accuracy on held-out digits."""
        digits, labels = batch
        self.log("val_acc", (self(digits).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def digits_of_8x8(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """Split scikit-learn's digits into 1,400 to learn from and 397 held out; pixels from 0 (paper) to 1 (ink)."""
    found = load_digits()
    digits = torch.as_tensor(found.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.as_tensor(found.target, dtype=torch.long)
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    return tuple(TensorDataset(digits[part], labels[part]) for part in (order[:1400], order[1400:]))  # type: ignore[return-value]


def deletion_areas(net: ViT, digits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the mean confidence while pixels become paper, those with the highest attribution first."""
    methods = (LRP(), IntegratedGradients(), InputXGradient(), Saliency())
    return {
        type(method).__name__: float(deletion(net, digits, labels, method(net, digits, labels)).auc.mean())
        for method in methods
    }


def draw(net: ViT, digits: Tensor, labels: Tensor, path: Path) -> None:
    """Draw some digits, what both methods say of them, and the relevance of the tokens in each head."""
    found = [method(net, digits, labels) for method in (IntegratedGradients(), LRP())]
    heads = LRP().head_relevance(net, digits, labels)
    # without the class token, which is no part of the picture
    by_head = next(iter(heads.values()))[:, :, 1:].unflatten(2, (SIDE, SIDE))
    n_heads = by_head.shape[1]
    figure = Figure(figsize=(1.25 * (3 + n_heads), 1.3 * len(digits)), layout="constrained")
    axes = figure.subplots(len(digits), 3 + n_heads)
    titles = ["digit", "integrated\ngradients", "LRP", *(f"head {head}\n(1st layer)" for head in range(n_heads))]
    for row, cells in enumerate(axes):
        maps = [*(one.parts[0][row, 0] for one in found), *by_head[row]]
        cells[0].imshow(digits[row, 0], cmap="gray_r")
        for cell, values in zip(cells[1:], maps, strict=True):
            scale = float(values.abs().max()) or 1.0
            cell.imshow(values, cmap="RdBu_r", vmin=-scale, vmax=scale)
        for cell, title in zip(cells, titles, strict=True):
            cell.set(xticks=[], yticks=[])
            if row == 0:
                cell.set_title(title, fontsize=8)
    figure.suptitle("What speaks for the digit (red) and against it (blue), each map to its own scale", fontsize=9)
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    """Train a vision transformer, and print how its explanations settle and what they are worth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", type=Path, default=Path("runs/vit"), help="where to log (%(default)s)")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the training digits (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of split, weights and batches (%(default)s)")
    arguments = parser.parse_args(argv)

    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # images this small need none
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between torch and Lightning
    torch.set_num_threads(1)  # more cost time on a network this small
    L.seed_everything(arguments.seed, verbose=False)
    train, held_out = digits_of_8x8(arguments.seed)
    monitor = AttributionMonitor(method=[IntegratedGradients(), LRP()], measures=["cosine"])
    tensorboard = TensorBoardLogger(arguments.logdir, name="")
    trainer = L.Trainer(
        max_epochs=arguments.epochs,
        accelerator="cpu",
        logger=tensorboard,
        callbacks=[monitor],
        enable_checkpointing=False,
        enable_model_summary=False,
        log_every_n_steps=20,
    )
    net = ViT()
    trainer.fit(net, DataLoader(train, batch_size=64, shuffle=True), DataLoader(held_out, batch_size=200))
    print(f"\nIt knows {float(trainer.callback_metrics['val_acc']):.1%} of the held-out digits.\n")

    print("epoch   drift of IG   drift of LRP   agreement")
    for epoch, record in enumerate(monitor.records[1:]):
        scalars = record["scalars"]
        ours = [scalars[tag] for tag in DRIFTS]
        agreement = next(value for tag, value in scalars.items() if "/agreement/" in tag)
        print(f"{epoch:5}   {ours[0]:11.3f}   {ours[1]:12.3f}   {agreement:9.2f}")

    digits, labels = held_out.tensors
    print("\nmean confidence while the pixels with the highest attribution go first (lower is better)")
    for name, area in deletion_areas(net, digits[:200], labels[:200]).items():
        print(f"  {name:20} {area:.3f}")
    relevance = LRP()(net, digits, labels)
    assert relevance.absorbed_share is not None
    assert relevance.softmax_share is not None
    absorbed, lost = (float(share.nanmedian()) for share in (relevance.absorbed_share, relevance.softmax_share))
    print(
        f"\nBiases, positions and the class token take {absorbed:.0%} of a score (median), softmaxes lose {lost:.0%}."
    )
    picture = Path(tensorboard.log_dir) / "vit.png"
    draw(net, digits[:5], labels[:5], picture)
    print(f"Drawn in {picture}\nSee it form:  tensorboard --logdir {arguments.logdir}")
    return 0


DRIFTS = ("explain/attribution/drift/previous", "explain/attribution/LRP/drift/previous")

if __name__ == "__main__":
    raise SystemExit(main())
