"""DecisionPathMonitor in real runs: what it logs, that it is right, and that it disturbs nothing."""

import json
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from sklearn.datasets import load_iris
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import DecisionPathMonitor, Probe
from lightning_explain.attribution import AlphaBetaRule, ZPlusRule
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from lightning_explain.paths import contributions, mean_graph, path_change
from tests.callbacks.attribution.test_monitor import Tabular
from tests.callbacks.base.test_resume import Steady
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer
from tests.training import logged_fit as fit


def records(tmp_path: Path) -> list[dict[str, Any]]:
    lines = (tmp_path / "run" / "version_0" / "explain" / "path" / "record.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


LAYERS = ("frozen.0", "body.0", "head.0")


class Noting(DecisionPathMonitor):
    """Keeps the edges that each explanation draws of each class."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.edges: list[Any] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        assert self.latest is not None
        self.edges.append([found.graph.single_edges for found in self.latest.classes])


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Noting, Events, Path]:
    """Three epochs of all defaults."""
    folder, monitor = tmp_path_factory.mktemp("whole"), Noting(on_error="raise")
    _, events = fit(monitor, folder, max_epochs=3)
    return monitor, events, folder


def test_logs_every_tag_it_promises(whole_run: Any) -> None:
    _, events, folder = whole_run
    expected = {"turnover", "shown_share", "top_paths_share", "absorbed_share", "overhead", "effective_units/input"}
    expected |= {f"class_turnover/{digit}" for digit in range(10)}
    expected |= {f"effective_units/{layer}" for layer in LAYERS}
    assert {f"explain/path/{name}" for name in expected} == {t for t in events.scalars if t.startswith("explain/")}
    assert {f"explain/path/{digit}" for digit in range(10)} == set(events.images)
    assert "explain/path/ranking/text_summary" in events.texts
    written = records(folder)
    own = list(events.curve("val_acc"))
    assert [record["step"] for record in written] == [0, *own] == list(events.curve("explain/path/shown_share"))
    assert list(events.curve("explain/path/turnover")) == own
    assert events.steps("explain/path/3") == [0, *own]
    assert written[0]["epoch"] is None and written[-1]["epoch"] == 2
    graph = written[-1]["graphs"][3]
    assert graph["title"] == "class 3" and graph["class"] == "3" and graph["sample"] is None
    assert graph["nodes"][0]["layer"] == "input"
    assert {edge["source"] for edge in graph["edges"]} <= {node["id"] for node in graph["nodes"]}
    assert len(written[-1]["paths"]["3"]) == 10 and len(written[-1]["ranked"]["3"]) == 30


def test_figures_agree_with_a_direct_computation(tmp_path: Path) -> None:
    monitor = DecisionPathMonitor(on_error="raise", every_sample=True)
    trainer, events = fit(monitor, tmp_path, max_epochs=1)
    assert monitor.latest is not None and monitor.probe is not None
    probe = monitor.probe
    found = contributions(trainer.lightning_module, probe.inputs, probe.targets)
    threes = (probe.labels == 3).nonzero().flatten().tolist()
    mean = mean_graph([found[row] for row in threes])
    path = monitor.latest.classes[3]
    assert path.group.members == tuple(threes) and path.group.name == "3"
    assert path.graph.output == pytest.approx(mean.output, rel=1e-5)
    assert path.graph.totals == pytest.approx([layer.contribution.sum() for layer in mean.layers], rel=1e-4)
    assert len(monitor.latest.samples) == len(probe)
    row = threes[0]
    assert monitor.latest.samples[row].output == pytest.approx(float(found.score[row]), rel=1e-5)
    shares = [found.graph.shown_share for found in monitor.latest.classes]
    assert list(events.curve("explain/path/shown_share").values())[-1] == pytest.approx(np.mean(shares), rel=1e-5)


def test_turnover_is_that_of_the_edges(whole_run: Any) -> None:
    monitor, events, folder = whole_run
    edges = monitor.edges
    changes = [path_change(now, then) for now, then in zip(edges[-1], edges[-2], strict=True)]
    assert sum(len(change.won) for change in changes) > 0
    turnovers = [change.turnover for change in changes]
    assert list(events.curve("explain/path/turnover").values())[-1] == pytest.approx(np.mean(turnovers), rel=1e-6)
    assert list(events.curve("explain/path/class_turnover/4").values())[-1] == pytest.approx(turnovers[4], rel=1e-6)
    assert records(folder)[-1]["won"]["4"] == [list(edge) for edge in changes[4].won]


def test_pictures_show_the_graph(whole_run: Any) -> None:
    _, events, _ = whole_run
    picture = events.picture("explain/path/3").astype(int)
    red = (picture[..., 0] > 170) & (picture[..., 2] < 110)
    blue = (picture[..., 2] > 140) & (picture[..., 0] < 110)
    assert red.sum() > 500 and blue.sum() > 20
    assert picture.shape[1] <= 900
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) <= 256


def test_pictures_come_at_growing_distances_and_at_the_end(tmp_path: Path) -> None:
    monitor = DecisionPathMonitor(layers="head.*", every_n_epochs=None, every_n_train_steps=2, on_error="raise")
    _, events = fit(monitor, tmp_path)
    steps = list(events.curve("explain/path/shown_share"))
    assert len(steps) == 9
    assert events.steps("explain/path/3") == [steps[place - 1] for place in (1, 2, 3, 4, 6, 8, 9)]


def test_early_stopping_can_monitor_turnover(tmp_path: Path) -> None:
    stopper = EarlyStopping(monitor="explain/path/turnover", patience=20, check_finite=True)
    trainer = quiet_trainer(callbacks=[stopper, DecisionPathMonitor(layers="head.*", on_error="raise")])
    trainer.fit(DigitNet(), DigitData())
    assert "explain/path/class_turnover/3" in trainer.callback_metrics


# -- resume ------------------------------------------------------------------------------------------


def resumed(tmp_path: Path, first: DecisionPathMonitor, second: DecisionPathMonitor) -> None:
    def go(monitor: DecisionPathMonitor, epochs: int, checkpoint: Path | None) -> None:
        pl.seed_everything(1, verbose=False)
        callbacks = [monitor, ModelCheckpoint(tmp_path, save_last=True)]
        trainer = quiet_trainer(max_epochs=epochs, callbacks=callbacks, enable_checkpointing=True,
                                num_sanity_val_steps=0)  # fmt: skip
        trainer.fit(Steady(), DigitData(shuffle=False), ckpt_path=checkpoint)

    go(first, 2, None)
    go(second, 4, tmp_path / "last.ckpt")


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_resumed_run_goes_on_as_the_unbroken_one(tmp_path: Path) -> None:
    whole, first, second = (DecisionPathMonitor(on_error="raise") for _ in range(3))
    pl.seed_everything(1, verbose=False)
    quiet_trainer(max_epochs=4, callbacks=[whole], num_sanity_val_steps=0).fit(Steady(), DigitData(shuffle=False))
    resumed(tmp_path, first, second)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert any("DecisionPathMonitor" in key for key in state["callbacks"])

    def curve(*monitors: DecisionPathMonitor) -> dict[int, Any]:
        return {
            record["step"]: (record["scalars"].get("explain/path/turnover"), record["ranked"])
            for monitor in monitors
            for record in monitor.records
        }

    assert len(second.records) == 2
    assert curve(first, second) == curve(whole)
    assert second.probe is not None and first.probe is not None
    assert second.probe.fingerprint == first.probe.fingerprint
    assert second._history.slots == whole._history.slots


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_another_probe_starts_anew_and_says_so(tmp_path: Path) -> None:
    other = DecisionPathMonitor(probe=Probe.from_dataset(DigitData().val, seed=5), on_error="raise")
    with pytest.warns(ExplanationWarning, match="another probe"):
        resumed(tmp_path, DecisionPathMonitor(on_error="raise"), other)
    assert "explain/path/turnover" not in other.records[0]["scalars"]


def test_another_model_starts_anew() -> None:
    monitor = DecisionPathMonitor(on_error="raise")
    for _ in range(2):
        quiet_trainer(callbacks=[monitor], max_epochs=1).fit(DigitNet(), DigitData())
    assert "explain/path/turnover" not in monitor.records[2]["scalars"]


# -- other tasks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_out", [1, 3])
def test_iris_classification_and_regression(tmp_path: Path, n_out: int) -> None:
    pl.seed_everything(0, verbose=False)
    flowers, species = load_iris(return_X_y=True)
    x = torch.tensor(flowers, dtype=torch.float32)
    y = torch.tensor(species) if n_out == 3 else x[:, 2] * 0.5
    loader = DataLoader(TensorDataset(x, y), batch_size=30)
    names = ["sepal length", "sepal width", "petal | length", "$petal width"]
    monitor = DecisionPathMonitor(feature_names=names, class_names=["a", "<b>", "c"], show="sample", on_error="raise")
    logger = TensorBoardLogger(tmp_path, "run")
    quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=3).fit(Tabular(n_out), loader, loader)
    events = Events(logger.log_dir)
    tags = {f"explain/path/{part}" for part in (("a", "_b_", "c") if n_out == 3 else ("all_samples",))}
    assert set(events.images) == tags
    assert monitor.latest is not None
    graph = monitor.latest.classes[0].graph
    assert {node.label for node in graph.of_layer("input") if node.unit is not None} <= set(names)
    assert sum(node.n_units for node in graph.of_layer("input")) == len(names)
    assert graph.layers == ("input", "net.0", "output")
    sample = next(iter(monitor.latest.samples.values()))
    with torch.no_grad():
        assert monitor.probe is not None
        score = monitor.latest.scores.flatten() if n_out == 1 else monitor.latest.scores[:, 0]
    assert sample.output == pytest.approx(float(score[0]), rel=1e-5)
    assert set(monitor.pictures()) == {tag.rsplit("/", 1)[1] for tag in tags}


def test_a_binary_classifier_with_one_output_is_grouped_by_class() -> None:
    class Binary(Tabular):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return nn.functional.binary_cross_entropy_with_logits(self(batch[0])[:, 0], batch[1].float())

    x = torch.rand(60, 4)
    loader = DataLoader(TensorDataset(x, (x[:, 0] > 0.5).long()), batch_size=20)
    monitor = DecisionPathMonitor(on_error="raise")
    quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Binary(1), loader, loader)
    assert monitor.latest is not None
    assert [found.group.name for found in monitor.latest.classes] == ["0", "1"]


def test_outputs_inputs_and_forwards_can_be_named(tmp_path: Path) -> None:
    class Wrapped(DigitNet):
        def forward(self, x: Any) -> Any:  # type: ignore[override]
            return {"features": x, "found": super().forward(x)}

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return nn.functional.cross_entropy(self(batch[0])["found"], batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self(batch[0])

    by_key = DecisionPathMonitor(output="found", on_error="raise", layers=["body.*", "head.0"])
    by_function = DecisionPathMonitor(
        forward_fn=lambda module, x: module(x)["found"], on_error="raise", name="other", explained="predicted"
    )
    quiet_trainer(callbacks=[by_key, by_function], max_epochs=1).fit(Wrapped(), DigitData())
    assert by_key.latest is not None and by_function.latest is not None
    assert by_key.latest.classes[0].graph.layers == ("input", "body.0", "head.0", "output")
    assert by_function.latest.classes[0].graph.layers == ("input", *LAYERS, "output")


def test_without_a_logger_and_with_one_of_files(tmp_path: Path) -> None:
    monitor = DecisionPathMonitor(on_error="raise")
    logger = CSVLogger(tmp_path, "csv")
    quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=1).fit(DigitNet(), DigitData())
    folder = Path(logger.log_dir) / "explain" / "path"
    assert len(list((folder / "3").glob("step_*.png"))) == 2
    assert len((folder / "record.jsonl").read_text().splitlines()) == 2


# -- what is wrong is said --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"show": "all"}, "show='all'; expected 'class' or 'sample'"),
        ({"explained": "both"}, "explained='both'"),
        ({"every_n_epochs": 0}, "every_n_epochs=0"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
    ],
)
def test_bad_options_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    import beartype.roar

    # under pytest beartype is there first for what the annotations already say
    with pytest.raises((ConfigurationError, beartype.roar.BeartypeCallHintParamViolation)) as caught:
        DecisionPathMonitor(**options)
    assert isinstance(caught.value, beartype.roar.BeartypeCallHintParamViolation) or message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "tail.*"}, r"layers='tail.\*' matches no layer.*frozen.0, body.0, head.0"),
        ({"patch": 0}, "patch=0"),
        ({"n_units": 0}, "n_units=0"),
        ({"n_paths": 0}, "n_paths=0"),
        ({"drawn": 50}, "drawn=50"),
        ({"rules": {nn.Conv2d: AlphaBetaRule(), nn.Linear: ZPlusRule()}}, "AlphaBetaRule"),
        ({"probe": Probe(inputs=torch.rand(2, 1, 8, 8), targets=torch.tensor([3, 12]))}, "class index 12"),
        ({"probe": Probe(inputs=torch.rand(2, 1, 8, 8))}, "no class labels"),
    ],
)
def test_what_cannot_be_is_refused_before_training(options: dict[str, Any], message: str) -> None:
    model = DigitNet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConfigurationError, match=message):
        quiet_trainer(callbacks=[DecisionPathMonitor(**options)]).fit(model, DigitData())
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_a_model_that_cannot_be_followed_is_refused_by_name() -> None:
    class Product(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.cumprod(1)

    class Multiplying(DigitNet):
        def __init__(self) -> None:
            super().__init__()
            self.head.append(Product())

    with pytest.raises(ConfigurationError, match=r"no rule for 'head.4' \(Product\): torch.Tensor.cumprod"):
        quiet_trainer(callbacks=[DecisionPathMonitor()]).fit(Multiplying(), DigitData())


def test_a_failing_explanation_warns_once_and_training_goes_on() -> None:
    class Failing(DigitNet):
        def forward(self, x: Any) -> Any:
            if not self.training and not torch.is_inference_mode_enabled() and torch.is_grad_enabled():
                raise ValueError("no explanations today")
            return super().forward(x)

    monitor = DecisionPathMonitor()
    trainer = quiet_trainer(callbacks=[monitor], max_epochs=2)
    with pytest.warns(ExplanationWarning, match="no explanations today") as told:
        trainer.fit(Failing(), DigitData())
    # one cause is reported once, whatever it interrupted
    assert sum("no explanations today" in str(warning.message) for warning in told) == 1
    assert trainer.current_epoch == 2
    with pytest.raises(ValueError, match="no explanations today"):
        quiet_trainer(callbacks=[DecisionPathMonitor(on_error="raise")]).fit(Failing(), DigitData())


def test_of_many_classes_ten_are_drawn(tmp_path: Path) -> None:
    x, y = torch.rand(48, 4), torch.arange(48) % 12
    loader = DataLoader(TensorDataset(x, y), batch_size=24)
    monitor = DecisionPathMonitor()
    logger = TensorBoardLogger(tmp_path, "run")
    with pytest.warns(ExplanationWarning, match="12 classes; the paths of the first 10 are drawn"):
        quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=1).fit(Tabular(12), loader, loader)
    events = Events(logger.log_dir)
    assert len(events.images) == 10
    assert "explain/path/class_turnover/11" in events.scalars


def test_zero_configuration_and_several_monitors() -> None:
    monitors = [DecisionPathMonitor(), DecisionPathMonitor(name="other", show="sample")]
    trainer = quiet_trainer(callbacks=monitors, max_epochs=1)
    trainer.fit(DigitNet(), DigitData())
    assert {"explain/path/turnover", "explain/other/turnover"} <= set(trainer.callback_metrics)
    assert len({monitor.state_key for monitor in monitors}) == 2
    assert DecisionPathMonitor().pictures() == {}


class _Carried(Tabular):
    """A network that is given a number of integer type along with the features."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        return self.net(x) * (n > 0).to(x.dtype)[:, None]

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.loss(self(*batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(*batch[0])


def test_an_integer_input_is_carried_along_without_a_word_and_nothing_flows_to_it() -> None:
    x, y = (torch.as_tensor(part) for part in load_iris(return_X_y=True))
    data = [((row.float(), torch.tensor(1)), label) for row, label in zip(x, y, strict=True)]
    monitor = DecisionPathMonitor(on_error="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExplanationWarning)
        quiet_trainer(max_epochs=1, callbacks=[monitor]).fit(_Carried(3), DataLoader(data, 50), DataLoader(data, 50))
    scalars = {name.replace(" ", "_"): value for name, value in monitor.records[-1]["scalars"].items()}
    assert np.isfinite(list(scalars.values())).all()
    assert "explain/path/effective_units/input_0" in scalars
    assert "explain/path/effective_units/input_1" not in scalars


class Tokens(pl.LightningModule):
    """Embedded ids of a fixed length through a block of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(20, 8), nn.Embedding(5, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.embed(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        return self.head(self.block(h).mean(1))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def test_token_models_need_no_option_and_ablation_is_logged(tmp_path: Path) -> None:
    pl.seed_everything(0, verbose=False)
    ids, labels = torch.randint(0, 20, (24, 5)), torch.arange(24) % 2
    loader = DataLoader(TensorDataset(ids, labels), batch_size=12)
    logger = TensorBoardLogger(tmp_path, "run")
    monitor = DecisionPathMonitor(on_error="raise", ablation=True, drawn=0.9, n_units=2)
    quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=1).fit(Tokens(), loader, loader)
    assert monitor.latest is not None
    (units,) = monitor.latest.units
    assert units.names == ("token 0", "token 1", "token 2", "token 3", "token 4")
    assert {"block.self_attn", "block.linear1", "input"} <= set(monitor.latest.classes[0].effective)
    events = Events(logger.log_dir)
    for tag in ("ablation", "ablation_random", "class_ablation/0", "class_ablation/1"):
        assert len(events.curve(f"explain/path/{tag}")) == 2
    measured = monitor.records[-1]["ablation"]
    assert set(measured) == {"0", "1"} and measured["0"]["n_draws"] == 8
    last = list(events.curve("explain/path/class_ablation/0").values())[-1]
    assert last == pytest.approx(measured["0"]["drawn"], rel=1e-3)


def test_ablation_that_has_nothing_to_compare_with_is_said_and_not_logged_as_0(tmp_path: Path) -> None:
    ids, labels = torch.randint(0, 20, (24, 5)), torch.arange(24) % 2
    loader = DataLoader(TensorDataset(ids, labels), batch_size=12)
    monitor = DecisionPathMonitor(on_error="raise", ablation=True, layers="block.self_attn", drawn=1.0)
    trainer = quiet_trainer(callbacks=[monitor], max_epochs=1, default_root_dir=tmp_path)
    with pytest.warns(ExplanationWarning, match="nothing is measured by ablation for 0, 1: "):
        trainer.fit(Tokens(), loader, loader)
    assert "explain/path/ablation" not in trainer.callback_metrics
    assert "ablation" not in monitor.records[-1]
