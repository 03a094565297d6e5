"""The command `lightning-explain report`: what it says, and how it leaves."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from lightning_explain.report.animation import heatmap_film, write_animation
from lightning_explain.report.page import page
from lightning_explain.report.reading import LoggedRun, read_runs

NOTHING = """\
lightning-explain report: there are no explanations in {places}. A run has them when it was trained with a
TensorBoardLogger and one of the monitors among its callbacks:

    from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
    trainer = Trainer(callbacks=[AttributionMonitor(), ActiveNeuronMonitor(), DecisionPathMonitor()])

AttributionMonitor gives heatmaps and drift, ActiveNeuronMonitor neurons and scores, DecisionPathMonitor paths. A run
that was not watched can be explained from its checkpoints: lightning-explain replay --help
"""


class ReportError(Exception):
    """The report cannot be written; the message says why."""


def run(
    folders: Sequence[Path],
    *,
    output: Path,
    version: str,
    gif: Path | None = None,
    most_steps: int = 12,
    most_samples: int = 20,
) -> int:
    """Write the report.

    Args:
        folders: Folders with runs.
        output: The page.
        version: Of this package.
        gif: The animated picture; one for each run, numbered, if there are several. None for none.
        most_steps: Most columns of a filmstrip.
        most_samples: Most rows of it.

    Returns:
        0, or 1 after saying what is missing or wrong.
    """
    # TensorBoard's reader tells of unfinished records, which every live run has
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    try:
        runs = _read(folders)
        title = f"Explanations of {', '.join(folder.resolve().name for folder in folders)}"
        html = page(runs, title=title, version=version, most_steps=most_steps, most_samples=most_samples).encode()
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(html)
        print(f"{output}: {len(runs)} run{'s' if len(runs) > 1 else ''}, {len(html) / 1e6:.2f} MB")
        if gif is not None:
            _animate(runs, gif, most_samples)
    except ReportError as error:
        sys.stderr.write(str(error))
        return 1
    except OSError as error:
        sys.stderr.write(f"lightning-explain report: {error.strerror or error}: {error.filename}\n")
        return 1
    return 0


def _read(folders: Sequence[Path]) -> list[LoggedRun]:
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise ReportError(
            f"lightning-explain report: {', '.join(map(str, missing))}: no such folder. Expected what TensorBoard "
            "reads, e.g. lightning_logs or runs/demo.\n"
        )
    runs = read_runs(folders)
    if not runs:
        raise ReportError(NOTHING.format(places=", ".join(map(str, folders))))
    return runs


def _animate(runs: list[LoggedRun], gif: Path, most_samples: int) -> None:
    found = [(run, film) for run in runs if (film := heatmap_film(run)) is not None]
    if not found:
        raise ReportError("lightning-explain report: --gif needs heatmaps of pictures, and the runs have none.\n")
    gif.parent.mkdir(parents=True, exist_ok=True)
    for number, (run, (series, film)) in enumerate(found, start=1):
        path = gif if len(found) == 1 else gif.with_stem(f"{gif.stem}-{number}")
        write_animation(path, series, film, most_samples=most_samples)
        print(f"{path}: {run.name}, {len(film.frames)} frames, {path.stat().st_size / 1e6:.2f} MB")
