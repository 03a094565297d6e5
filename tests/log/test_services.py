"""Weights & Biases, MLflow and Comet, each without a network: what a fit wrote is read back from what they keep."""

import importlib.util
import json
import os
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
from lightning.pytorch.loggers import CometLogger, CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, Probe
from lightning_explain.errors import ExplanationError, ExplanationWarning
from lightning_explain.log import Journal
from lightning_explain.log.choice import sink_of
from lightning_explain.log.comet_sink import CometSink
from lightning_explain.log.mlflow_sink import MLflowSink, mlflow_name
from lightning_explain.log.sinks import FolderSink
from lightning_explain.log.wandb_sink import WandbSink
from tests.events import Events
from tests.models import DigitData, DigitNet, digits, quiet_trainer
from tests.wandb_log import WandbRun

# what these packages warn of is theirs
pytestmark = pytest.mark.filterwarnings("ignore")

QUIET = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_DISABLE_GIT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_LOGGING_CONSOLE": "ERROR",
}
HOSTILE = ["../../x", "/etc/x", "..", "a/../../../b", "x" * 10_000, "𠀀" * 300, "<script>", "a\\..\\b", "猫", "犬"]
CLASSES = ["null", "<b>eins</b>", "../zwei", "猫", "犬", "fünf", "6 | 6", "7", "8", "9"]
CURVE = "explain/attribution/drift/previous"
HEATMAPS = "explain/attribution/heatmaps"
PICTURE = np.random.default_rng(0).integers(0, 2, (6, 9, 3), dtype=np.uint8)  # dark: nobody may stretch it


def needs(package: str) -> Any:
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"{package} IS NOT INSTALLED: its logger is not tested"
    )


@pytest.fixture(scope="module", autouse=True)
def offline() -> Iterator[None]:
    before = {key: os.environ.get(key) for key in QUIET}
    os.environ.update(QUIET)
    yield
    for key, value in before.items():
        os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def watched_fit(*loggers: Any) -> list[Any]:
    """Two epochs on digits with hostile class names."""
    pl.seed_everything(0, verbose=False)
    _, val = digits()
    probe = Probe.from_dataset(val, per_class=1, class_names=CLASSES)
    monitors = [
        AttributionMonitor(probe=probe, on_error="raise"),
        ActiveNeuronMonitor(class_names=CLASSES, on_error="raise"),
    ]
    trainer = quiet_trainer(logger=list(loggers), callbacks=monitors, log_every_n_steps=4)
    trainer.fit(DigitNet(), DigitData())
    return monitors


def array(encoded: bytes | Path) -> Any:
    return np.asarray(Image.open(BytesIO(encoded) if isinstance(encoded, bytes) else encoded).convert("RGB"))


def expected_curve(monitor: Any) -> dict[int, float]:
    return {r["step"]: r["scalars"][CURVE] for r in monitor.records if CURVE in r["scalars"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any], list[Any]]:
    """One fit with every logger at once, read back by all tests."""
    folder = tmp_path_factory.mktemp("all")
    loggers: list[Any] = [TensorBoardLogger(folder, name="tb", version=""), CSVLogger(folder, name="csv", version="")]
    if importlib.util.find_spec("wandb"):
        loggers.append(WandbLogger(save_dir=folder / "wandb", offline=True))
    if importlib.util.find_spec("mlflow"):
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        loggers.append(MLFlowLogger(tracking_uri=uri, artifact_location=(folder / "artifacts").as_uri()))
    if importlib.util.find_spec("comet_ml"):
        loggers.append(comet_logger(folder / "comet"))
    (folder / "wandb").mkdir()
    monitors = watched_fit(*loggers)
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
        if isinstance(logger, CometLogger):
            logger.experiment.end()
    return folder, loggers, monitors


def comet_logger(folder: Path) -> Any:
    import comet_ml

    logger = CometLogger(online=False, offline_directory=str(folder))
    # Lightning 2.6 disables an offline experiment, so that nothing is kept; this is what it means to make
    logger._experiment = comet_ml.OfflineExperiment(
        offline_directory=str(folder), log_code=False, log_graph=False, log_env_details=False, log_git_metadata=False,
        auto_output_logging=False, display_summary_level=0,
    )  # fmt: skip
    return logger


def of_kind(loggers: list[Any], kind: type) -> Any:
    return next(logger for logger in loggers if isinstance(logger, kind))


STEPS = [0, 7, 15]
"""Before training, and after each epoch of eight batches: where Lightning logs its own figures."""


