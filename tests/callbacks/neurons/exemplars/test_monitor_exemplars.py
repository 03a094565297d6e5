"""Exemplars of real runs, against a sort of all validation samples by hand."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from lightning_explain.exemplars import Exemplars, LayerExemplars
from tests.models import DigitData, DigitNet, quiet_trainer
from tests.training import fit, logged_fit


def outputs(net: nn.Module, layer: str, x: Tensor) -> Tensor:
    grabbed: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out: grabbed.append(out.detach().clone()))
    net.eval()
    with torch.no_grad():
        net(x)
    handle.remove()
    return grabbed[0]


def assert_equal_to_a_sort(found: LayerExemplars, output: Tensor, labels: Tensor, numbers: Tensor, k: int = 8) -> None:
    """Compare with Python's sort of all samples by value, then number; a number of -1 marks those that must not count.

    Args:
        found: What the monitor has.
        output: [samples, units, positions...].
        labels: Of the samples.
        numbers: Of the samples in the validation data.
        k: Exemplars of each unit.
    """
    flat = output.reshape(*output.shape[:2], -1)
    for unit in range(output.shape[1]):
        rows = [row for row in range(len(output)) if numbers[row] >= 0]
        rows.sort(key=lambda row: (-float(flat[row, unit].max()), int(numbers[row])))
        best = rows[:k]
        assert found.samples[unit].tolist() == numbers[best].tolist()
        assert found.labels[unit].tolist() == labels[best].tolist()
        torch.testing.assert_close(found.values[unit], flat[best, unit].amax(1))
        places = [torch.unravel_index(flat[row, unit].argmax(), output.shape[2:]) for row in best]
        expected = [[int(part) for part in place] if output.ndim > 2 else [] for place in places]
        assert found.positions[unit].tolist() == expected


def exemplars(monitor: ActiveNeuronMonitor, layer: str) -> LayerExemplars:
    assert monitor.latest is not None
    found = monitor.latest.layers[layer].exemplars
    assert found is not None
    return found


def test_equal_to_a_sort_of_the_whole_validation_set() -> None:
    monitor, data, net = ActiveNeuronMonitor(layers=["*"], on_error="raise"), DigitData(), DigitNet()
    trainer = fit(monitor, model=net, data=data, max_epochs=3)
    x, y = data.val.tensors
    for layer in ("frozen.2", "body.0", "body.2", "body.3", "head.0", "head.1", "head.3"):
        assert_equal_to_a_sort(exemplars(monitor, layer), outputs(net, layer, x), y, torch.arange(len(x)))
    assert exemplars(monitor, "body.2").shape == (8, 8)
    for metric in ("purity", "stayed", "settled"):
        assert 0 <= trainer.callback_metrics[f"explain/neurons/body.2/{metric}"] <= 1


@pytest.mark.parametrize("by", ["label", "prediction"])
def test_ignored_labels_are_left_out_and_loaders_numbered_through(by: Any) -> None:
    x, y = torch.randn(50, 6), torch.arange(50) % 3
    ignored = torch.where(torch.arange(50) % 4 == 0, -100, y)

    class Many(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

        def forward(self, x: Any) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.training_step(batch, batch_idx)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    train = DataLoader(TensorDataset(x, y), 10)
    val = [DataLoader(TensorDataset(x, ignored), 8), DataLoader(TensorDataset(x[:20] + 1, y[:20]), 7)]
    monitor, model = ActiveNeuronMonitor(by=by, exemplars=5, on_error="raise"), Many()
    fit(monitor, model=model, data=(train, val), num_sanity_val_steps=2)
    numbers = torch.cat([torch.where(ignored < 0, -1, torch.arange(50)), 50 + torch.arange(20)])
    hidden = outputs(model, "net.1", torch.cat([x, x[:20] + 1]))
    assert_equal_to_a_sort(exemplars(monitor, "net.1"), hidden, torch.cat([ignored, y[:20]]), numbers, k=5)


class Tagger(pl.LightningModule):
    """A transformer layer over padded sequences."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.0, activation=nn.ReLU())
        self.encoder, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(8, 2)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        return self.head(self.encoder(x, src_key_padding_mask=padding)[:, 0])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.cross_entropy(self(batch[0], batch[1]), batch[2])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_padding_tokens_are_no_exemplars() -> None:
    x, padding = torch.randn(24, 7, 8), torch.arange(7) >= (1 + torch.arange(24) % 7)[:, None]
    x[padding] = 50.0  # what padding would give is larger than all else
    loader = DataLoader(TensorDataset(x, padding, torch.arange(24) % 2), 6)
    monitor, model = ActiveNeuronMonitor(input=[0, 1], target=2, feeding=0, exemplars=3, on_error="raise"), Tagger()
    fit(monitor, model=model, data=(loader, loader), max_epochs=1)
    found = exemplars(monitor, "encoder.layers.0.activation")
    at = padding[found.samples, found.positions[..., 0]]
    assert found.shape == (7,) and not at.any()
    assert len(set(found.samples.flatten().tolist())) > 3


