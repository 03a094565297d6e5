"""Take the pictures of the Explain tab and the report in docs/images from the demo's run, in headless Chromium.

    lightning-explain demo && python -m docs.screenshots runs/demo

Look at them before you commit them. Needs the `test` extra and a Chromium (tests/tensorboard_explain/browser.py).
"""

import argparse
import io
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from lightning_explain import __version__
from lightning_explain.report.command import run
from tests.tensorboard_explain.board import Board
from tests.tensorboard_explain.browser import Tab, launched

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1400, "height": 950}
MONITORS = {name: f"explain/{name}/tab" for name in ("attribution", "neurons", "path")}
NEURON = {"monitor": "neurons", "b": "62", "layer": "hidden.relu", "sort": "class:3", "neuron": "21"}
PATH = {"monitor": "path", "a": "629", "b": "62", "graph": "class%203"}
# file: (dark, state in the address); steps are those that the demo's ten epochs of 63 steps have
SHOTS = {
    "tab.png": (False, {"monitor": "attribution", "a": "251", "b": "62"}),
    "tab-dark.png": (True, {"monitor": "attribution", "a": "629", "b": "62", "class": "3"}),
    "tab-neurons.png": (False, NEURON),
    "tab-neurons-dark.png": (True, NEURON),
    "tab-path.png": (False, PATH),
    "tab-path-dark.png": (True, PATH),
}


def taken(browser: Browser, board: Board, *, dark: bool, state: dict[str, str]) -> Image.Image:
    """Open the tab with this state, and take a picture of the page."""
    page = browser.new_context(viewport=SIZE).new_page()  # type: ignore[arg-type]
    Tab(page, board.address).open(dark=dark, **{**state, "monitor": MONITORS[state["monitor"]]})
    page.wait_for_timeout(2000)
    page.mouse.move(2, 2)
    picture = Image.open(io.BytesIO(page.screenshot()))
    if "graph" in state:
        picture = picture.crop((0, 0, picture.width, 720))  # below is nothing
    page.context.close()
    return picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)


def report_taken(browser: Browser, logdir: Path, *, scheme: Literal["light", "dark"]) -> Image.Image:
    """Take a picture of the report's heatmaps over time and its first charts."""
    with tempfile.TemporaryDirectory() as folder:
        page_file = Path(folder) / "report.html"
        run([logdir], output=page_file, version=__version__, most_samples=10)
        page = browser.new_context(viewport={"width": 1180, "height": 1330}, color_scheme=scheme).new_page()
        page.goto(page_file.as_uri())
        picture = Image.open(io.BytesIO(page.screenshot()))
        page.context.close()
    return picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)


def main() -> None:
    """Start a TensorBoard and write every picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logdir", type=Path)
    logdir = parser.parse_args().logdir.resolve()
    board = Board(logdir, load_fast=True)
    try:
        with sync_playwright() as playwright:
            browser = launched(playwright)
            for name, (dark, state) in SHOTS.items():
                taken(browser, board, dark=dark, state=state).save(IMAGES / name, optimize=True)
            report_taken(browser, logdir, scheme="light").save(IMAGES / "report.png", optimize=True)
            browser.close()
    finally:
        board.stop()


if __name__ == "__main__":
    main()
