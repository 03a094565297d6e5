"""What loggers show beside metrics and pictures of neurons and paths."""

from pathlib import Path
from typing import Any

from docs.tag_reference import general
from lightning_explain import ActiveNeuronMonitor, DecisionPathMonitor
from lightning_explain.log.meanings import METRICS, metric_meaning, picture_meaning
from tests.events import Events
from tests.training import logged_fit

DOCS = Path(__file__).parents[2] / "docs"


def test_every_metric_and_picture_of_neurons_and_paths_says_what_it_is_once(tmp_path: Path) -> None:
    monitors: list[Any] = [ActiveNeuronMonitor(on_error="raise"), DecisionPathMonitor(ablation=True, on_error="raise")]
    trainer, events = logged_fit(monitors, tmp_path, detail="full")
    tags = [tag for tag in events.scalars if tag.startswith("explain/")]
    assert len(tags) > 30
    for tag in tags:
        assert events.description(tag) == metric_meaning(tag) != "", tag
    for tag in events.images:
        assert events.description(tag) == picture_meaning(tag) != "", tag
    page, layers = (DOCS / "tags.md").read_text(), [name for name, _ in trainer.lightning_module.named_modules()]
    for tag in (*tags, *events.images):
        assert f"`{general(tag, layers, [str(c) for c in range(10)])}`" in page, "run python -m docs.tag_reference"
    assert trainer.logger is not None
    raw = b"".join(path.read_bytes() for path in Path(str(trainer.logger.log_dir)).glob("events*"))
    assert raw.count(METRICS["macro_f1"].encode()) == 1


def test_a_layer_or_class_of_a_metrics_name_is_no_metric() -> None:
    assert metric_meaning("explain/neurons/dead/turnover") == METRICS["turnover"]
    assert metric_meaning("explain/dead/f1/cat") == METRICS["f1"]
    assert metric_meaning("explain/neurons/unknown") == ""


def test_a_second_file_has_them_too(tmp_path: Path) -> None:
    for run in ("a", "b"):
        _, events = logged_fit(ActiveNeuronMonitor(on_error="raise"), tmp_path / run, max_epochs=1)
        assert isinstance(events, Events)
        assert events.description("explain/neurons/macro_f1") == METRICS["macro_f1"]
