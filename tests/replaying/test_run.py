"""A replay of saved checkpoints, against a run that was watched while it trained."""

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, IntegratedGradients, replay
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps")

STEPS = [0, 4, 8]


class Beginning(pl.Callback):
    """Saves the network as it is before training, which ModelCheckpoint does not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.path)


def monitors() -> list[Any]:
    return [
        ActiveNeuronMonitor(on_error="raise", detail="full"),
        AttributionMonitor(on_error="raise", detail="full", method=IntegratedGradients(n_steps=8)),
        DecisionPathMonitor(on_error="raise", detail="full"),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that was watched and kept a checkpoint of every epoch."""
    folder = tmp_path_factory.mktemp("run")
    pl.seed_everything(1, verbose=False)  # with 0, two values in a pooling window are equal to the last bit at a point
    watching = monitors()
    saving = ModelCheckpoint(folder / "checkpoints", save_top_k=-1, save_last=True)
    trainer = quiet_trainer(
        max_epochs=2,
        limit_train_batches=4,
        logger=TensorBoardLogger(folder, name="watched", version=""),
        callbacks=[*watching, saving, Beginning(folder / "checkpoints" / "untrained.ckpt")],
        enable_checkpointing=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(DigitNet(), datamodule=DigitData())
    return folder, watching


@pytest.fixture(scope="module")
def replayed(run: Any) -> Any:
    """The same run, explained from its checkpoints alone."""
    folder, _ = run
    explaining, model = monitors(), DigitNet()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    attributes = {name: set(vars(m)) for name, m in model.named_modules()}
    draws = torch.get_rng_state()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        result = replay(
            model, folder, explaining, DigitData(), logdir=folder / "replayed", train_data=True, progress=False
        )
    assert torch.equal(torch.get_rng_state(), draws)
    assert [m.training for m in model.modules()] == modes
    assert {name: set(vars(m)) for name, m in model.named_modules()} == attributes
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    return result, explaining, [str(w.message) for w in heard if w.category is ExplanationWarning]


def test_it_explains_every_step_once_and_says_what_it_left_out(run: Any, replayed: Any) -> None:
    result, _, heard = replayed
    assert list(result.steps) == STEPS
    assert [path.name for path in result.skipped] == ["last.ckpt"]
    assert len(heard) == 1
    assert "last.ckpt is skipped" in heard[0]
    assert "of step 8 too" in heard[0]


def test_attributions_are_those_of_the_watched_run(run: Any, replayed: Any) -> None:
    watched, explained = run[1][1], replayed[1][1]
    assert len(watched.records) == len(explained.records) == 3
    for one, other in zip(watched.records, explained.records, strict=True):
        assert one["epoch"] == other["epoch"]
        metrics = {key: value for key, value in one["scalars"].items() if not key.endswith("/overhead")}
        assert metrics.keys() == other["scalars"].keys() - {"explain/attribution/overhead"}
        assert {key: other["scalars"][key] for key in metrics} == pytest.approx(metrics, abs=1e-5, nan_ok=True)
    assert "explain/attribution/drift/previous" in explained.records[1]["scalars"]
    first, second = watched.latest.attribution, explained.latest.attribution
    torch.testing.assert_close(first.values, second.values, atol=1e-6, rtol=0)
    assert first.values.abs().max() > 0.01


def test_neurons_of_the_validation_data_are_those_of_the_watched_run(run: Any, replayed: Any) -> None:
    watched, explained = run[1][0], replayed[1][0]
    for layer, profile in watched.profiles["val"].items():
        torch.testing.assert_close(profile.rates, explained.profiles["val"][layer].rates, atol=1e-6, rtol=0)
    for one, other in zip(watched.records, explained.records[1:], strict=True):
        for metric in ("precision", "recall", "f1"):
            assert one["scores"][metric] == pytest.approx(other["scores"][metric], nan_ok=True)
    assert explained.latest.layers["head.1"].feeding is not None
    assert watched.latest.layers["head.1"].feeding is not None


def test_neurons_of_the_training_data_are_counted_when_asked_for(replayed: Any) -> None:
    explained = replayed[1][0]
    assert int(explained.profiles["train"]["head.1"].n_samples.sum()) == 256
    assert "explain/neurons/head.1/gap" in explained.records[-1]["scalars"]


def test_paths_are_those_of_the_watched_run(run: Any, replayed: Any) -> None:
    watched, explained = run[1][2], replayed[1][2]
    for one, other in zip(watched.records, explained.records, strict=True):
        assert one["scalars"].keys() == other["scalars"].keys()
        assert other["scalars"]["explain/path/shown_share"] == pytest.approx(
            one["scalars"]["explain/path/shown_share"], abs=1e-6
        )
    graph = watched.latest.classes[3].graph.to_json(title="", class_name=None)
    same = explained.latest.classes[3].graph.to_json(title="", class_name=None)
    assert [node["id"] for node in graph["nodes"]] == [node["id"] for node in same["nodes"]]


def test_tags_are_those_of_the_watched_run_at_the_steps_of_the_checkpoints(run: Any, replayed: Any) -> None:
    watched, explained = Events(run[0] / "watched"), Events(replayed[0].log_dir)
    assert list(explained.curve("explain/attribution/total_attribution")) == STEPS
    assert list(watched.curve("explain/attribution/total_attribution")) == [0, 3, 7]
    ours = [tag for tag in watched.scalars + watched.images + watched.texts if tag.startswith("explain/")]
    assert set(ours) - set(explained.scalars + explained.images + explained.texts) == set()
    assert explained.steps("explain/path/3") == STEPS
    assert explained.steps("explain/attribution/heatmaps") == STEPS
    # the module's own figures too, as they were
    accuracy = list(watched.curve("val_acc").values())
    assert [explained.curve("val_acc")[step] for step in STEPS[1:]] == pytest.approx(accuracy, abs=1e-6)


def test_it_is_one_event_file_with_the_probe_once(replayed: Any) -> None:
    (file,) = replayed[0].log_dir.glob("events.out.tfevents.*")
    assert file.read_bytes().count(b"explain/attribution/probe") == 1
    record = (replayed[0].log_dir / "explain" / "attribution" / "record.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in record] == STEPS


def quick(model: Any, checkpoints: Any, folder: Path, monitor: Any = None, **options: Any) -> Any:
    monitor = monitor or AttributionMonitor(
        method=IntegratedGradients(n_steps=2), on_error="raise", measures=["cosine"]
    )
    options = {"datamodule": DigitData(n_val=20), **options}
    return monitor, replay(model, checkpoints, [monitor], logdir=folder / "out", progress=False, **options)


def test_a_checkpoint_that_does_not_fit_is_named_and_skipped(run: Any, tmp_path: Path) -> None:
    fitting = run[0] / "checkpoints" / "last.ckpt"
    weights = torch.load(fitting, weights_only=True)["state_dict"]
    torch.save({"state_dict": {**weights, "head.3.weight": torch.zeros(7, 16)}}, tmp_path / "wide-step=1.ckpt")
    torch.save({"state_dict": {"elsewhere": torch.zeros(1)}}, tmp_path / "other-step=2.ckpt")
    torch.save(nn.Linear(1, 1), tmp_path / "pickled-step=3.ckpt")
    torch.save([1, 2], tmp_path / "list-step=4.ckpt")
    (tmp_path / "torn-step=5.ckpt").write_bytes(fitting.read_bytes()[:1000])
    (tmp_path / "sharded-step=6.ckpt").mkdir()
    (tmp_path / "sharded-step=6.ckpt" / ".metadata").touch()
    torch.save({"model": weights, "epoch": 3}, tmp_path / "odd-step=7.ckpt")
    (tmp_path / "good-step=9.ckpt").write_bytes(fitting.read_bytes())
    model = DigitNet()
    before = copy.deepcopy(model.state_dict())
    with pytest.warns(ExplanationWarning, match="is skipped"):
        _, result = quick(model, tmp_path, tmp_path)
    assert result.steps == (8,)
    reasons = {path.name.split("-")[0]: reason for path, reason in result.skipped.items()}
    assert "head.3.weight" in reasons["wide"]
    assert "elsewhere" in reasons["other"]
    assert "could run code" in reasons["pickled"] and "Linear" in reasons["pickled"]
    assert "it holds a list" in reasons["list"]
    assert "cannot be read" in reasons["torn"]
    assert "consolidate_checkpoint" in reasons["sharded"]
    assert "model, epoch" in reasons["odd"]
    assert len(reasons) == 7
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_weights_alone_take_their_step_from_the_name_or_the_order(run: Any, tmp_path: Path) -> None:
    weights = torch.load(run[0] / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name in ("net_20.pt", "net_3.pt"):
        torch.save(weights, tmp_path / name)
    monitor, result = quick(DigitNet(), tmp_path, tmp_path)
    assert result.steps == (3, 20)
    drift = monitor.records[1]["scalars"]["explain/attribution/drift/previous"]
    assert drift == pytest.approx(0, abs=1e-6)
    files = [tmp_path / "b.pt", tmp_path / "a.pt"]
    for file in files:
        torch.save(weights, file)
    assert quick(DigitNet(), files, tmp_path)[1].steps == (0, 1)


def test_feeding_features_are_found_whatever_the_epochs_of_the_checkpoints(run: Any, tmp_path: Path) -> None:
    content = torch.load(run[0] / "checkpoints" / "last.ckpt", weights_only=True)
    # no 5th report of a watched run has any
    torch.save({**content, "epoch": 4}, tmp_path / "fifth.ckpt")
    monitor = ActiveNeuronMonitor(on_error="raise", maps=0)
    quick(DigitNet(), tmp_path / "fifth.ckpt", tmp_path, monitor)
    assert monitor.latest.layers["head.1"].feeding is not None
    assert monitor.latest.epoch == 4


def test_loaders_instead_of_a_datamodule_and_a_trainer_of_ones_own(run: Any, tmp_path: Path) -> None:
    data = DigitData(n_val=20)
    callback = pl.Callback()
    trainer = quiet_trainer(callbacks=[callback], precision="64-true", logger=TensorBoardLogger(tmp_path, version="x"))
    monitor = AttributionMonitor(method=IntegratedGradients(n_steps=2, baseline="train_mean"), on_error="raise")
    model = DigitNet()
    _, result = quick(
        model, run[0] / "checkpoints" / "last.ckpt", tmp_path, monitor, datamodule=None, trainer=trainer,
        val_dataloaders=data.val_dataloader(), train_dataloaders=data.train_dataloader(),
    )  # fmt: skip
    assert result.steps == (8,)
    assert trainer.callbacks == [callback]
    assert monitor.latest.attribution.values.dtype == torch.float64
    assert model.head[0].weight.dtype == torch.float32
    baseline = monitor.latest.attribution.baseline
    torch.testing.assert_close(baseline[0].float(), data.train.tensors[0].mean(0), atol=1e-5, rtol=0)


class Trained(DigitNet):
    """All its layers are trained: then the first of them keeps its input for the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen.requires_grad_(requires_grad=True)


def test_a_probe_drawn_while_validating_can_be_differentiated(run: Any, tmp_path: Path) -> None:
    monitor, _ = quick(Trained(), run[0] / "checkpoints" / "last.ckpt", tmp_path, DecisionPathMonitor(on_error="raise"))
    assert len(monitor.records) == 1


class Counting(DigitNet):
    """Keeps count in every way that a module may."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = MulticlassAccuracy(10)
        self.accuracy.update(torch.tensor([1, 2]), torch.tensor([1, 3]))
        self.seen = torch.zeros(1)
        self.register_buffer("n_batches", torch.zeros(1))
        self.cache: dict[str, int] = {}
        self.sizes: list[int] = []

    def forward(self, x: Any) -> Any:
        self.seen += len(x)
        self.n_batches += 1
        self.cache["last"] = len(x)
        self.sizes.append(len(x))
        return super().forward(x)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.accuracy(self(batch[0]), batch[1])
        self.log("accuracy", self.accuracy)


def test_what_a_module_counts_is_left_as_it_was(tmp_path: Path) -> None:
    model = Counting()
    torch.save(model.state_dict(), tmp_path / "step=3.pt")
    cache, sizes, modes = model.cache, model.sizes, [m.training for m in model.modules()]
    with torch.no_grad():
        model.head[0].weight.mul_(0)
    assert quick(model, tmp_path, tmp_path)[1].steps == (3,)
    assert float(model.seen) == float(model.n_batches) == 0
    assert model.cache is cache and not cache
    assert model.sizes is sizes and not sizes
    assert float(model.accuracy.tp.sum()) == 1
    assert not model.head[0].weight.any()
    assert [m.training for m in model.modules()] == modes
    assert model._trainer is None


class SetUpForFitOnly(DigitData):
    """Like many: knows the stage `fit` alone, and splits at random."""

    n_set_up = 0

    def setup(self, stage: str) -> None:
        assert stage == "fit"
        self.n_set_up += 1
        self.val.tensors = tuple(t[torch.randperm(96)[:20]] for t in self.val.tensors)

    def teardown(self, stage: str) -> None:
        assert stage == "fit"


def test_data_are_set_up_once_as_for_fit(run: Any, tmp_path: Path) -> None:
    data = SetUpForFitOnly()
    assert quick(DigitNet(), run[0] / "checkpoints" / "last.ckpt", tmp_path, datamodule=data)[1].steps == (8,)
    assert data.n_set_up == 1
    assert "setup" not in vars(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"checkpoints": "nowhere"}, "nowhere does not exist"),
        ({"checkpoints": "empty"}, "holds no checkpoints"),
        ({"callbacks": [pl.Callback()]}, r"\['Callback'\]; expected some of ActiveNeuronMonitor"),
        ({"callbacks": []}, r"callbacks=\[\]"),
        ({"checkpoints": "foreign"}, "None of 1 checkpoints can be explained"),
        ({"datamodule": None, "val_dataloaders": []}, "Nothing was validated"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_wrong_is_said(run: Any, tmp_path: Path, change: dict[str, Any], words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    torch.save({"other": torch.zeros(1)}, tmp_path / "foreign" / "a.pt")
    given = {
        "model": DigitNet(), "checkpoints": run[0] / "checkpoints" / "last.ckpt", "callbacks": monitors()[1:2],
        "datamodule": DigitData(n_val=20), "logdir": tmp_path / "out", "progress": False, **change,
    }  # fmt: skip
    if isinstance(change.get("checkpoints"), str):
        given["checkpoints"] = tmp_path / change["checkpoints"]
    with pytest.raises(ConfigurationError, match=words):
        replay(**given)


def test_monitors_that_have_watched_a_run_are_refused(run: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="attribution have watched a run already"):
        quick(DigitNet(), run[0] / "checkpoints" / "last.ckpt", tmp_path, run[1][1])


def test_it_shows_how_far_it_is(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monitor = AttributionMonitor(method=IntegratedGradients(n_steps=2), measures=["cosine"])
    replay(DigitNet(), run[0] / "checkpoints" / "last.ckpt", monitor, DigitData(n_val=20), logdir=tmp_path)
    assert "Explaining checkpoints" in (said := capsys.readouterr().err)
    assert "1/1" in said
    assert "step 8" in said


@pytest.mark.filterwarnings("ignore:.*last.ckpt is skipped")  # it is that of step 8 once more
def test_checkpoints_are_compared_with_one_that_the_user_names(run: Any, tmp_path: Path) -> None:
    folder, watching = run
    newest = folder / "checkpoints" / "last.ckpt"
    monitor = AttributionMonitor(
        on_error="raise", method=IntegratedGradients(n_steps=8), compare_with={"newest": newest, "early": 1}
    )
    replay(DigitNet(), folder / "checkpoints", [monitor], DigitData(), logdir=tmp_path, progress=False)
    tags = [f"explain/attribution/drift/{name}" for name in ("newest", "early", "previous")]
    newest, early, previous = (
        {r["step"]: r["scalars"][tag] for r in monitor.records if tag in r["scalars"]} for tag in tags
    )
    assert list(newest) == STEPS
    assert newest[STEPS[-1]] == pytest.approx(0, abs=1e-6)
    assert newest[STEPS[1]] == pytest.approx(previous[STEPS[2]], rel=1e-4)
    assert early == {STEPS[2]: previous[STEPS[2]]}
    assert len(watching[1].records) == len(monitor.records)