@needs("wandb")
def test_wandb_has_curves_pictures_texts_and_records_at_lightnings_own_steps(run: Any) -> None:
    folder, _, (attribution, _) = run
    found = WandbRun(folder / "wandb")
    assert found.curve(CURVE) == pytest.approx(expected_curve(attribution))
    assert list(found.curve("val_acc")) == list(found.curve(CURVE)) == STEPS[1:]
    pictures = found.curve(HEATMAPS)
    assert list(pictures) == STEPS
    for entry in pictures.values():
        (name,), (caption,) = entry["filenames"], entry["captions"]
        assert array(found.file(name)).std() > 10
        assert "Red: speaks for it" in caption
    assert (array(found.file(name)) == Events(folder / "tb").picture(HEATMAPS)).all()
    texts = found.curve("explain/attribution/summary")
    assert list(texts) == STEPS[1:] and texts[15]["_type"] == "html-file"
    page = found.file(texts[15]["path"]).read_text()
    assert "| cosine |" in page and page.startswith("<pre")
    record = "explain/attribution/record/step_000000015.json"
    assert json.loads(found.file(record).read_text())["drift"]["previous"]["cosine"]
    assert record in found.saved


@needs("mlflow")
def test_mlflow_has_metrics_images_texts_and_records(run: Any, tmp_path: Path) -> None:
    folder, loggers, (attribution, neurons) = run
    logger = of_kind(loggers, MLFlowLogger)
    client, run_id = logger.experiment, logger.run_id
    history = {m.step: m.value for m in client.get_metric_history(run_id, CURVE)}
    assert history == pytest.approx(expected_curve(attribution))
    assert {m.step for m in client.get_metric_history(run_id, "val_acc")} >= set(history)
    images = [file.path for file in client.list_artifacts(run_id, "images") if file.path.endswith(".png")]
    heatmaps = {int(p.split("+")[2]): p for p in images if p.startswith("images/explain~attribution~heatmaps+step+")}
    assert sorted(heatmaps) == STEPS
    picture = array(Path(client.download_artifacts(run_id, heatmaps[15], str(tmp_path))))
    assert (picture == Events(folder / "tb").picture(HEATMAPS)).all()
    text = Path(client.download_artifacts(run_id, "explain/attribution/summary/step_000000015.md", str(tmp_path)))
    assert "cosine" in text.read_text()
    record = client.download_artifacts(run_id, "explain/attribution/record/step_000000007.json", str(tmp_path))
    assert json.loads(Path(record).read_text())["step"] == 7
    # two classes whose letters MLflow does not allow keep a curve each
    cat, dog = (mlflow_name(f"explain/neurons/f1/{name}") for name in ("猫", "犬"))
    last = neurons.records[-1]["scalars"]
    for name, safe in (("猫", cat), ("犬", dog)):
        (*_, point) = client.get_metric_history(run_id, safe)
        assert point.value == pytest.approx(last[f"explain/neurons/f1/{name}"])


@needs("comet_ml")
def test_comet_has_metrics_images_texts_and_records(run: Any) -> None:
    folder, _, (attribution, _) = run
    (path,) = (folder / "comet").glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        messages = [json.loads(line) for line in archive.read("messages.json").splitlines()]
        metrics = [m["payload"]["metric"] for m in messages if m["type"] == "metric_msg"]
        curve = {m["step"]: m["metricValue"] for m in metrics if m["metricName"] == CURVE}
        assert curve == pytest.approx(expected_curve(attribution))
        uploads = [m["payload"] for m in messages if m["type"] == "file_upload"]
        heatmaps = [u for u in uploads if u["additional_params"].get("figName") == HEATMAPS]
        assert [u["additional_params"]["step"] for u in heatmaps] == STEPS
        picture = array(archive.read(heatmaps[-1]["file_path"]))
        assert (picture == Events(folder / "tb").picture(HEATMAPS)).all()
        texts = [u for u in uploads if u["metadata"].get("tag") == "explain/attribution/summary"]
        assert [u["additional_params"]["step"] for u in texts] == STEPS[1:]
        assert b"cosine" in archive.read(texts[-1]["file_path"])
        name = "explain/attribution/record/step_000000015.json"
        (record,) = [u for u in uploads if u["additional_params"].get("fileName") == name]
        assert json.loads(archive.read(record["file_path"]))["step"] == 15