def test_none_are_collected_where_none_are_wanted() -> None:
    monitor = ActiveNeuronMonitor(exemplars=0, on_error="raise")
    trainer = fit(monitor, max_epochs=1)
    assert monitor.latest is not None
    assert all(layer.exemplars is None for layer in monitor.latest.layers.values())
    assert not any(key.endswith("/purity") for key in trainer.callback_metrics)


def no_target(batch: Any) -> None:
    del batch


def test_regression_has_exemplars_without_labels() -> None:
    x = torch.randn(30, 6)

    class Net(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return functional.mse_loss(self(batch[0])[:, 0], batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.training_step(batch, batch_idx)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    loader = DataLoader(TensorDataset(x, torch.randn(30)), 8)
    monitor, model = ActiveNeuronMonitor(target=no_target), Net()
    trainer = fit(monitor, model=model, data=(loader, loader), max_epochs=1)
    hidden = outputs(model, "net.1", x)
    assert_equal_to_a_sort(exemplars(monitor, "net.1"), hidden, torch.full((30,), -1), torch.arange(30))
    assert "explain/neurons/net.1/purity" not in trainer.callback_metrics


def test_a_resumed_run_compares_with_the_exemplars_of_the_checkpoint(tmp_path: Path) -> None:
    first, second = ActiveNeuronMonitor(on_error="raise"), ActiveNeuronMonitor(on_error="raise")
    fit(first, max_epochs=2).save_checkpoint(tmp_path / "a.ckpt")
    fit(second, max_epochs=3, ckpt=tmp_path / "a.ckpt")
    for layer in ("body.2", "head.1"):
        before, now = exemplars(first, layer), exemplars(second, layer)
        for unit in range(len(now.samples)):
            kept = set(before.samples[unit].tolist()) & set(now.samples[unit].tolist())
            assert now.stayed[unit] == len(kept) / 8
            stays, since = len(kept) >= 6, int(before.settled[unit])
            assert now.settled[unit] == (-1 if not stays else 1 if since < 0 else since)


def test_validate_alone_has_exemplars() -> None:
    monitor, net, data = ActiveNeuronMonitor(on_error="raise"), DigitNet(), DigitData()
    quiet_trainer(callbacks=[monitor]).validate(net, data, verbose=False)
    x, y = data.val.tensors
    assert_equal_to_a_sort(exemplars(monitor, "head.1"), outputs(net, "head.1", x), y, torch.arange(len(x)))


def by_hand(net: nn.Module, layer: str, x: Tensor, y: Tensor) -> Tensor:
    """Return activation times the gradient of the class's score, sample by sample: [samples, units, positions]."""
    found: list[Tensor] = []
    for sample, label in zip(x, y, strict=True):
        grabbed: list[Tensor] = []
        handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out, at=grabbed: at.append(out))
        score = net.eval()(sample[None].clone().requires_grad_())[0, int(label)]
        handle.remove()
        (gradient,) = torch.autograd.grad(score, grabbed[0])
        found.append((grabbed[0] * gradient).detach().reshape(gradient.shape[1], -1))
    return torch.stack(found)


def test_by_relevance_for_the_class() -> None:
    monitor = ActiveNeuronMonitor(exemplars=Exemplars(k=4, by="relevance"), feeding=0, maps=0, on_error="raise")
    data, net = DigitData(), DigitNet()
    fit(monitor, model=net, data=data, max_epochs=1)
    x, y = data.val.tensors
    for layer in ("body.2", "head.1"):
        found, parts = exemplars(monitor, layer), by_hand(net, layer, x, y)
        values, order = parts.sum(2).sort(dim=0, descending=True, stable=True)
        torch.testing.assert_close(found.values, values[:4].T, rtol=1e-3, atol=1e-5)
        assert found.by == "relevance" and (found.samples == order[:4].T).float().mean() > 0.95
        assert torch.equal(found.labels, y[found.samples])
    assert monitor.latest is not None and monitor.latest.cards["head.1"]


class Recurrent(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_layers_without_a_relevance_are_named_and_the_run_goes_on() -> None:
    class Beside(Recurrent):
        def __init__(self) -> None:
            super().__init__()
            self.beside = nn.Sequential(nn.Linear(3, 2), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            self.beside(x)
            return super().forward(x)

    monitor = ActiveNeuronMonitor(exemplars=Exemplars(by="relevance"), feeding=0, maps=0, on_error="raise")
    loader = DataLoader(TensorDataset(torch.rand(8, 5, 3), torch.arange(8) % 2), batch_size=4)
    with pytest.warns(ExplanationWarning, match=r"no exemplars by relevance of beside.1: the class scores"):
        quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Beside(), loader, loader)
    assert monitor.latest is not None and monitor.latest.layers["beside.1"].exemplars is None
    found = exemplars(monitor, "lstm")
    assert found.by == "relevance" and found.shape == (5,) and bool((found.positions[found.samples >= 0] >= 0).all())


class Segmentation(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.steps += 1
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_relevance_for_scores_at_every_position_is_refused_before_training() -> None:
    loader = DataLoader(TensorDataset(torch.rand(8, 1, 6, 6), torch.randint(0, 3, (8, 6, 6))), batch_size=4)
    by_relevance = Exemplars(by="relevance", k=2)
    model = Segmentation()
    with pytest.raises(ConfigurationError, match=r"by='relevance'.*shape \[2, 3, 6, 6\].*output="):
        monitor = ActiveNeuronMonitor(exemplars=by_relevance, feeding=0, maps=0, ablation=0)
        quiet_trainer(callbacks=[monitor], max_epochs=1).fit(model, loader, loader)
    assert model.steps == 0
    monitor = ActiveNeuronMonitor(
        exemplars=by_relevance, feeding=0, maps=0, ablation=0, output=lambda found: found.mean((2, 3)), on_error="raise"
    )
    with pytest.warns(ExplanationWarning, match="no class labels"):
        quiet_trainer(callbacks=[monitor], max_epochs=1).fit(model, loader, loader)
    assert exemplars(monitor, "body.1").by == "relevance"


def test_steps_have_exemplars_of_the_validation_that_follows(tmp_path: Path) -> None:
    by_step: dict[str, Any] = {"every_n_epochs": None, "every_n_train_steps": 2, "feeding": 0, "maps": 0}
    monitor = ActiveNeuronMonitor(**by_step, on_error="raise")
    _, events = logged_fit(monitor, tmp_path / "budget", max_epochs=2, val_check_interval=0.5)
    assert events.steps("explain/neurons/head.1/exemplars") == [11, 15]  # of the last epoch in any case
    monitor = ActiveNeuronMonitor(**by_step, measure_every_n_reports=1, on_error="raise")
    _, events = logged_fit(monitor, tmp_path / "all", max_epochs=2, val_check_interval=0.5)
    assert events.steps("explain/neurons/head.1/exemplars") == [3, 7, 11, 15]
    assert list(events.curve("explain/neurons/head.1/stayed")) == [7, 11, 15]
    assert list(events.curve("explain/neurons/head.1/purity")) == [3, 7, 11, 15]


class Dies(DigitNet):
    """The first hidden unit gets a bias after the first epoch that no sample outweighs."""

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            with torch.no_grad():
                self.get_submodule("head.0").bias[0] = -1e4  # type: ignore[index]


def test_a_unit_that_died_is_shown_as_it_last_fired() -> None:
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, on_error="raise")
    before: list[LayerExemplars] = []

    class Keep(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
            if trainer.current_epoch == 1:
                before.append(exemplars(monitor, "head.1"))

    fit(monitor, Keep(), model=Dies(), max_epochs=2)
    assert monitor.latest is not None
    card = monitor.latest.cards["head.1"][0]
    assert card.reason == "died; as it last fired, after epoch 0" and card.epoch == 0
    assert [one.sample for one in card.exemplars] == before[0].samples[0, :4].tolist()
    assert [one.value for one in card.exemplars] == before[0].values[0, :4].tolist()
    assert not bool(exemplars(monitor, "head.1").excited[0])
