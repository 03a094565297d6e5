"""Monitors over the life of a run: searches inside a fit, averaged weights, data of unusual forms, loggers."""

import json
from collections import UserList
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import pytorch as pl
from lightning.pytorch.callbacks import LearningRateFinder, StochasticWeightAveraging
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from lightning_explain import LRP, ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor, IntegratedGradients
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from tests.events import Events

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(32, 4, generator=GENERATOR), torch.arange(32) % 3


class Table(pl.LightningModule):
    def __init__(self, net: nn.Module | None = None, lr: float = 0.05) -> None:
        super().__init__()
        self.lr = lr
        self.net = net or nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.net(sum(inputs))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        *inputs, labels = batch.values() if isinstance(batch, dict) else batch
        return F.cross_entropy(self(*inputs), labels)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.lr)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(X, Y), 16)


def three(**options: Any) -> list[Any]:
    return [kind(**options) for kind in (ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor)]


def trainer_of(callbacks: list[Any], folder: Path | None = None, **options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(
        accelerator="cpu",
        callbacks=callbacks,
        default_root_dir=folder,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"max_epochs": 2, **quiet, **options},
    )


def trained(callbacks: list[Any], val: Any, module: Table | None = None, **options: Any) -> Table:
    torch.manual_seed(1)
    module = module or Table()
    trainer_of(callbacks, **options).fit(module, val_dataloaders=val)
    return module


def loader(**options: Any) -> DataLoader:
    return DataLoader(TensorDataset(X, Y), 16, **options)


class SearchLater(LearningRateFinder):
    def on_fit_start(self, *args: Any) -> None:
        pass

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            self.lr_find(trainer, pl_module)


def test_a_search_inside_fit_leaves_the_state_as_it_goes_on(tmp_path: Path) -> None:
    callbacks = three(on_error="raise")
    trained([*callbacks, SearchLater(num_training_steps=4)], loader(), max_epochs=3, folder=tmp_path)
    neurons, attribution, path = callbacks
    assert [len(monitor.records) for monitor in callbacks] == [3, 4, 4]
    # the state is that of the end, not of the moment of the search
    assert attribution.state_dict()["history"]["count"] == 4
    assert attribution.state_dict()["explained_step"] == path.state_dict()["explained_step"] == 6
    # the batches that the search trained on are not counted
    assert int(neurons.profiles["train"]["net.1"].n_samples.sum()) == 32


def test_what_is_loaded_after_a_fit_waits_for_the_next_one() -> None:
    callbacks = three()
    trained(callbacks, loader(), max_epochs=1)
    for monitor in callbacks:
        state = monitor.state_dict()
        monitor.load_state_dict({**state, "marked": True})
        assert monitor.state_dict()["marked"]


@pytest.mark.parametrize("first", [True, False], ids=["average listed first", "average listed last"])
def test_averages_that_arrive_at_the_end_are_explained(first: bool) -> None:
    averaging = StochasticWeightAveraging(swa_lrs=0.05, swa_epoch_start=1)
    neurons, attribution, path = callbacks = three(on_error="raise")
    with pytest.warns(ExplanationWarning, match="ActiveNeuronMonitor.*weights were exchanged after the last epoch"):
        module = trained([averaging, *callbacks] if first else [*callbacks, averaging], loader(), max_epochs=3)
    assert [record["step"] for record in attribution.records] == [0, 1, 3, 5, 6]
    assert [record["step"] for record in path.records] == [0, 1, 3, 5, 6]
    expected = IntegratedGradients()(module, attribution.probe.inputs, attribution.probe.labels)
    assert torch.equal(attribution.latest.attribution.values, expected.values)
    assert len(neurons.records) == 3


def test_weights_that_nobody_exchanges_are_not_explained_twice(recwarn: pytest.WarningsRecorder) -> None:
    callbacks = three(every_n_epochs=2)
    trained(callbacks, loader(), max_epochs=3)
    assert [record["step"] for record in callbacks[1].records] == [0, 3]
    assert not [w for w in recwarn if "exchanged" in str(w.message)]


@pytest.mark.parametrize("kind", [AttributionMonitor, DecisionPathMonitor])
@pytest.mark.parametrize("val", [[], {}, [[]]], ids=str)
def test_empty_validation_data_are_refused_before_training(kind: Callable[..., Any], val: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"no validation data.*probe=Probe.from_dataset"):
        trained([kind()], val)


def test_a_test_alone_says_that_it_is_not_watched() -> None:
    callbacks = three()
    with pytest.warns(ExplanationWarning, match=r"trainer\.validate") as caught:
        trainer_of(callbacks).test(Table(), loader(), verbose=False)
    assert len([w for w in caught if "trainer.test is not watched" in str(w.message)]) == 3


def test_validate_alone_explains_once() -> None:
    callbacks = three(on_error="raise")
    trainer_of(callbacks).validate(Table(), loader(), verbose=False)
    assert [len(monitor.records) for monitor in callbacks] == [1, 1, 1]


class NoIndex(Dataset[Any]):
    """Has a length only, as data sets whose loader makes the batches itself."""

    def __len__(self) -> int:
        return 32


class OwnBatches(DataLoader[Any]):
    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(loader())


class Gaps(TensorDataset):
    def __getitem__(self, index: int) -> Any:
        return None if index % 4 == 0 else super().__getitem__(index)


def without_gaps(items: list[Any]) -> Any:
    return default_collate([item for item in items if item is not None])


def without_negative(items: list[Any]) -> Any:
    kept = [item for item in items if item[0][0] > 0]
    return [part[: len(kept)] for part in default_collate(kept or items)]


