"""Lines for the console: one line at the end of a fit, and a hint while an explanation takes long.

Through Lightning's own log, on the first process: `logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)`
silences these lines together with Lightning's.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from threading import Timer
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from lightning_explain.log.choice import sink_of
from lightning_explain.log.sinks import FolderSink, TensorBoardSink

PATIENCE = 10.0
"""Seconds after which the console says that an explanation is under way."""


@contextmanager
def hint_when_slow(owner: str, seconds: float = PATIENCE) -> Generator[None, None, None]:
    """Tell once that an explanation is under way, if what is inside takes longer than this."""
    words = (
        f"{owner} has been explaining for {seconds:.0f} s; training goes on afterwards. A smaller probe=, fewer "
        "layers= or a higher every_n_epochs= cost less, and max_overhead= sets a limit."
    )
    timer = Timer(seconds, rank_zero_info, (words,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def where_to_look(trainer: Any) -> str:
    """Describe where the results are: TensorBoard's command, a logger's folder, or Python."""
    root: str | None = getattr(trainer, "default_root_dir", None)
    sinks = [sink_of(logger, root) for logger in trainer.loggers]
    for sink in sinks:
        if isinstance(sink, TensorBoardSink):
            return f"See it with: tensorboard --logdir {sink.folder.directory} (tab Explain)."
    for sink in sinks:
        if isinstance(sink, FolderSink):
            return f"See {sink.directory / 'explain'}."
    if any(sink is not None for sink in sinks):
        return f"See {', '.join(type(logger).__name__ for logger in trainer.loggers)}."
    return "No logger took it: see records and latest of each monitor."


def summary_line(counts: Mapping[str, int], *, n_samples: int, seconds: float, share: float, place: str) -> str:
    """Return the line at the end of a fit.

    Args:
        counts: Explanations or reports, by the monitor's name.
        n_samples: Samples of the largest probe.
        seconds: Time spent by all monitors.
        share: The same as a share of the fit's wall time.
        place: Where to look.

    Example:
        >>> summary_line({"path": 2, "a": 3}, n_samples=40, seconds=1.26, share=0.041, place="See runs.")
        'Explained: path twice, a 3 times (40 samples), in 1.3 s, 4.1 % of this fit. See runs.'
    """
    if not any(counts.values()):
        return "Explained: nothing; the warnings of the monitors say why."
    of = ", ".join(f"{name} {_times(count) if count else 'never'}" for name, count in counts.items())
    samples = f" ({n_samples} samples)" if n_samples else ""
    return f"Explained: {of}{samples}, in {seconds:.1f} s, {100 * share:.1f} % of this fit. {place}"


def tell(words: str) -> None:
    """Write a line into Lightning's log, on the first process."""
    rank_zero_info(words)
