"""ActiveNeuronMonitor in real runs, against a brute-force count sample by sample."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from sklearn.metrics import precision_recall_fscore_support
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor
from lightning_explain.errors import ExplanationWarning
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer
from tests.training import fit


def brute_force(net: Any, layer: str, x: Any, y: Any, min_fraction: float) -> tuple[Any, Any]:
    """Count with loops over samples and neurons: rates and mean activations [classes, neurons]."""
    grabbed: list[Any] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out: grabbed.append(out.detach().clone()))
    net.eval()
    with torch.no_grad():
        net(x)
    handle.remove()
    output = grabbed[0].double().numpy()
    n_classes = int(y.max()) + 1
    active, total, n = (
        np.zeros((n_classes, output.shape[1])),
        np.zeros((n_classes, output.shape[1])),
        np.zeros(n_classes),
    )
    for sample, label in zip(output, y.tolist(), strict=True):
        n[label] += 1
        for j, unit in enumerate(sample):
            active[label, j] += np.mean(unit > 0) >= min_fraction if np.ndim(unit) else unit > 0
            total[label, j] += np.mean(unit)
    return active / n[:, None], total / n[:, None]


def test_validation_rates_equal_brute_force() -> None:
    pl.seed_everything(0, verbose=False)
    monitor = ActiveNeuronMonitor(layers=["*"], min_fraction=0.4, on_error="raise")
    data, net = DigitData(), DigitNet()
    trainer = quiet_trainer(callbacks=[monitor])
    trainer.fit(net, data)
    x, y = data.val.tensors
    for layer in ("frozen.2", "body.0", "body.2", "body.3", "head.0", "head.1", "head.3"):
        rates, activation = brute_force(net, layer, x, y, 0.4)
        profile = monitor.profiles["val"][layer]
        np.testing.assert_allclose(profile.rates.numpy(), rates, atol=1e-6)
        np.testing.assert_allclose(profile.activation.numpy(), activation, rtol=1e-4, atol=1e-6)


def test_training_counts_are_taken_with_the_weights_and_dropout_of_each_step() -> None:
    monitor = ActiveNeuronMonitor(on_error="raise")
    seen: dict[str, Any] = {}

    class Net(DigitNet):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            handle = self.head[1].register_forward_hook(
                lambda _m, _i, out: seen.setdefault("all", []).append((out > 0).float())
            )
            loss = super().training_step(batch, batch_idx)
            handle.remove()
            seen.setdefault("labels", []).append(batch[1])
            return loss

    quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Net(), DigitData())
    active, labels = torch.cat(seen["all"]), torch.cat(seen["labels"])
    expected = torch.stack([active[labels == c].mean(0) for c in range(10)])
    torch.testing.assert_close(monitor.profiles["train"]["head.1"].rates, expected)
    assert monitor.profiles["train"]["head.1"].n_samples.sum() == 256


def test_class_metrics_equal_sklearn() -> None:
    monitor, data, net = ActiveNeuronMonitor(on_error="raise"), DigitData(), DigitNet()
    quiet_trainer(callbacks=[monitor], max_epochs=3).fit(net, data)
    x, y = data.val.tensors
    with torch.no_grad():
        predicted = net.eval()(x).argmax(1)
    precision, recall, f1, _ = precision_recall_fscore_support(y, predicted, labels=range(10), zero_division=np.nan)
    np.testing.assert_allclose(monitor.class_metrics["precision"], precision, rtol=1e-6)
    np.testing.assert_allclose(monitor.class_metrics["recall"], recall, rtol=1e-6)
    np.testing.assert_allclose(monitor.class_metrics["f1"], f1, rtol=1e-6)
    with pytest.warns(DeprecationWarning, match="called class_metrics"):
        assert monitor.class_figures == monitor.class_metrics


def test_scores_are_caught_where_the_step_calls_the_children() -> None:
    class Net(DigitNet):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            scores = self.head(self.body(self.frozen(batch[0])))
            self.log("val_loss", functional.cross_entropy(scores, batch[1]))

    monitor = ActiveNeuronMonitor(on_error="raise")
    quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Net(), DigitData())
    assert len(monitor.class_metrics["f1"]) == 10


def test_logs_every_tag_it_promises(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, "run")
    monitor = ActiveNeuronMonitor(every_n_train_steps=4, on_error="raise")
    quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=3).fit(DigitNet(), DigitData())
    events = Events(logger.log_dir)
    for layer in ("frozen.2", "body.2", "head.1"):
        metrics = ("dead", "always_on", "exclusive", "selectivity", "overlap", "turnover", "gap")
        assert {f"explain/neurons/{layer}/{metric}" for metric in metrics} <= set(events.scalars)
        assert f"explain/neurons/train/{layer}/dead" in events.scalars
        assert events.picture(f"explain/neurons/{layer}/rates").std() > 5
    # the precision of a class that was never predicted is undefined, and not logged
    assert {f"explain/neurons/{metric}/{c}" for metric in ("recall", "f1") for c in range(10)} <= set(events.scalars)
    assert any(tag.startswith("explain/neurons/precision/") for tag in events.scalars)
    assert "explain/neurons/overhead" in events.scalars
    assert {"explain/neurons/frozen.2/maps", "explain/neurons/body.2/maps"} <= set(events.images)
    assert list(events.curve("explain/neurons/head.1/dead")) == list(events.curve("val_acc"))
    assert list(events.curve("explain/neurons/head.1/gap")) == list(events.curve("val_acc"))
    record = (Path(logger.log_dir) / "explain/neurons/record.jsonl").read_text().splitlines()
    last = json.loads(record[-1])
    assert len(record) == 3 and last["layers"]["head.1"]["classes"]["3"]["active"] == list(
        monitor.active_sets["head.1"][3]
    )


def test_active_sets_can_be_read_and_change() -> None:
    monitor = ActiveNeuronMonitor(min_rate=0.8, class_names=[f"digit {d}" for d in range(10)], on_error="raise")
    trainer = quiet_trainer(callbacks=[monitor], max_epochs=2)
    trainer.fit(DigitNet(), DigitData())
    rates = monitor.profiles["val"]["head.1"].rates
    for c in range(10):
        assert monitor.active_sets["head.1"][c] == tuple((rates[c] >= 0.8).nonzero().flatten().tolist())
    assert 0 < trainer.callback_metrics["explain/neurons/head.1/turnover"] <= 1
    assert "explain/neurons/f1/digit_3" in trainer.callback_metrics


def test_csv_and_no_logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quiet_trainer(callbacks=[ActiveNeuronMonitor(on_error="raise")], max_epochs=1).fit(DigitNet(), DigitData())
    assert list(tmp_path.iterdir()) == []
    logger = CSVLogger(tmp_path, "csv")
    quiet_trainer(callbacks=[ActiveNeuronMonitor(on_error="raise")], logger=logger, max_epochs=1).fit(
        DigitNet(), DigitData()
    )
    assert list((Path(logger.log_dir) / "explain/neurons/head.1/rates").glob("*.png"))


def test_validate_alone_and_without_validation() -> None:
    monitor = ActiveNeuronMonitor(on_error="raise")
    model = DigitNet()
    quiet_trainer(callbacks=[monitor]).validate(model, DigitData(), verbose=False)
    assert monitor.profiles["val"]["head.1"].n_samples.sum() == 96
    assert not any(module._forward_hooks for module in model.modules())
    alone = ActiveNeuronMonitor(on_error="raise")
    trainer = quiet_trainer(callbacks=[alone], limit_val_batches=0, max_epochs=2)
    trainer.fit(model, DigitData())
    assert "explain/neurons/head.1/turnover" in trainer.callback_metrics and "val" not in alone.profiles


class Free(pl.LightningModule):
    """Trains any network on any tensors."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Any) -> Any:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        out = self(batch[0])
        return functional.cross_entropy(out, batch[1]) if out.shape[1] > 1 else functional.mse_loss(out[:, 0], batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.05)


