"""Which representation of maps shows a mark where objects are not always at the same place?

    python benchmarks/strategies_shifted.py [--seeds 5]

Digits lie anywhere on a canvas of 40 x 40. A fifth of one class's training samples has a bright square: in a corner of
the canvas, or at the digit's own upper left, so that it moves along. 60 samples of that class, 12 of them marked, are
explained by input x gradient. Prints, as medians over the seeds, the separation of the marked ones from the others
(with their membership known) and the balanced accuracy with which `find_strategies` assigns them (0.5 where it finds
nothing), for maps as they are, pooled to 8 x 8, centred, and for the relevance of the last convolution's channels.
"""

import argparse
import statistics

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.demo import digits_data
from lightning_explain.strategies import centred, find_strategies, pooled, separation, unit_rows
from lightning_explain.strategies.class_strategies import most_varying

SIDE, SQUARE, CLASS, EPOCHS, BATCH = 40, 5, 3, 8, 64
N_OTHERS, N_MARKED = 48, 12


def placed(images: Tensor, marked: Tensor, *, moves: bool, generator: torch.Generator) -> Tensor:
    """Put each digit [n, 1, 28, 28] somewhere on a canvas, with a square where it is marked [n]."""
    canvas = torch.zeros(len(images), 1, SIDE, SIDE)
    for i, (image, is_marked) in enumerate(zip(images, marked.tolist(), strict=True)):
        top, left = torch.randint(0, SIDE - 28 + 1, (2,), generator=generator).tolist()
        canvas[i, :, top : top + 28, left : left + 28] = image
        if is_marked:
            row, column = (top, left) if moves else (0, 0)
            canvas[i, :, row : row + SQUARE, column : column + SQUARE] = 1
    return canvas


def trained(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[nn.Module, nn.Module]:
    """Train a convnet; return its part up to the last convolution's activations, and the rest."""
    features = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(),
    )  # fmt: skip
    head = nn.Sequential(nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam([*features.parameters(), *head.parameters()], 2e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=generator).split(BATCH):
            optimizer.zero_grad()
            functional.cross_entropy(head(features(images[rows])), labels[rows]).backward()
            optimizer.step()
    return features, head


def relevances(features: nn.Module, head: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return input x gradient at the input [n, height, width], and of the channels of the last convolution [n, 32]."""
    given = images.clone().requires_grad_()
    hidden = features(given)
    score = head(hidden)[:, CLASS].sum()
    at_input, at_hidden = torch.autograd.grad(score, [given, hidden])
    return (given * at_input).sum(1).detach(), (hidden * at_hidden).sum((2, 3)).detach()


def balanced(rows: Tensor, marked: Tensor, relevance: Tensor) -> float:
    """Return the balanced accuracy of the strategy that agrees best with the mark; 0.5 where there is one only."""
    found = find_strategies(rows, relevance=relevance)
    best = 0.5
    for number in range(1, len(found.strategies)):
        inside = found.assignment == number
        right = float(inside[marked].float().mean() + (~inside[~marked]).float().mean()) / 2
        best = max(best, right)
    return best


def one_run(seed: int, *, moves: bool) -> dict[str, tuple[float, float]]:
    """Train and explain; return separation and balanced accuracy of each representation."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    images, labels = digits_data(seed)[0].tensors
    own = (labels == CLASS).nonzero().flatten()
    marked = torch.zeros(len(images), dtype=torch.bool)
    marked[own[: len(own) // 5]] = True
    images = placed(images, marked, moves=moves, generator=generator)
    features, head = trained(images, labels, generator)
    chosen = torch.cat([own[:N_MARKED], own[-N_OTHERS:]])
    maps, channels = relevances(features, head, images[chosen])
    found: dict[str, tuple[float, float]] = {}
    for name, each in {
        "as they are": maps, "pooled to 8 x 8": pooled(maps, 8), "centred": centred(maps), "channels": channels,
    }.items():  # fmt: skip
        rows = unit_rows(each)
        apart = separation(most_varying(rows), marked[chosen])
        found[name] = apart, balanced(rows, marked[chosen], each.flatten(1).double())
    return found


def main() -> None:
    """Run all seeds, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    n_seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    print("| mark | maps | separation | balanced accuracy | found at 0.9 |\n|---|---|---|---|---|")
    for moves in (False, True):
        runs = [one_run(seed, moves=moves) for seed in range(n_seeds)]
        for name in runs[0]:
            apart, right = ([run[name][i] for run in runs] for i in (0, 1))
            cells = f"{statistics.median(apart):.2f} | {statistics.median(right):.2f}"
            n_found = sum(each >= 0.9 for each in right)
            mark = "moves with the digit" if moves else "stays in a corner"
            print(f"| {mark} | {name} | {cells} | {n_found} of {n_seeds} |", flush=True)


if __name__ == "__main__":
    main()
