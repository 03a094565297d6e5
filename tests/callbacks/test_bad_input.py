"""Bad configuration is refused before training. What goes wrong later: `tests/reliability/fault_list.py`."""

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, IntegratedGradients, Probe
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from lightning_explain.log import Detail
from tests.models import DigitData, DigitNet, Mapped
from tests.training import fit

pytestmark = pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps")


def loader(dataset: Any) -> Any:
    return DataLoader(dataset, batch_size=32)


# -- configuration: refused before the first step ---------------------------------------------------------------


def test_no_validation_data() -> None:
    with pytest.raises(ConfigurationError, match=r"no validation data.*probe=Probe.from_dataset"):
        fit(AttributionMonitor(), limit_val_batches=0)


def test_empty_probe() -> None:
    with pytest.raises(ConfigurationError, match="probe is empty.*at least one sample"):
        Probe(inputs=torch.zeros(0, 1, 8, 8))
    with pytest.raises(ConfigurationError, match="gave no samples"):
        Probe.from_dataset(TensorDataset(torch.zeros(0, 3), torch.zeros(0)))


def test_empty_validation_data() -> None:
    class Empty(DigitData):
        def val_dataloader(self) -> Any:
            return loader(TensorDataset(torch.zeros(0, 1, 8, 8), torch.zeros(0)))

    with (
        pytest.raises(ConfigurationError, match="validation data set .* is empty"),
        pytest.warns(UserWarning, match="zero"),
    ):
        fit(AttributionMonitor(), data=Empty(), num_sanity_val_steps=0)


def test_class_index_out_of_range() -> None:
    probe = Probe(inputs=torch.rand(2, 1, 8, 8), targets=torch.tensor([3, 12]))
    with pytest.raises(ConfigurationError, match="class index 12.*10 columns"):
        fit(AttributionMonitor(probe=probe))


def test_negative_class_and_too_few_class_names() -> None:
    with pytest.raises(ConfigurationError, match="class index -1"):
        Probe(inputs=torch.rand(2, 3), targets=torch.tensor([0, -1]))
    with pytest.raises(ConfigurationError, match="class index 2, but class_names has only 2"):
        Probe(inputs=torch.rand(2, 3), targets=torch.tensor([0, 2]), class_names=["a", "b"])


def test_unknown_layer_glob() -> None:
    with pytest.raises(ConfigurationError, match=r"layers='haed.\*' matches no module.*Did you mean 'head"):
        fit(ActiveNeuronMonitor(layers="haed.*"))


