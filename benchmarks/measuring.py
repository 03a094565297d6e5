"""What every benchmark measures: ratios of alternating runs, and the peak of allocated memory."""

import gc
import statistics
import time
from collections.abc import Callable
from itertools import accumulate

import torch


def seconds(run: Callable[[], object]) -> float:
    """Return the processor time of a run: on a busy machine it says more than the clock on the wall.

    As in `timeit` garbage is collected between runs only: large libraries make a collection take longer than a run.
    """
    gc.disable()
    try:
        start = time.process_time()
        run()
        return time.process_time() - start
    finally:
        gc.enable()


def ratio(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Return the median ratio of alternating runs, and the smallest and largest."""
    found = sorted(seconds(ours) / seconds(theirs) for _ in range(repeats))
    return statistics.median(found), found[0], found[-1]


def peak_megabytes(run: Callable[[], object]) -> float:
    """Add up what torch allocates and frees, in order, and return the largest sum: without weights and inputs."""
    with torch.autograd.profiler.profile(profile_memory=True) as found:
        kept = run()
    del kept
    events = [event for event in found.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in events)) / 2**20