@pytest.mark.parametrize(
    "val",
    [
        OwnBatches(NoIndex(), 16),
        DataLoader(Gaps(X, Y), 16, collate_fn=without_gaps),
        DataLoader(TensorDataset(X, Y), 16, collate_fn=without_negative),
    ],
    ids=["no index", "items are None", "items are dropped"],
)
def test_samples_that_cannot_be_picked_are_collected_as_they_pass(val: DataLoader) -> None:
    callbacks = three(on_error="raise")
    with pytest.warns(ExplanationWarning, match="collected in the first validation"):
        trained(callbacks, val)
    seen = torch.cat([batch[0] for batch in val])
    for monitor in callbacks:
        assert len(monitor.records) == 2
        assert set(monitor.probe.labels.tolist()) == {0, 1, 2}
        for sample, label in zip(monitor.probe.inputs, monitor.probe.labels, strict=True):
            assert (seen == sample).all(1).any()
            assert int(Y[(sample == X).all(1)]) == int(label)


class Ragged(Dataset[Any]):
    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.full((1, 6 if index % 3 else 8, 6), float(index)), index % 2


class Pooled(Table):
    def __init__(self, *, of_lists: bool = False) -> None:
        layers = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        super().__init__(nn.Sequential(*layers))
        self.of_lists = of_lists

    def forward(self, images: Any) -> Tensor:
        return torch.cat([self.net(image[None]) for image in images]) if self.of_lists else self.net(images)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Ragged(), 1)


def test_of_images_of_several_sizes_those_of_the_commonest_are_explained() -> None:
    callbacks = three(on_error="raise")
    with pytest.warns(
        ExplanationWarning, match=r"several shapes \(\[1, 6, 6\], \[1, 8, 6\]\).*those of shape \[1, 6, 6\]"
    ):
        trained(callbacks, DataLoader(Ragged(), 1), Pooled(), max_epochs=1)
    for monitor in callbacks:
        assert len(monitor.records) == 1
        assert monitor.probe.inputs.shape == (16, 1, 6, 6)


def lists(items: list[Any]) -> Any:
    return [image for image, _ in items], torch.tensor([label for _, label in items])


def test_lists_of_images_are_refused_with_a_cure_that_works() -> None:
    val = DataLoader(Ragged(), 4, collate_fn=lists)
    with pytest.raises(ConfigurationError, match=r"list of 24 samples.*probe=Probe.*forward_fn="):
        trained([AttributionMonitor()], val, Pooled(of_lists=True))


class Dark(nn.Module):
    """The score of class 2 is 0 for whatever is put in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x))) * torch.tensor([1.0, 1.0, 0.0])


def test_a_class_whose_score_is_0_is_left_out_of_path_metrics() -> None:
    monitor = DecisionPathMonitor(on_error="raise")
    with pytest.warns(ExplanationWarning, match="score of 2 is 0.*means over the classes leave it out"):
        trained([monitor], loader(), Table(Dark()), max_epochs=1)
    scalars, classes = monitor.records[-1]["scalars"], monitor.latest.classes[:2]
    assert scalars["explain/path/effective_units/net.first"] == pytest.approx(
        sum(found.effective["net.first"] for found in classes) / 2
    )
    assert scalars["explain/path/shown_share"] == pytest.approx(sum(f.graph.shown_share for f in classes) / 2)
    assert all(value == value for value in scalars.values())


class Folderless(Logger):
    name, version = "mine", 3

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        pass

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass


def test_a_logger_without_a_folder_gets_files_below_the_trainers_root(tmp_path: Path) -> None:
    callbacks = three(on_error="raise")
    trained(callbacks, loader(), logger=Folderless(), folder=tmp_path, max_epochs=1)
    folder = tmp_path / "mine" / "version_3" / "explain"
    records = [json.loads(line) for line in (folder / "attribution" / "record.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [0, 1]
    assert (folder / "attribution" / "heatmaps" / "step_000000001.png").exists()
    assert (folder / "neurons" / "record.jsonl").exists()


class Named(Dataset[Any]):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"a": X[index], "b": 0 * X[index], "y": Y[index]}


def test_sequences_of_a_configuration_library_are_lists() -> None:
    module = Table()
    module.train_dataloader = lambda: DataLoader(Named(), 16)
    several = {"input": UserList(["a", "b"]), "class_names": UserList(["u", "v", "w"]), "on_error": "raise"}
    callbacks = [
        ActiveNeuronMonitor(layers=UserList(["net.1"]), **several),
        AttributionMonitor(measures=UserList(["cosine"]), method=UserList([IntegratedGradients(), LRP()]), **several),
        DecisionPathMonitor(layers=UserList(["net.0"]), **several),
    ]
    trained(callbacks, DataLoader(Named(), 16), module, max_epochs=1)
    assert list(callbacks[0].profiles["val"]) == ["net.1"]
    assert list(callbacks[1].latest.attributions) == ["IntegratedGradients", "LRP"]
    assert [len(monitor.records) for monitor in callbacks] == [1, 2, 2]
    plain = AttributionMonitor(input=["a", "b"])
    assert plain.state_dict()["asked"] == callbacks[1].state_dict()["asked"]


def test_no_tag_is_the_beginning_of_another(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, "run")
    methods = [IntegratedGradients(n_steps=4), LRP()]
    callbacks = [ActiveNeuronMonitor(maps=0), AttributionMonitor(method=methods), DecisionPathMonitor()]
    for each in callbacks:
        each._detail.level = "full"
    trained(callbacks, loader(), logger=logger, max_epochs=1)
    events = Events(Path(logger.log_dir))
    tags = {*events.scalars, *events.images}
    assert {"explain/path/turnover", "explain/path/class_turnover/2"} <= tags
    assert [(one, other) for one in tags for other in tags if other.startswith(f"{one}/")] == []
