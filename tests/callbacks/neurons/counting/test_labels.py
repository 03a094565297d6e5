"""What the labels are: decided on all batches, revised without loss, said once; alike by all three monitors."""

from functools import partial
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
from lightning_explain.callbacks.neurons.counting.labels import ALL_SAMPLES, LabelEvidence, without_labels
from lightning_explain.errors import ExplanationWarning
from tests.models import quiet_trainer
from tests.training import fit

X = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))


class Net(pl.LightningModule):
    def __init__(self, n_out: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, n_out))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.mse_loss(self(batch[0]).flatten(), batch[1].float().flatten())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-2)


def trained(n_out: int, y: Tensor, *monitors: Any, y_val: Tensor | None = None, **options: Any) -> pl.LightningModule:
    loaders = DataLoader(TensorDataset(X, y), 4), DataLoader(TensorDataset(X, y if y_val is None else y_val), 4)
    options = {"max_epochs": 1, "num_sanity_val_steps": 0} | options
    return fit(*monitors, model=partial(Net, n_out), data=loaders, **options).lightning_module


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ONE_HOT = functional.one_hot(torch.randint(0, 5, (48,), generator=drawn(1)), 5).float()
SEVERAL = torch.cat([ONE_HOT[:4], (ONE_HOT[4:] + (torch.rand(44, 5, generator=drawn(2)) < 0.3)).clamp(max=1)])
NONE_AT_LAST = torch.cat([ONE_HOT[:47], torch.zeros(1, 5)])
REAL = torch.randn(44, generator=drawn(3))
SOFT = torch.cat([ONE_HOT[:4], 0.9 * ONE_HOT[4:] + 0.02])

MISTAKEN = {
    "several labels": (5, SEVERAL),
    "several labels as integers": (5, SEVERAL.long()),
    "no label at last": (5, NONE_AT_LAST),
    "zeros first": (1, torch.cat([torch.zeros(4), REAL])),
    "zeros and ones first": (1, torch.cat([torch.tensor([0.0, 1.0, 1.0, 0.0]), REAL])),
    "a column": (1, torch.cat([torch.zeros(4), REAL])[:, None]),
    "whole numbers of one output": (1, torch.arange(48)),
}


@pytest.mark.parametrize("kind", MISTAKEN)
def test_what_looked_like_labels_is_put_together_and_said_once(kind: str) -> None:
    n_out, y = MISTAKEN[kind]
    monitor = ActiveNeuronMonitor(feeding=0, maps=0)
    with pytest.warns(ExplanationWarning, match="all samples of training and validation count as one class") as caught:
        model = trained(n_out, y, monitor, max_epochs=2)
    assert len([w for w in caught if issubclass(w.category, ExplanationWarning)]) == 1
    assert monitor.class_names == [ALL_SAMPLES] and monitor.class_metrics == {}
    assert {stage: found["net.1"].n_samples.tolist() for stage, found in monitor.profiles.items()} == {
        "train": [48],
        "val": [48],
    }
    with torch.no_grad():
        hidden = model.net[:2](X)
    profile = monitor.profiles["val"]["net.1"]
    torch.testing.assert_close(profile.rates[0], (hidden > 0).float().mean(0))
    torch.testing.assert_close(profile.activation[0], hidden.mean(0))
    torch.testing.assert_close(profile.magnitude, hidden.mean(0))


def test_names_of_classes_are_no_names_of_samples_that_have_none() -> None:
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, class_names=list("abcde"))
    with pytest.warns(ExplanationWarning, match="count as one class"):
        trained(5, SEVERAL, monitor)
    assert monitor.latest is not None
    assert {row["class"] for row in monitor.latest.to_rows()} == {ALL_SAMPLES}


def test_softened_labels_of_training_leave_the_validation_alone() -> None:
    monitor = ActiveNeuronMonitor(feeding=0, maps=0)
    with pytest.warns(ExplanationWarning, match="all samples of training count as one class"):
        trained(5, SOFT, monitor, y_val=ONE_HOT)
    assert monitor.profiles["train"]["net.1"].n_samples.tolist() == [48]
    assert monitor.profiles["val"]["net.1"].n_samples.tolist() == ONE_HOT.sum(0).tolist()
    assert len(monitor.class_metrics["f1"]) == 5
    # rates of all samples and rates by class are no two of a kind
    assert monitor.latest is not None and monitor.latest.layers["net.1"].gaps is None


def test_labels_that_stay_labels_are_counted_by_class() -> None:
    for n_out, y, counts in ((5, ONE_HOT, ONE_HOT.sum(0)), (1, ONE_HOT[:, 0], torch.bincount(ONE_HOT[:, 0].long()))):
        monitor = ActiveNeuronMonitor(feeding=0, maps=0, on_error="raise")
        trained(n_out, y, monitor)
        assert monitor.profiles["train"]["net.1"].n_samples.tolist() == counts.tolist()


