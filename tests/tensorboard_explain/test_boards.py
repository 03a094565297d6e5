"""TensorBoards of their own: without our data, below a path prefix, while a run is being written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from lightning_explain import Probe
from tests.tensorboard_explain import logs
from tests.tensorboard_explain.board import Board
from tests.tensorboard_explain.browser import Tab

Opener = Callable[[Board], Tab]


@contextmanager
def running(logdir: Path, *, load_fast: bool, options: tuple[str, ...] = ()) -> Iterator[Board]:
    board = Board(logdir, load_fast=load_fast, options=options)
    try:
        yield board
    finally:
        board.stop()


@pytest.mark.parametrize("load_fast", [True, False])
def test_a_log_directory_without_our_data_leaves_tensorboard_as_it_is(
    load_fast: bool, tmp_path: Path, open_tab: Opener
) -> None:
    logs.other_data(tmp_path / "runs" / "a")
    with running(tmp_path / "runs", load_fast=load_fast) as board:
        for _ in range(60):
            listed = board.json("data/plugins_listing")
            if listed["scalars"]["enabled"]:
                break
        assert listed["scalars"]["enabled"] and listed["text"]["enabled"]
        assert not listed["explain"]["enabled"]
        page = open_tab(board).page
        page.goto(board.address)
        page.wait_for_selector("text=INACTIVE", timeout=60_000)
        assert page.get_by_role("tab", name="Explain").count() == 0  # not among the tabs
        tab = open_tab(board).open()  # who asks for it anyway is told what to do
        assert "AttributionMonitor()" in tab.text(".empty") and "ActiveNeuronMonitor()" in tab.text(".empty")


def test_a_path_prefix_changes_nothing(tmp_path: Path, open_tab: Opener) -> None:
    logs.known_run(tmp_path / "runs" / "known")
    with running(tmp_path / "runs", load_fast=False, options=("--path_prefix", "/deep/down")) as board:
        board.wait_for_runs("known")
        assert board.address.endswith("/deep/down")
        tab = open_tab(board).open(run="known", b="0")
        assert tab.count(".card") == 2


@pytest.mark.parametrize("load_fast", [True, False])
def test_a_run_that_goes_on_appears_by_itself(load_fast: bool, tmp_path: Path, open_tab: Opener) -> None:
    (tmp_path / "runs").mkdir()
    with running(tmp_path / "runs", load_fast=load_fast) as board:
        tab = open_tab(board).open()
        assert tab.frame.locator(".empty").is_visible()
        log = logs.Log(tmp_path / "runs" / "live")
        probe = Probe(inputs=torch.rand(2, 1, 4, 4), targets=torch.tensor([0, 1]))
        log.explanation(probe, torch.randn(2, 1, 4, 4), step=0)
        tab.drawn("0/")
        log.explanation(probe, torch.randn(2, 1, 4, 4), step=7, count=2)
        tab.drawn("7/")  # the latest step is followed
        assert tab.text(".kept") == "2 explanations, all kept"
        tab.frame.locator("#slider-a").evaluate("s => { s.value = 0; s.dispatchEvent(new Event('input')); }")
        tab.drawn("0/")
        log.explanation(probe, torch.randn(2, 1, 4, 4), step=9, count=3)
        tab.frame.wait_for_function("document.querySelector('.kept').innerText.startsWith('3 ')", timeout=30_000)
        tab.drawn("0/")  # who looks at an earlier step is left there
        logs.known_run(tmp_path / "runs" / "second")
        tab.frame.wait_for_function("document.querySelectorAll('.toolbar option').length === 2", timeout=30_000)


def test_tensorboards_own_reload_button_reloads_the_tab(tmp_path: Path, open_tab: Opener) -> None:
    log, probe = logs.Log(tmp_path / "runs" / "a"), logs.image_probe(2, 4)
    log.explanation(probe, torch.randn(2, 1, 4, 4), step=0)
    with running(tmp_path / "runs", load_fast=False) as board:
        board.wait_for_runs("a")
        tab = open_tab(board).open()
        tab.field("Live").uncheck()
        tab.page.wait_for_timeout(6000)  # longer than the tab waits between two looks of its own
        log.explanation(probe, torch.randn(2, 1, 4, 4), step=7, count=2)
        while len(board.data("events", run="a", tag="explain/attribution/tab")["events"]) < 2:
            tab.page.wait_for_timeout(300)
        tab.page.wait_for_timeout(6000)
        assert tab.count("#explain[data-drawn='0/']") == 1
        tab.page.locator(".reload-button").click()
        tab.drawn("7/")


def test_dropped_events_are_counted(tmp_path: Path, open_tab: Opener) -> None:
    log, probe = logs.Log(tmp_path / "runs" / "a"), logs.image_probe(2, 4)
    for step in range(30):
        log.explanation(probe, torch.randn(2, 1, 4, 4), step=step, count=step + 1)
    with running(tmp_path / "runs", load_fast=False, options=("--samples_per_plugin", "explain=10")) as board:
        board.wait_for_runs("a")
        tab = open_tab(board).open(run="a")
        assert tab.text(".kept").startswith("10 of 30 logged explanations are kept")
