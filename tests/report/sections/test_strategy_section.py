"""Strategies on the report's page."""

from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain import AttributionMonitor, Saliency, Strategies
from tests.callbacks.attribution.strategies.marked_digits import loaders, net, two_kinds
from tests.events import Events
from tests.report.reports import assert_loads_nothing, reported, texts
from tests.tensorboard_explain import logs
from tests.training import fit


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which class 1 comes to be decided in two ways."""
    images, labels, _ = two_kinds()
    watching = AttributionMonitor(
        method=Saliency(), measures=["cosine"], strategies=Strategies(per_class=60), on_error="raise"
    )
    logger = TensorBoardLogger(tmp_path_factory.mktemp("run"), "run", version=0)
    fit(watching, model=net, data=loaders(images, labels), max_epochs=3, logger=logger)
    return Path(logger.log_dir)


def test_the_number_of_strategies_and_the_share_are_those_of_the_curves(run: Path, tmp_path: Path) -> None:
    page = reported(run, tmp_path)
    assert_loads_nothing(page)
    (block,) = page.all("div", "strategies")
    number, share = block.all("div", "chart")
    # a class of several strategies comes first
    assert texts(number.all("li")) == ["1", "0"]
    events = Events(run)
    of_one, of_zero = (events.curve(f"explain/attribution/strategies/{name}") for name in (1, 0))
    told = [texts(row.all("th") + row.all("td")) for row in number.all("tr")[1:]]
    assert told == [[f"{step:,}", f"{of_one[step]:.0f}", f"{of_zero[step]:.0f}"] for step in of_one]
    assert list(of_one.values())[-1] == 2
    shares = events.curve("explain/attribution/strategies/1/share")
    drawn = [float(row.all("td")[0].text) for row in share.all("tr")[1:]]
    assert drawn == pytest.approx(list(shares.values()), abs=0.006)
    last = max(shares)
    assert f"At step {last:,}: 1: 2 (" in block.all("p", "note")[0].text


def test_the_picture_is_the_last_one_logged(run: Path, tmp_path: Path) -> None:
    page = reported(run, tmp_path)
    (block,) = page.all("div", "strategies")
    image, film = block.all("img")
    logged = Events(run).picture("explain/attribution/strategies")
    assert np.array_equal(image.pixels()[..., :3], logged)
    assert f"{int(image.attributes['height'])}" == str(logged.shape[0])
    over_time = Events(run).picture("explain/attribution/strategies/filmstrip")
    assert np.array_equal(film.pixels()[..., :3], over_time)
    assert over_time.shape[1] > 4 * 64  # a column for each of four explanations


def test_a_run_without_strategies_has_no_such_section(tmp_path: Path) -> None:
    logs.known_run(tmp_path / "run")
    assert not reported(tmp_path / "run", tmp_path).all("div", "strategies")


def test_a_picture_that_is_none_and_odd_names_cost_only_themselves(tmp_path: Path) -> None:
    logs.known_run(tmp_path / "run")
    log = logs.Log(tmp_path / "run")
    for step, number in ((0, 1.0), (5, 3.0)):
        log.writer.add_scalar("explain/attribution/strategies/<b>cat", number, step)
    log.writer.add_scalar("explain/attribution/strategies/share", 1.0, 5)
    log.writer.close()
    page = reported(tmp_path / "run", tmp_path)
    assert_loads_nothing(page)
    (block,) = page.all("div", "strategies")
    assert texts(block.all("div", "chart")[0].all("li")) == ["<b>cat", "share"]
    assert "<b>cat: 3 (" in block.text and not block.all("img")