def trained(net: nn.Module, x: Any, y: Any, monitor: ActiveNeuronMonitor, **options: Any) -> Free:
    loader, model = DataLoader(TensorDataset(x, y), batch_size=16), Free(net)
    fit(monitor, model=model, data=(loader, loader), max_epochs=1, **options)
    return model


X, Y = torch.randn(48, 6), torch.arange(48) % 3


class SharedReLU(nn.Module):
    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x: Any) -> Any:
        return self.c(self.relu(self.b(self.relu(self.a(x)))))


def test_one_relu_shared_by_layers_is_counted_per_call() -> None:
    monitor = ActiveNeuronMonitor(on_error="raise")
    model = trained(SharedReLU(), X, Y, monitor)
    assert list(monitor.profiles["val"]) == ["net.relu", "net.relu#1"]
    with torch.no_grad():
        hidden = model.net.relu(model.net.a(X))
        second = model.net.relu(model.net.b(hidden))
    for key, output in (("net.relu", hidden), ("net.relu#1", second)):
        expected = torch.stack([(output[c == Y] > 0).float().mean(0) for c in range(3)])
        torch.testing.assert_close(monitor.profiles["val"][key].rates, expected)


def test_an_inplace_relu_after_a_watched_layer_changes_nothing() -> None:
    monitor = ActiveNeuronMonitor(layers="net.a", on_error="raise")
    model = trained(SharedReLU(inplace=True), X, Y, monitor)
    expected = torch.stack([model.net.a(X)[c == Y].mean(0) for c in range(3)]).detach()
    torch.testing.assert_close(monitor.profiles["val"]["net.a"].activation, expected)
    assert (expected < 0).any()  # after the ReLU there would be none


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.b(functional.relu(self.a(x)))