def test_batch_with_no_recognisable_input() -> None:
    train, val = DigitData().train, DigitData().val

    def odd(item: Any) -> Any:
        return {"scan": item[0], "diagnosis": item[1]}

    class Net(DigitNet):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step((batch["scan"], batch["diagnosis"]), batch_idx)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step((batch["scan"], batch["diagnosis"]), batch_idx)

    class Data(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            return loader(Mapped(train, odd))

        def val_dataloader(self) -> Any:
            return loader(Mapped(val, odd))

    with pytest.raises(ConfigurationError, match=r"No input found.*scan=Tensor.*input='my_key'"):
        fit(AttributionMonitor(), model=Net(), data=Data())
    told = AttributionMonitor(input="scan", target="diagnosis", on_error="raise")
    fit(told, ActiveNeuronMonitor(target="diagnosis", input="scan", on_error="raise"), model=Net(), data=Data())
    assert len(told.records) == 3


def test_a_selector_that_names_nothing() -> None:
    with pytest.raises(ConfigurationError, match=r"target='label' names nothing in list\(Tensor"):
        fit(AttributionMonitor(target="label"))


def test_module_without_forward() -> None:
    class Net(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = DigitNet()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return nn.functional.cross_entropy(self.net.head(self.net.body(self.net.frozen(batch[0]))), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.training_step(batch, batch_idx)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    with pytest.raises(ConfigurationError, match=r"Net defines no forward\(\).*forward_fn="):
        fit(AttributionMonitor(), model=Net())

    def forward(module: Any, x: Any) -> Any:
        return module.net.head(module.net.body(module.net.frozen(x)))

    monitor = AttributionMonitor(forward_fn=forward, on_error="raise")
    fit(monitor, model=Net())
    assert len(monitor.records) == 3


def test_probe_without_labels_for_a_classifier() -> None:
    with pytest.raises(ConfigurationError, match="10 outputs, but the probe has no class labels"):
        fit(AttributionMonitor(probe=Probe(inputs=torch.rand(3, 1, 8, 8))))


def test_token_ids_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="dtype torch.int64.*embedding"):
        fit(AttributionMonitor(probe=Probe(inputs=torch.ones(3, 64, dtype=torch.long), targets=torch.zeros(3).long())))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttributionMonitor(every_n_epochs=0), "every_n_epochs=0"),
        (lambda: AttributionMonitor(every_n_epochs=None), "both None"),
        (lambda: AttributionMonitor(measures=["cosine", "euclid"]), "euclid"),
        (lambda: IntegratedGradients(n_steps=0), "n_steps=0"),
        (lambda: IntegratedGradients(tolerance=0.0), "tolerance=0.0"),
        (lambda: IntegratedGradients(max_steps=5), "max_steps=5"),
        (lambda: IntegratedGradients(chunk_size=0), "chunk_size=0"),
        (lambda: Probe(inputs=torch.rand(2, 3), feature_names=["a"]), "1 names, but a probe sample has 3"),
        (lambda: Probe(inputs=torch.rand(2, 3), masks=torch.ones(4)), "masks has shape"),
        (lambda: Probe(inputs=torch.rand(2, 3), targets=torch.ones(5).long()), "2 inputs but 5 targets"),
        (lambda: Probe(inputs=(torch.rand(2, 3), torch.rand(3, 3))), "different numbers of samples"),
        (lambda: Probe.from_dataset(DigitData().val, per_class=0), "per_class=0"),
    ],
)
def test_options_are_checked_where_they_are_given(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttributionMonitor(on_error=word("ignore")), "on_error='ignore'; expected 'warn' or 'raise'"),
        (lambda: AttributionMonitor(explained=word("it")), "explained='it'; expected '"),
        (lambda: ActiveNeuronMonitor(by=word("it")), "by='it'; expected '"),
        (lambda: ActiveNeuronMonitor(detail=word("all")), "detail='all'; expected 'terse' .* or 'full'"),
    ],
)
def test_choices_are_checked(make: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # without the checks of annotations that the tests switch on: they would refuse the word before the package can
    for kind in {Guard, Detail, *AttributionMonitor.__mro__, *ActiveNeuronMonitor.__mro__}:
        if hasattr(vars(kind).get("__init__"), "__wrapped__"):
            monkeypatch.setattr(kind, "__init__", kind.__init__.__wrapped__)
    with pytest.raises(ConfigurationError, match=message):
        make()


def word(choice: str) -> Any:
    """Return a choice that no annotation knows."""
    return choice


# -- run time: reported once, survived ------------------------------------------------------------------------------


def test_labels_that_do_not_fit_do_not_kill_counting() -> None:
    train, val = DigitData().train, DigitData().val

    class Data(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            return loader(Mapped(train, lambda item: (item[0], item[1], 1.0)))

        def val_dataloader(self) -> Any:
            return loader(val)

    class Net(DigitNet):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch[:2], batch_idx)

    monitor = ActiveNeuronMonitor()
    with pytest.warns(ExplanationWarning, match=r"no class labels .* a training batch of the form list\(Tensor"):
        fit(monitor, model=Net(), data=Data())
    assert monitor.profiles["train"]["head.1"].n_samples.tolist() == [256]
    assert len(monitor.profiles["val"]["head.1"].n_samples) == 10  # the validation's labels are where they should be
