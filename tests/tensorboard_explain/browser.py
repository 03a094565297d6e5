"""Headless Chromium looking at the Explain tab inside TensorBoard.

To install a browser: `apt-get install chromium` (Debian, Ubuntu: `chromium-browser`), or `playwright install chromium`
for playwright's own. Without one these tests are skipped, unless `EXPLAIN_NEEDS_BROWSER=1` says that they must run, as
`.ci/run` does.
"""

import os
import shutil
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Frame, Page, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOW = "No browser: install one with `apt-get install chromium` or `playwright install chromium`."


def launched(playwright: Playwright) -> Browser:
    """Start the installed Chromium, else playwright's own; skip or fail where there is neither."""
    installed = next((path for name in NAMES if (path := shutil.which(name))), None)
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox does not work for root
    try:
        return playwright.chromium.launch(executable_path=installed, args=[*QUIET, *root])
    except Error as error:
        if os.environ.get("EXPLAIN_NEEDS_BROWSER"):
            pytest.fail(f"{HOW} {error}")
        pytest.skip(HOW)


class Tab:
    """The Explain tab of one TensorBoard, open in a page."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        # a 4xx of ours is expected with malformed events, and said in the page
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def open(self, *, dark: bool = False, **state: str) -> "Tab":
        """Open the tab with a state in the address."""
        words = "".join(f"&p.explain.{key}={value}" for key, value in state.items())
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/?darkMode={str(dark).lower()}#explain{words}")
        self.frame.wait_for_selector("#explain[data-curves], #explain[data-state=empty]", timeout=60_000)
        return self

    @property
    def frame(self) -> Frame:
        """The tab's own document."""
        handle = self.page.wait_for_selector("iframe[src*='name=explain']", state="attached", timeout=60_000)
        frame = None if handle is None else handle.content_frame()
        assert frame is not None
        return frame

    def drawn(self, words: str) -> None:
        """Wait until steps A and B are drawn, given as `A/B`."""
        self.frame.wait_for_selector(f'#explain[data-drawn="{words}"]', timeout=30_000)

    def text(self, selector: str) -> str:
        return self.frame.locator(selector).first.inner_text()

    def texts(self, selector: str) -> list[str]:
        return self.frame.locator(selector).all_inner_texts()

    def count(self, selector: str) -> int:
        return self.frame.locator(selector).count()

    def field(self, words: str) -> Any:
        return self.frame.get_by_label(words, exact=True)

    def pixel(self, selector: str, x: int, y: int) -> list[int]:
        """The colour of a canvas's pixel."""
        script = "(c, [x, y]) => [...c.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)"
        return self.frame.locator(selector).first.evaluate(script, [x, y])

    def wait_for_red(self, selector: str, x: int, red: int) -> None:
        """Wait until a canvas's pixel in its first row has this much red."""
        script = "([s, x, red]) => document.querySelector(s)?.getContext('2d').getImageData(x, 0, 1, 1).data[0] === red"
        self.frame.wait_for_function(script, arg=[selector, x, red])
