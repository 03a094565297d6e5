"""Strategies of a run that is over: its checkpoints are explained as the run was, and the report shows them."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain import AttributionMonitor, DriftAlert, Saliency, Strategies, replay
from tests.callbacks.attribution.strategies.marked_digits import loaders, net, two_kinds
from tests.events import Events, tab_headers
from tests.report.reports import reported
from tests.training import fit

pytestmark = pytest.mark.filterwarnings("ignore:.*a new strategy")

Run = tuple[Path, Path, AttributionMonitor, AttributionMonitor]


def monitor() -> AttributionMonitor:
    return AttributionMonitor(
        method=Saliency(),
        strategies=Strategies(per_class=60),
        alert=DriftAlert(),
        on_error="raise",
        measures=["cosine"],
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that was watched, and the same one replayed from its checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    images, labels, _ = two_kinds()
    train, held_out = loaders(images, labels)
    watching, explaining = monitor(), monitor()
    saving = ModelCheckpoint(folder / "checkpoints", save_top_k=-1)
    logger = TensorBoardLogger(folder, "watched", version="")
    fit(watching, saving, model=net, data=(train, held_out), max_epochs=3, logger=logger, enable_checkpointing=True)
    result = replay(
        net(), folder, [explaining], train_dataloaders=train, val_dataloaders=held_out,
        logdir=folder / "replayed", progress=False,
    )  # fmt: skip
    assert result.log_dir is not None
    return folder, result.log_dir, watching, explaining


def test_a_replay_finds_the_strategies_of_the_watched_run(
    run: Run,
) -> None:
    _, _, watching, explaining = run
    before, now = watching.latest.strategies, explaining.latest.strategies
    # the sample is drawn from the training data, where the mark is, and is the same one
    assert now.sample.fingerprint == before.sample.fingerprint
    assert len(now.classes[1].strategies.strategies) == 2
    for c, one in now.classes.items():
        assert torch.equal(one.strategies.assignment, before.classes[c].strategies.assignment)
    # the watched run also explained the network before training, and logs a step lower
    for known, again in zip(watching.records[1:], explaining.records, strict=True):
        assert again["step"] == known["step"] + 1
        shares = [
            {c: [s["share"] for s in each["strategies"]] for c, each in record["strategies"]["classes"].items()}
            for record in (known, again)
        ]
        assert shares[0] == shares[1]


def test_a_replay_writes_what_the_watched_run_wrote(run: Run) -> None:
    folder, log_dir, _, explaining = run
    events, watched = Events(log_dir), Events(folder / "watched")
    steps = [record["step"] for record in explaining.records]
    for what in ("strategies/1", "strategies/1/share"):
        curve, known = events.curve(f"explain/attribution/{what}"), watched.curve(f"explain/attribution/{what}")
        assert list(curve) == steps
        assert list(curve.values()) == list(known.values())[1:]
    ours = {tag for tag in events.scalars + events.images if "/strategies" in tag}
    assert ours == {tag for tag in watched.scalars + watched.images if "/strategies" in tag}
    assert "explain/attribution/strategies/filmstrip" in ours
    headers = tab_headers(log_dir, "explain/attribution/strategies/tab")
    assert [(header["step"], header["count"]) for header in headers] == [(step, 1 + i) for i, step in enumerate(steps)]


def test_the_report_shows_the_strategies_of_a_replay(run: Run, tmp_path: Path) -> None:
    _, log_dir, *_ = run
    (block,) = reported(log_dir, tmp_path).all("div", "strategies")
    assert len(block.all("img")) == 2
    assert "1: 2 (20.0 %" in block.all("p", "note")[0].text


def test_a_replay_without_training_data_says_where_its_sample_is_from(run: Run, tmp_path: Path) -> None:
    folder, *_ = run
    images, labels, _ = two_kinds()
    _, held_out = loaders(images, labels, n_held_out=80)
    explaining = AttributionMonitor(method=Saliency(), strategies=Strategies(per_class=30))
    with pytest.warns(match=r"strategies.*validation"):
        replay(net(), folder, [explaining], val_dataloaders=held_out, logdir=tmp_path, progress=False)
    assert len(explaining.latest.strategies.sample) <= 80