def test_functional_activations_are_watched_at_the_layer_that_feeds_them() -> None:
    monitor = ActiveNeuronMonitor(on_error="raise")
    model = trained(Functional(), X, Y, monitor)
    assert list(monitor.profiles["val"]) == ["net.a"]
    expected = torch.stack([(functional.relu(model.net.a(X))[c == Y] > 0).float().mean(0) for c in range(3)])
    torch.testing.assert_close(monitor.profiles["val"]["net.a"].rates, expected)


def test_a_layer_that_never_fires_is_named() -> None:
    net = SharedReLU()
    net.unused = nn.ReLU()
    with pytest.warns(ExplanationWarning, match=r"never fired: .*net\.unused.*F\.relu"):
        trained(net, X, Y, ActiveNeuronMonitor())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.rnn(x)[0][:, -1])


def test_recurrent_layers_and_sequences() -> None:
    x = torch.randn(48, 7, 6)
    monitor = ActiveNeuronMonitor(layers="net.rnn", min_fraction=0.5, on_error="raise")
    model = trained(Recurrent(), x, Y, monitor)
    profile = monitor.profiles["val"]["net.rnn"]
    active = (model.net.rnn(x)[0] > 0).float().mean(1) >= 0.5  # at half of the 7 time steps
    expected = torch.stack([active[c == Y].float().mean(0) for c in range(3)])
    torch.testing.assert_close(profile.rates, expected)


def test_transformer_blocks_count_features_not_tokens() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, dropout=0.0, activation=nn.ReLU())
    net = nn.Sequential(nn.Linear(6, 8), layer, nn.Flatten(), nn.Linear(40, 3))
    monitor = ActiveNeuronMonitor(layers="net.1.linear1", on_error="raise")
    x = torch.randn(48, 5, 6)
    model = trained(net, x, Y, monitor)
    assert monitor.profiles["train"]["net.1.linear1"].rates.shape == (3, 12)
    active = (layer.linear1(layer.norm1(attended(layer, model.net[0](x)))) > 0).float().mean(1) >= 0.25
    expected = torch.stack([active[c == Y].float().mean(0) for c in range(3)])
    torch.testing.assert_close(monitor.profiles["val"]["net.1.linear1"].rates, expected)


