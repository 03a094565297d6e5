"""One log directory with a run of every kind, one TensorBoard for each of its two loaders, one browser."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, sync_playwright

from tests.tensorboard_explain import logs, pair_logs, strategy_logs, unit_logs
from tests.tensorboard_explain.board import Board
from tests.tensorboard_explain.browser import Tab, launched

MADE = {
    "alerted": logs.alerted_run,
    "entities": logs.entities_run,
    "faces": unit_logs.faces_run,
    "hostile": logs.hostile_run,
    "known": logs.known_run,
    "long": logs.long_run,
    "malformed": logs.malformed_run,
    "newer": logs.newer_run,
    "other": logs.other_data,
    "new path": logs.new_path_run,
    "path": logs.path_run,
    "signal": logs.signal_run,
    "table": logs.table_run,
    "text": logs.text_run,
}


@pytest.fixture(scope="session")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs, written by the first worker that needs them; nothing writes into them afterwards."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "tab" / "runs"
    folder.parent.mkdir(exist_ok=True)
    done = folder.with_name("done")
    with FileLock(folder.with_name("lock")):
        if not done.exists():
            for version in (0, 1):
                logs.trained_run(folder / "lightning_logs", version)
            for name, make in MADE.items():
                make(folder / name)
            done.touch()
    return folder


@pytest.fixture(scope="session", params=[True, False], ids=["fast", "classic"])
def board(logdir: Path, request: pytest.FixtureRequest) -> Iterator[Board]:
    """TensorBoard with the data loader that is written in Rust, and with the one in Python."""
    board = Board(logdir, load_fast=request.param)
    board.wait_for_runs("lightning_logs/version_0", "lightning_logs/version_1", *(set(MADE) - {"other"}))
    yield board
    board.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@pytest.fixture
def open_tab(chromium: Browser) -> Iterator[object]:
    """Opens tabs; at the end none of them may have reported an error."""
    tabs: list[Tab] = []

    def opened(board: Board) -> Tab:
        context = chromium.new_context(viewport={"width": 1400, "height": 950})
        tabs.append(Tab(context.new_page(), board.address))
        return tabs[-1]

    yield opened
    errors = [error for tab in tabs for error in tab.errors]
    for tab in tabs:
        tab.page.context.close()
    assert not errors


@pytest.fixture
def tab(open_tab: object, board: Board) -> Tab:
    return open_tab(board)  # type: ignore[operator]


@pytest.fixture(scope="session")
def pair_board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A TensorBoard of runs to compare, with one loader: the server's part is tested with both."""
    folder = tmp_path_factory.mktemp("pair") / "runs"
    pair_logs.pair_runs(folder)
    board = Board(folder, load_fast=True)
    board.wait_for_runs("a", "b", "c", "numbers", "old numbers", "pieces", "still", "faces")
    yield board
    board.stop()


@pytest.fixture
def pair_tab(open_tab: object, pair_board: Board) -> Tab:
    return open_tab(pair_board)  # type: ignore[operator]


@pytest.fixture(scope="session")
def strategy_board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A TensorBoard of runs with strategies."""
    folder = tmp_path_factory.mktemp("strategies") / "runs"
    strategy_logs.marked_run(folder / "marked")
    strategy_logs.marked_run(folder / "seed 1", seed=1)
    strategy_logs.words_run(folder / "words")
    strategy_logs.hostile_run(folder / "hostile")
    board = Board(folder, load_fast=True)
    board.wait_for_runs("marked", "seed 1", "words", "hostile")
    yield board
    board.stop()


@pytest.fixture
def strategy_tab(open_tab: object, strategy_board: Board) -> Tab:
    return open_tab(strategy_board)  # type: ignore[operator]