def test_every_logger_tells_the_same_as_tensorboard(run: Any) -> None:
    folder, _, monitors = run
    assert Events(folder / "tb").curve(CURVE) == pytest.approx(expected_curve(monitors[0]))
    assert len(list((folder / "csv/explain/attribution/heatmaps").glob("*.png"))) == 3
    lines = (folder / "csv/explain/attribution/record.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == STEPS


def test_nothing_is_written_outside_the_loggers_own_folders(run: Any) -> None:
    folder = run[0]
    assert {path.name for path in folder.iterdir()} <= {
        "tb", "csv", "wandb", "mlflow.db", "artifacts", "comet", "explain", "images",
    }  # fmt: skip
    for name in ("wandb/wandb", "artifacts", "comet"):
        assert not (folder / name / "explain").exists()


class Taken:
    """A W&B, MLflow or Comet client that notes what it is given."""

    def __init__(self, folder: Path) -> None:
        self.dir, self.names, self.disabled = str(folder), [], False

    def log_image(self, *args: Any, key: str = "", name: str = "", **_: Any) -> None:
        self.names.append(key or name)

    def log_text(self, *args: Any, **_: Any) -> None:
        self.names.append(args[-1] if len(args) == 3 else "")

    def log_dict(self, run_id: str, values: Any, path: str) -> None:
        self.names.append(path)

    def log_asset_data(self, data: str, *, name: str, step: int) -> None:
        self.names.append(name)

    def save(self, path: str, *, base_path: str, policy: str) -> None:
        assert Path(path).is_relative_to(base_path)
        self.names.append(str(Path(path).relative_to(base_path)))


class WithClient:
    """A logger of that client."""

    run_id = "id"

    def __init__(self, client: Taken) -> None:
        self.experiment = client


@pytest.mark.parametrize("tag", HOSTILE)
def test_no_tag_becomes_a_path_that_leads_out(tag: str, tmp_path: Path) -> None:
    client = Taken(tmp_path / "files")
    for sink in (WandbSink(WithClient(client)), MLflowSink(WithClient(client)), CometSink(client)):
        sink.record(f"explain/{tag}", {"a": 1}, 1)
    MLflowSink(WithClient(client)).text(f"explain/{tag}", "words", 1)
    assert len(client.names) == 4
    for name in client.names:
        assert name.startswith("explain/") and "//" not in name and ".." not in name.split("/")
        assert all(len(part.encode()) <= 255 for part in name.split("/"))
    (written,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written.is_relative_to(tmp_path / "files/explain")


@needs("wandb")
def test_hostile_words_stay_words_in_wandb() -> None:
    class Logger:
        def log_metrics(self, metrics: Any, step: int) -> None:
            ((self.tag, self.html),) = metrics.items()

    logger = Logger()
    WandbSink(logger).text("t", "<script>alert(1)</script> & | a |", 1)
    page = Path(logger.html._path).read_text()
    assert "&lt;script&gt;" in page and "<script" not in page


@needs("wandb")
@pytest.mark.parametrize("kind", ["wandb", "comet"])
def test_a_picture_arrives_as_it_is(kind: str, tmp_path: Path) -> None:
    class Client:
        def log_image(self, first: Any, second: Any = None, **options: Any) -> None:
            self.image = first if second is None else second[0]

    client = Client()
    (WandbSink(client) if kind == "wandb" else CometSink(client)).image("a", PICTURE, 3, "what it shows")
    if kind == "comet":
        found = array(client.image.getvalue())
    else:
        import wandb

        found = array(Path(wandb.Image(client.image)._path))
    assert (found == PICTURE).all()


@needs("comet_ml")
def test_a_disabled_comet_experiment_leaves_the_pictures_in_its_folder(tmp_path: Path) -> None:
    logger = CometLogger(online=False, offline_directory=str(tmp_path))
    if logger.experiment.disabled:  # as Lightning 2.6 makes it
        assert sink_of(logger) == FolderSink(tmp_path)


class Failing(CSVLogger):
    """A logger whose server goes away once the run has begun."""

    away = False

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        raise ConnectionError("server is away")

    @property
    def log_dir(self) -> str:
        if self.away:
            raise ConnectionError("server is away")
        return super().log_dir


class Leaving(pl.Callback):
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.loggers[-1].away = True


def test_a_logger_that_fails_takes_nothing_from_the_others(tmp_path: Path) -> None:
    alone = TensorBoardLogger(tmp_path, name="alone", version="")
    beside = TensorBoardLogger(tmp_path, name="beside", version="")
    for loggers in ([alone], [beside, Failing(tmp_path)]):
        pl.seed_everything(0, verbose=False)
        callbacks = [Leaving(), AttributionMonitor(), ActiveNeuronMonitor()]
        trainer = quiet_trainer(logger=loggers, callbacks=callbacks, max_epochs=1)
        model = DigitNet()
        model.log = lambda *args, **options: None  # Lightning's own metrics would fail as well, and kill the run
        if len(loggers) == 1:
            trainer.fit(model, DigitData())
        else:
            with pytest.warns(ExplanationWarning, match="Failing: ConnectionError: server is away"):
                trainer.fit(model, DigitData())
        assert trainer.global_step == 8
    one, other = Events(tmp_path / "alone"), Events(tmp_path / "beside")
    assert one.images == other.images != [] and one.texts == other.texts
    assert one.scalars == other.scalars and CURVE in other.scalars


def test_failures_wait_for_the_end_of_a_with_statement(tmp_path: Path) -> None:
    class Trainer:
        is_global_zero = True

        def __init__(self) -> None:
            self.loggers = [Failing(tmp_path), CSVLogger(tmp_path, name="ok", version="")]
            self.loggers[0].away = True

    away = pytest.raises(ExplanationError, match="^Failing: ConnectionError: server is away$")
    with away, Journal(Trainer(), 1) as journal:
        journal.text("a", "words")
        journal.image("b", PICTURE)
    assert len(list((tmp_path / "ok").rglob("step_*"))) == 2
    with pytest.raises(ExplanationError, match="server is away"):
        Journal(Trainer(), 1).text("c", "words")
    with pytest.raises(KeyError), Journal(Trainer(), 1):  # what happened inside comes first
        raise KeyError
