"""Bytes of the Explain tab's events, and how long the tab takes to open on 200 explanations beside 10.

    python benchmarks/tab.py

Both logs hold explanations of 64 images of 64 x 64. They are opened in turns in a headless Chromium, each time in a
new context; "drawn" is when the heatmaps are there, "curves" when every point of the curves is, "a step" how long the
tab takes from a step to another one far away. Needs the `test` extra
and a Chromium, and is run from the root of the project.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from playwright.sync_api import Browser, sync_playwright

from lightning_explain import Probe
from tests.tensorboard_explain.board import Board
from tests.tensorboard_explain.browser import launched
from tests.tensorboard_explain.logs import Log

N_SAMPLES, SIDE = 64, 64
COUNTS = (10, 200)


def written(folder: Path, n_explanations: int) -> int:
    """Write a run; returns its bytes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(N_SAMPLES, 3, SIDE, SIDE, generator=generator)
    probe, before = Probe(inputs=images, targets=torch.arange(N_SAMPLES) % 10), None
    log = Log(folder)
    for step in range(n_explanations):
        # smooth maps with noise, as those of a convnet are
        coarse = torch.randn(N_SAMPLES, 1, 8, 8, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
        values = smooth.expand(-1, 3, -1, -1) * images
        before = log.explanation(probe, values, step=step, before=before, count=step + 1)
    log.writer.close()
    return sum(path.stat().st_size for path in folder.glob("events.*"))


STEP = """async (index) => {
  const slider = document.querySelector('#slider-a'), stage = document.querySelector('#explain');
  const began = performance.now();
  const drawn = new Promise((done) => new MutationObserver((_, observer) => {
    observer.disconnect();
    requestAnimationFrame(() => done(performance.now() - began));
  }).observe(stage, { attributes: true, attributeFilter: ['data-drawn'] }));
  slider.value = index; slider.dispatchEvent(new Event('input'));
  return await drawn / 1000; }"""


def opening(browser: Browser, board: Board, n_explanations: int) -> tuple[float, float, float]:
    """Return the seconds until the heatmaps are there, until the curves are whole, and for one step of many."""
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    page = context.new_page()
    page.goto("about:blank")
    began = time.perf_counter()
    page.goto(f"{board.address}/#explain")
    handle = page.wait_for_selector("iframe[src*='name=explain']", state="attached", timeout=120_000)
    frame = None if handle is None else handle.content_frame()
    assert frame is not None
    frame.wait_for_selector("#explain[data-drawn]", timeout=120_000)
    drawn = time.perf_counter() - began
    frame.wait_for_selector("#explain[data-curves]", timeout=120_000)
    curves = time.perf_counter() - began
    assert frame.locator(".card").count() == N_SAMPLES
    # every eighth of the run, away from what was read in advance
    steps = [frame.evaluate(STEP, n_explanations * i // 8) for i in (0, 4, 2, 6, 1, 5)]
    context.close()
    return drawn, curves, statistics.median(steps)


def main() -> None:
    """Write the logs, open them in turns, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loader", choices=("fast", "classic"), default="fast")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folders = {n: Path(scratch) / str(n) / "run" for n in COUNTS}
        sizes = {n: written(folder, n) for n, folder in folders.items()}
        boards = {n: Board(folder.parent, load_fast=given.loader == "fast") for n, folder in folders.items()}
        try:
            browser = launched(playwright)
            for board in boards.values():
                board.wait_for_runs("run")
            times: dict[int, list[tuple[float, float, float]]] = {n: [] for n in COUNTS}
            for n, board in boards.items():
                opening(browser, board, n)  # the first one warms the browser's code
            for _ in range(given.rounds):
                for n, board in boards.items():
                    times[n].append(opening(browser, board, n))
        finally:
            for board in boards.values():
                board.stop()
    print(f"{N_SAMPLES} images of {SIDE} x {SIDE}, two methods; loader {given.loader}, medians of {given.rounds}")
    for n in COUNTS:
        drawn, curves, step = (statistics.median(each) for each in zip(*times[n], strict=True))
        print(f"{n:4d} explanations: {sizes[n] / 1e6:6.2f} MB, {sizes[n] / n / 1e3:5.1f} kB each; "
              f"drawn after {drawn:.2f} s, curves after {curves:.2f} s, "
              f"a step {1000 * step:.0f} ms")  # fmt: skip


if __name__ == "__main__":
    main()