def test_an_epoch_of_labels_is_revised_by_the_next_without_forgetting_who_died() -> None:
    class Later(Net):
        """From the second epoch on a sample has several labels."""

        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return batch if self.current_epoch == 0 else [batch[0], (batch[1] + 1).clamp(max=1)]

        def on_train_start(self) -> None:
            with torch.no_grad():
                self.net[0].weight[3], self.net[0].bias[3] = 0.0, -1.0

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.0)

    monitor, model = ActiveNeuronMonitor(feeding=0, maps=0), Later(5)
    loader = DataLoader(TensorDataset(X, ONE_HOT), 4)
    reports: list[Any] = []

    class Keeping(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            reports.append(monitor.latest)

    with pytest.warns(ExplanationWarning, match="count as one class"):
        quiet_trainer(callbacks=[monitor, Keeping()], max_epochs=2, num_sanity_val_steps=0).fit(model, loader, loader)
    first, second = (report.layers["net.1"] for report in reports)
    assert first.profile.n_samples.tolist() == ONE_HOT.sum(0).tolist() and second.profile.n_samples.tolist() == [48]
    assert int(first.history.died[3]) == int(second.history.died[3]) == 0
    assert bool(second.history.turnover.isnan().all())


class Streamed(IterableDataset[Any]):
    def __init__(self, y: Tensor) -> None:
        self.y = y

    def __iter__(self) -> Any:
        return iter(zip(X, self.y, strict=True))


@pytest.mark.parametrize("kind", ["zeros first", "a column", "whole numbers of one output"])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.filterwarnings("ignore:.*(count as one class|taken for real values)")
def test_the_monitors_agree_that_there_are_no_classes(kind: str, streamed: bool) -> None:
    n_out, y = MISTAKEN[kind]
    monitors = (ActiveNeuronMonitor(on_error="raise"), AttributionMonitor(on_error="raise"), DecisionPathMonitor())
    data = Streamed(y) if streamed else TensorDataset(X, y)
    trainer = quiet_trainer(callbacks=list(monitors), max_epochs=1, num_sanity_val_steps=0)
    trainer.fit(Net(n_out), DataLoader(TensorDataset(X, y), 4), DataLoader(data, 4))
    assert [monitor.probe is not None and monitor.probe.labels is None for monitor in monitors] == [True] * 3
    assert not [name for name in trainer.callback_metrics if "drift/0" in name or "/f1/" in name]


def test_no_step_of_training_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[str] = []
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, layers="net.1", class_names=list("abcde"))
    inside = {"step": -1}

    def counted(name: str, method: Any) -> Any:
        def waiting(self: Tensor, *args: Any) -> Any:
            if inside["step"] > 0:
                waits.append(name)
            return method(self, *args)

        return waiting

    for name in ("item", "tolist", "nonzero", "__bool__", "__int__", "__float__"):
        monkeypatch.setattr(Tensor, name, counted(name, getattr(Tensor, name)))
    begin, end = monitor.on_train_batch_start, monitor.on_train_batch_end

    def begun(trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        inside["step"] = batch_idx
        begin(trainer, module, batch, batch_idx)
        inside["step"] = -1

    def ended(trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        inside["step"] = batch_idx
        end(trainer, module, outputs, batch, batch_idx)
        inside["step"] = -1

    monitor.on_train_batch_start, monitor.on_train_batch_end = begun, ended
    trained(5, ONE_HOT, monitor)
    assert waits == [] and monitor.profiles["train"]["net.1"].n_samples.tolist() == ONE_HOT.sum(0).tolist()


def evidence(form: Any = "one-hot", *, none: bool = False, odd: bool = False, beyond: bool = False) -> LabelEvidence:
    return LabelEvidence(form, none, odd, beyond)


@pytest.mark.parametrize(
    ("own", "other", "gone"),
    [
        ([evidence()], [evidence()], False),
        ([evidence(odd=True)], [evidence()], True),
        ([evidence()], [evidence(odd=True)], False),
        ([evidence()], [evidence(odd=True, beyond=True)], True),
        ([evidence("index")], [evidence(odd=True, beyond=True)], False),
        ([evidence("binary")], [evidence(odd=True, beyond=True)], False),
        ([evidence(), evidence(odd=True)], [evidence(), evidence()], True),
        ([evidence(), evidence(None, none=True)], [evidence(), evidence()], True),
        ([LabelEvidence()], [evidence(odd=True, beyond=True)], False),
    ],
)
def test_evidence_of_both_stages_and_all_processes(own: Any, other: Any, gone: bool) -> None:
    assert without_labels(own, other) is gone
