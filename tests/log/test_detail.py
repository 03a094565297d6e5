"""What goes to the loggers by default, and what else a callback can make go there."""

import json
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_explain import (
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    InputXGradient,
    IntegratedGradients,
    Probe,
    Saliency,
)
from lightning_explain.log.detail import Detail, monitored_tags
from tests.models import DigitNet, digits
from tests.training import fit, logged_fit

SCALARS, IMAGES = 25, 12

TELLING = {
    *(f"attribution/drift/{of}{end}" for of in ("previous", "first") for end in ("", "_error")),
    *(f"attribution/{of}" for of in ("error", "total_attribution", "overhead")),
    *(f"neurons/all_layers/{of}" for of in ("dead", "always_on", "exclusive", "selectivity")),
    *(f"neurons/all_layers/{of}" for of in ("turnover", "gap", "purity")),
    *(f"neurons/{of}" for of in ("macro_f1", "overhead")),
    *(f"path/{of}" for of in ("turnover", "shown_share", "overhead")),
}


def monitors(**options):
    options = {"on_error": "raise", **options}
    return [
        ActiveNeuronMonitor(method=InputXGradient(), ablation=2, **options),
        AttributionMonitor(method=IntegratedGradients(n_steps=4), **options),
        DecisionPathMonitor(n_units=3, n_paths=2, **options),
    ]


def ours(tags):
    return sorted(tag.removeprefix("explain/") for tag in tags if tag.startswith("explain/"))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same run twice: detail -> its monitors and its events."""
    found = {}
    for detail in ("terse", "full"):
        given = monitors()
        found[detail] = given, logged_fit(given, tmp_path_factory.mktemp(detail), detail=detail)[1]
    return found


def test_by_default_the_loggers_get_few_metrics_and_pictures_of_ten_classes(both):
    events = both["terse"][1]
    assert set(ours(events.scalars)) == TELLING
    assert len(TELLING) <= SCALARS
    assert 0 < len(ours(events.images)) <= IMAGES
    assert {"attribution/heatmaps", "attribution/filmstrip", "path/0"} <= set(ours(events.images))


def test_the_first_card_of_the_dashboard_is_drift(both):
    events = both["terse"][1]
    # TensorBoard sorts the cards of a group, of all kinds, by tag
    assert ours([*events.scalars, *events.images])[0] == "attribution/drift/first"
    assert "how far the explanation is from the first one" in events.description("explain/attribution/drift/first")


def test_full_detail_logs_more_and_nothing_less(both):
    terse, full = both["terse"][1], both["full"][1]
    assert set(ours(terse.scalars)) < set(ours(full.scalars))
    assert set(ours(terse.images)) < set(ours(full.images))
    assert len(ours(full.scalars)) > 100
    assert {"attribution/drift/7", "neurons/f1/7", "neurons/head.1/dead"} <= set(ours(full.scalars))
    for tag in terse.scalars:
        if "overhead" not in tag:
            assert terse.curve(tag) == full.curve(tag)


def test_records_and_the_tab_hold_everything_either_way(both):
    for terse, full in zip(both["terse"][0], both["full"][0], strict=True):
        assert terse.detail == "terse"
        assert [set(entry["scalars"]) for entry in terse.records] == [set(entry["scalars"]) for entry in full.records]
        assert {*terse.records[-1]} == {*full.records[-1]}
    for name in ("attribution", "neurons", "path"):
        tab, whole = (both[detail][1].blob(f"explain/{name}/tab") for detail in ("terse", "full"))
        assert tab.keys() == whole.keys()
        for part in ("layers", "graphs", "curve", "scores"):
            assert (part in tab) == (part in whole)
            if part in tab:
                assert len(tab[part]) == len(whole[part])


def test_the_machine_readable_record_has_every_metric(tmp_path):
    logger = TensorBoardLogger(tmp_path, "run", version=0)
    given = monitors()
    fit(given, logger=logger, detail="terse", max_epochs=1)
    for monitor in given:
        lines = (tmp_path / f"run/version_0/explain/{monitor.name}/record.jsonl").read_text().splitlines()
        record = json.loads(lines[-1])
        assert record["scalars"].keys() == monitor.records[-1]["scalars"].keys()
        assert f"explain/{monitor.name}/overhead" in record["scalars"]


class Own(pl.Callback):
    """Somebody's own callback, with names of its own for what it watches."""

    def __init__(self, wanted):
        self.wanted = wanted


