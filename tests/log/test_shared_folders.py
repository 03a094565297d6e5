"""DVCLive, SwanLab and Aim where they are installed, two runs into one folder: what arrived is read back."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, Probe
from lightning_explain.log.choice import sink_of
from lightning_explain.log.sinks import FolderSink
from tests.log.loggers import files
from tests.models import DigitData, DigitNet, digits, quiet_trainer

# what these packages warn of is theirs
pytestmark = pytest.mark.filterwarnings("ignore")

CURVE = "explain/attribution/drift/previous"


def watched_fit(logger: Any, root: Path) -> tuple[list[float], Path]:
    """Return the curve that a fit logged and the folder of its files, after looking at all kinds of them."""
    pl.seed_everything(0, verbose=False)
    probe = Probe.from_dataset(digits()[1], per_class=1)
    attribution = AttributionMonitor(probe=probe, on_error="raise")
    monitors = [attribution, ActiveNeuronMonitor(on_error="raise"), DecisionPathMonitor(probe=probe, on_error="raise")]
    trainer = quiet_trainer(logger=logger, callbacks=monitors, detail="terse", default_root_dir=str(root))
    trainer.fit(DigitNet(), DigitData())
    sink = sink_of(logger, str(root))
    assert isinstance(sink, FolderSink)
    for monitor in monitors:
        record = sink.directory / f"explain/{monitor.name}/record.jsonl"
        assert len(record.read_text(encoding="utf-8").splitlines()) == len(monitor.records)
    names = files(sink.directory / "explain/attribution")
    assert [name for name in names if name.startswith("heatmaps")] == [
        f"heatmaps/step_{step:09}.png" for step in (0, 7, 15)
    ]
    assert any(name.startswith("summary/") and name.endswith(".md") for name in names)
    curve = [r["scalars"][CURVE] for r in attribution.records if CURVE in r["scalars"]]
    assert len(curve) == 2
    return curve, sink.directory


def test_dvclive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = pytest.importorskip("dvclive.lightning")
    monkeypatch.chdir(tmp_path)
    folders = set[Path]()
    for name in ("a", "b"):
        logger = lightning.DVCLiveLogger(dir=str(tmp_path / name), save_dvc_exp=False)
        curve, folder = watched_fit(logger, tmp_path)
        folders.add(folder)
        lines = (tmp_path / name / f"plots/metrics/{CURVE}.tsv").read_text().splitlines()[1:]
        assert [line.split("\t")[0] for line in lines] == ["7", "15"]
        assert [float(line.split("\t")[1]) for line in lines] == pytest.approx(curve, rel=1e-5)
    assert len(folders) == 2


def swanlab_curve(kept: Path) -> dict[int, float]:
    """Return the values of the curve by step in the file that SwanLab keeps."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    reader = DataStoreReader()
    reader.open(kept)
    scalars = [Record.FromString(found).scalar for found in iter(reader.scan, None)]
    reader.close()
    return {scalar.step: scalar.value.number for scalar in scalars if scalar.key == CURVE}


def test_swanlab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    integration = pytest.importorskip("swanlab.integration.pytorch_lightning")
    swanlab = pytest.importorskip("swanlab")
    monkeypatch.chdir(tmp_path)
    folders = set[Path]()
    for _ in range(2):
        logger = integration.SwanLabLogger(project="p", mode="offline", save_dir=str(tmp_path))
        curve, folder = watched_fit(logger, tmp_path)
        run = logger.experiment.id
        swanlab.finish()
        folders.add(folder)
        assert folder.name == f"version_{run}"
        (kept,) = tmp_path.glob(f"swanlog/*{run}/*.swanlab")
        assert swanlab_curve(kept) == pytest.approx(dict(zip((7, 15), curve, strict=True)), rel=1e-5)
    assert len(folders) == 2


def test_aim(tmp_path: Path) -> None:
    lightning = pytest.importorskip("aim.pytorch_lightning")
    folders = set[Path]()
    for _ in range(2):
        logger = lightning.AimLogger(repo=str(tmp_path), system_tracking_interval=None)
        curve, folder = watched_fit(logger, tmp_path)
        folders.add(folder)
        found = {metric.name: metric.values.sparse_numpy()[1] for metric in logger.experiment.metrics()}
        logger.finalize("success")
        assert sorted(found[CURVE]) == pytest.approx(sorted(curve), rel=1e-5)
    assert len(folders) == 2
