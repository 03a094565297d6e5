"""What does looking for strategies add to a run?

    python benchmarks/strategies_cost.py [--images 8000] [--epochs 2]

Trains two networks on digits with an `AttributionMonitor`, without and with `strategies=Strategies()` (64 samples of
each of ten classes), logged to TensorBoard. What strategies add, pictures and events included, is divided by the
explanations and set beside the processor time of a bare epoch of 60,000 images.
"""

import argparse
import logging
import warnings

import torch
from lightning.pytorch.callbacks import Callback
from monitors import MNIST_NETWORKS, mnist_run

from lightning_explain import AttributionMonitor, Strategies
from lightning_explain.demo import digits_data

EPOCH = 60_000


def main() -> None:
    """Train each network bare, with the monitor, and with strategies, too; print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8000, help="images an epoch (%(default)s)")
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data = digits_data(0)
    for network in MNIST_NETWORKS:
        kinds: list[list[Callback]] = [[], [AttributionMonitor()], [AttributionMonitor(strategies=Strategies())]]
        mnist_run([AttributionMonitor(strategies=Strategies())], data, epochs=1, images=4000, network=network)  # warm
        bare, plain, searched = (
            mnist_run(monitors, data, epochs=given.epochs, images=given.images, network=network)[1]
            for monitors in kinds
        )
        each = (searched - plain) / (given.epochs + 1)  # one explanation is made before training
        epoch = bare / given.epochs * EPOCH / given.images
        share = f"{each / epoch:.1%} of an epoch of {EPOCH:,} images ({epoch:.0f} s)"
        print(f"{network}: {each:.2f} s an explanation, {share}", flush=True)


if __name__ == "__main__":
    main()