def attended(layer: nn.TransformerEncoderLayer, x: torch.Tensor) -> torch.Tensor:
    return x + layer.self_attn(x, x, x, need_weights=False)[0]


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = nn.Sequential(nn.Linear(6, 8), nn.ReLU()), nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.out(checkpoint(self.body, x, use_reentrant=False))


def test_activation_checkpointing_counts_once() -> None:
    monitor = ActiveNeuronMonitor(on_error="raise")
    trained(Checkpointed(), X, Y, monitor)
    assert list(monitor.profiles["train"]) == ["net.body.1"]
    assert monitor.profiles["train"]["net.body.1"].n_samples.tolist() == [16, 16, 16]


def test_regression_says_so_once_and_counts_what_applies(tmp_path: Path) -> None:
    monitor = ActiveNeuronMonitor()
    data = TensorDataset(X, torch.randn(48))
    trainer = quiet_trainer(callbacks=[monitor], max_epochs=1, logger=TensorBoardLogger(tmp_path, name="", version=""))
    with pytest.warns(ExplanationWarning, match="all samples of that stage count as one class") as caught:
        # batches of other sizes are described otherwise
        trainer.fit(
            Free(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))),
            DataLoader(data, batch_size=16),
            DataLoader(data, batch_size=24),
        )
    assert len([w for w in caught if issubclass(w.category, ExplanationWarning)]) == 1
    profile = monitor.profiles["val"]["net.1"]
    assert profile.n_samples.tolist() == [48]
    assert set(profile.scalars()) == {"dead", "dormant", "always_on"}
    assert monitor.class_names == ["all samples"]
    assert monitor.latest is not None
    assert {row["class"] for row in monitor.latest.to_rows()} == {"all samples"}
    words = Events(tmp_path).text("explain/neurons/net.1/features")
    assert "that are most active" in words and "each class" not in words


def test_manual_optimisation_with_two_optimizers_counts_every_pass() -> None:
    class Two(Free):
        automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward(functional.cross_entropy(self(batch[0]), batch[1]))
                optimizer.step()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self(batch[0])

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.parameters(), 0.1), torch.optim.SGD(self.parameters(), 0.1)]

    monitor = ActiveNeuronMonitor(on_error="raise")
    loader = DataLoader(TensorDataset(X, Y), batch_size=16)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Two(net), loader, loader)
    assert list(monitor.profiles["train"]) == ["net.1", "net.1#1"]


def test_a_compiled_network_is_counted() -> None:
    monitor = ActiveNeuronMonitor(on_error="raise")
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    compiled = torch.compile(net, backend="eager")
    model = trained(compiled, X, Y, monitor)
    (key,) = monitor.profiles["val"]
    expected = torch.stack([(net[:2](X)[c == Y] > 0).float().mean(0) for c in range(3)])
    torch.testing.assert_close(monitor.profiles["val"][key].rates, expected)
    assert model is not None


def test_labels_that_come_late_make_room() -> None:
    late = torch.cat([torch.zeros(16), torch.ones(16), torch.full((16,), 2)]).long()
    monitor = ActiveNeuronMonitor(on_error="raise")
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    trained(net, X, late, monitor)
    assert monitor.profiles["train"]["net.1"].n_samples.tolist() == [16, 16, 16]


def test_several_validation_loaders_are_counted_together() -> None:
    loader = DataLoader(TensorDataset(X, Y), batch_size=16)

    class Many(Free):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.training_step(batch, batch_idx)

    monitor = ActiveNeuronMonitor(on_error="raise")
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Many(net), loader, [loader, loader])
    assert monitor.profiles["val"]["net.1"].n_samples.tolist() == [32, 32, 32]