NAMED = {
    "explain/neurons/head.1/dead": lambda key: EarlyStopping(key, patience=9),
    "explain/attribution/drift/3": lambda key: EarlyStopping(key, patience=9),
    "explain/neurons/recall/4": lambda key: Own([key]),
    "explain/neurons/recall/5": lambda key: Own({"recall": key}),
    "explain/path/class_turnover/2": Own,
}


def test_a_metric_that_another_callback_names_is_logged(tmp_path):
    watching = [make(key) for key, make in NAMED.items()]
    trainer, events = logged_fit([*watching, *monitors()], tmp_path, detail="terse")
    assert set(ours(events.scalars)) == {*TELLING, *(key.removeprefix("explain/") for key in NAMED)}
    for key in NAMED:
        assert float(trainer.callback_metrics[key]) == pytest.approx(list(events.curve(key).values())[-1])


def test_a_checkpoint_by_a_metric_that_is_not_logged_by_default_finds_it(tmp_path):
    key = "explain/neurons/f1/3"
    named = {"filename": "{explain/neurons/recall/2:.2f}", "auto_insert_metric_name": False}
    best = ModelCheckpoint(tmp_path / "best", monitor=key, mode="max", **named)
    given = ActiveNeuronMonitor(feeding=0, maps=0, on_error="raise")
    _, events = logged_fit([given, best], tmp_path, detail="terse", enable_checkpointing=True)
    assert float(best.best_model_score) == pytest.approx(max(events.curve(key).values()))
    assert "explain/neurons/recall/2" in events.scalars


class Scheduled(DigitNet):
    """Lowers its learning rate by a metric of a monitor."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "explain/neurons/f1/3"}}


def test_a_learning_rate_scheduler_can_name_any_metric(tmp_path):
    given = ActiveNeuronMonitor(feeding=0, maps=0, on_error="raise")
    _, events = logged_fit(given, tmp_path, model=Scheduled, detail="terse")
    assert "explain/neurons/f1/3" in events.scalars


def test_every_metric_can_be_read_from_the_trainer(tmp_path):
    trainer, events = logged_fit(monitors()[0], tmp_path, detail="terse", max_epochs=1)
    assert "explain/neurons/f1/3" not in events.scalars
    assert {"explain/neurons/f1/3", "explain/neurons/head.1/dead"} <= trainer.callback_metrics.keys()


def test_several_methods_and_named_references_stay_few(tmp_path):
    methods = [IntegratedGradients(n_steps=4), InputXGradient(), Saliency()]
    probe = Probe.from_dataset(digits()[1], per_class=2)
    monitor = AttributionMonitor(method=methods, probe=probe, faithfulness=["deletion"], on_error="raise")
    _, events = logged_fit(monitor, tmp_path, detail="terse")
    assert "explain/attribution/Saliency/deletion_auc" in events.scalars
    assert "explain/attribution/agreement/IntegratedGradients_vs_Saliency" in events.scalars
    assert len(ours(events.scalars)) <= SCALARS
    assert ours(events.images) == ["attribution/filmstrip", "attribution/heatmaps"]
    assert not any("class" in title for title in events.charts())


def test_steps_of_training_are_told_of_all_layers(tmp_path):
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, every_n_train_steps=4, on_error="raise")
    _, events = logged_fit(monitor, tmp_path, detail="terse", max_epochs=1)
    assert "explain/neurons/train/all_layers/dead" in events.scalars
    assert len(ours(events.scalars)) <= SCALARS


@pytest.mark.parametrize("monitor", [ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor])
def test_a_monitor_is_terse_unless_told_otherwise(monitor):
    assert monitor().detail == "terse"
    assert monitor(detail="full").detail == "full"


def test_names_of_other_things_are_no_tags():
    trainer = SimpleNamespace(callbacks=[Own("val_loss"), Own(3), Own([1, "explain/a/b"])], lr_scheduler_configs=[])
    assert monitored_tags(trainer) == {"explain/a/b"}
    assert Detail("terse").logged(trainer, {"explain/a/b": 1.0, "explain/a/c": 2.0, "x": 3.0}, ["x"]) == {
        "explain/a/b": 1.0,
        "x": 3.0,
    }
