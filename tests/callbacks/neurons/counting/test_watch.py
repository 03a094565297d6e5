"""Transformers, recurrent layers and functional activations in real runs: counted right, and undisturbed."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor, InputXGradient
from lightning_explain.callbacks.neurons.activation_maps import shown_channels
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from lightning_explain.neurons import LayerProfile
from tests.events import Events
from tests.models import DigitData, DigitNet, quiet_trainer
from tests.reliability.observation import Spy, differences
from tests.training import fit

pytestmark = [
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True"),
]


def sequences(n: int = 160) -> tuple[Tensor, Tensor, Tensor]:
    """Real digits, their rows as steps of a sequence; some end early."""
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images[:n], dtype=torch.float32).reshape(-1, 8, 8) / 16
    lengths = torch.tensor([3 + i % 6 for i in range(n)])
    return x * (torch.arange(8)[None] < lengths[:, None])[..., None], lengths, torch.tensor(labels[:n])


X, LENGTHS, Y = sequences()


def padding_of(x: Tensor) -> Tensor:
    """Steps after the last one that holds anything."""
    filled = (x != 0).any(-1).flip(1).cumsum(1).flip(1) > 0
    return ~filled


class Run(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self(batch[0])
        self.log("val_loss", functional.cross_entropy(scores, batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 1e-2)


class Transformer(Run):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.inlet, self.outlet = nn.Linear(8, 16), nn.Linear(16, 10)
        layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True, **options)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x: Tensor) -> Tensor:
        mask = padding_of(x)
        tokens = self.encoder(self.inlet(x), src_key_padding_mask=mask)
        return self.outlet(tokens.masked_fill(mask[..., None], 0.0).sum(1))


class Recurrent(Run):
    def __init__(self, kind: Any = nn.LSTM) -> None:
        super().__init__()
        self.rnn, self.outlet = kind(8, 12, batch_first=True), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        lengths = (~padding_of(x)).sum(1).clamp_min(1).cpu()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        found, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.outlet(found.sum(1))


class Residual(Run):
    """Functional activations: behind layers, and behind a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.gelu(self.a(x.flatten(1)))
        return self.c(torch.relu(self.b(h) + h))


MODELS = {
    "transformer": Transformer,
    "transformer, norm first, gelu": lambda: Transformer(norm_first=True, activation="gelu"),
    "transformer with an activation module": lambda: Transformer(activation=nn.ReLU()),
    "lstm": Recurrent,
    "gru": lambda: Recurrent(nn.GRU),
    "functions": Residual,
}


def spied_on(make: Any, monitors: list[pl.Callback], **options: Any) -> tuple[Spy, Any, Any]:
    spy, data = Spy(), TensorDataset(X, Y)
    loaders = DataLoader(data, batch_size=32, shuffle=True), DataLoader(data, batch_size=40)
    trainer = fit(monitors, spy, model=make, data=loaders, seed=5, **options)
    spy.after(trainer, trainer.lightning_module)
    return spy, trainer, trainer.lightning_module


@pytest.mark.filterwarnings("ignore::lightning_explain.errors.ExplanationWarning")
@pytest.mark.parametrize("kind", MODELS)
def test_run_is_bit_identical(kind: str, tmp_path: Path) -> None:
    bare, unwatched, _ = spied_on(MODELS[kind], [])
    # the note about a sum before a function is no failure
    # no baseline of zeros: to these models it would be padding alone, which torch's encoder refuses
    monitor = ActiveNeuronMonitor(on_error="raise", every_n_train_steps=2, method=InputXGradient())
    spy, trainer, _ = spied_on(MODELS[kind], [monitor], logger=TensorBoardLogger(tmp_path))
    assert differences(bare, spy) == []
    assert len(monitor.records) == 2 and not torch.nn.modules.module._has_any_global_hook()
    assert all(layer.feeding is not None for layer in monitor.latest.layers.values())
    assert trainer.callback_metrics["val_loss"] == unwatched.callback_metrics["val_loss"]


def by_class(active: Tensor) -> Tensor:
    return torch.stack([active[c == Y].float().mean(0) for c in range(10)])


def test_a_transformers_units_and_heads_are_counted_without_padding() -> None:
    monitor = ActiveNeuronMonitor(on_error="raise", min_fraction=0.5, feeding=0)
    *_, model = spied_on(lambda: Transformer(dropout=0.0, activation="gelu"), [monitor], max_epochs=1)
    profiles = monitor.profiles["val"]
    assert list(profiles) == [f"encoder.layers.{i}.{part}" for i in (0, 1) for part in ("self_attn", "linear1")]
    layer, x = model.encoder.layers[0], model.inlet(X)
    mask = padding_of(X)
    rates, means = torch.zeros(len(X), 24), torch.zeros(len(X), 24)
    heads = torch.zeros(len(X), 2)
    model.eval()
    with torch.no_grad():
        for i in range(len(X)):  # every sequence by itself, cut to its length: no padding at all
            tokens = x[i, ~mask[i]][None]
            attended = layer.self_attn(tokens, tokens, tokens)[0]
            hidden = functional.gelu(layer.linear1(layer.norm1(tokens + attended)))[0]
            rates[i] = ((hidden > 0).float().mean(0) >= 0.5).float()
            means[i] = hidden.mean(0)
            q, k, v = functional.linear(tokens[0], layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias).chunk(
                3, -1
            )
            for h in range(2):
                part = slice(8 * h, 8 * h + 8)
                share = torch.softmax(q[:, part] @ k[:, part].T / 8**0.5, -1)
                heads[i, h] = (share @ v[:, part]).norm(dim=-1).mean()
    unit, head = profiles["encoder.layers.0.linear1"], profiles["encoder.layers.0.self_attn"]
    torch.testing.assert_close(unit.rates, by_class(rates))
    torch.testing.assert_close(unit.activation, by_class(means), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.activation, by_class(heads), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.rates, by_class(heads >= 0.5 * heads.mean(1, keepdim=True)))
    # in training, attention is counted in every 8th batch
    train = monitor.profiles["train"]
    assert int(train["encoder.layers.0.self_attn"].n_samples.sum()) == 32
    assert int(train["encoder.layers.0.linear1"].n_samples.sum()) == len(X)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_hidden_units_of_a_packed_run(kind: Any) -> None:
    monitor = ActiveNeuronMonitor(on_error="raise", min_fraction=0.4)
    *_, model = spied_on(lambda: Recurrent(kind), [monitor], max_epochs=1)
    profile = monitor.profiles["val"]["rnn"]
    lengths = (~padding_of(X)).sum(1).clamp_min(1)
    active, means = torch.zeros(len(X), 12), torch.zeros(len(X), 12)
    with torch.no_grad():
        for i, n in enumerate(lengths.tolist()):
            hidden = model.rnn(X[i : i + 1, :n])[0][0]
            active[i] = ((hidden > 0).float().mean(0) >= 0.4).float()
            means[i] = hidden.mean(0)
    torch.testing.assert_close(profile.rates, by_class(active))
    torch.testing.assert_close(profile.activation, by_class(means), rtol=1e-4, atol=1e-5)


def test_functions_behind_layers_are_counted_after_the_function_and_sums_are_named() -> None:
    monitor = ActiveNeuronMonitor()
    with pytest.warns(ExplanationWarning, match="relu in the model's own forward"):
        *_, model = spied_on(Residual, [monitor], max_epochs=1)
    profile = monitor.profiles["val"]["a"]
    assert list(monitor.profiles["val"]) == ["a"]
    after = functional.gelu(model.a(X.flatten(1))).detach()
    torch.testing.assert_close(profile.rates, by_class(after > 0))
    torch.testing.assert_close(profile.activation, by_class(after), rtol=1e-4, atol=1e-6)


class Once:
    """Can be used a single time, and its copies not at all."""

    def __init__(self, left: int = 1) -> None:
        self.left = left

    def __copy__(self) -> "Once":
        return Once(0)

    def pop(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("used up")


def test_what_could_not_be_found_out_is_said_by_name() -> None:
    class Odd(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: Tensor, once: Any) -> Tensor:
            once.pop()  # cannot be repeated
            return self.c(self.relu(functional.gelu(self.a(x.flatten(1)))))

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return functional.cross_entropy(self(batch[0], Once()), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.training_step(batch, batch_idx))

    with pytest.warns(ExplanationWarning, match=r"Odd.*may apply functional activations.*Watched are: relu"):
        spied_on(Odd, [ActiveNeuronMonitor(feeding=0, exemplars=0)], max_epochs=1)


def test_a_report_reads_as_arrays_and_rows(tmp_path: Path) -> None:
    names = [f"digit {c}" for c in range(10)]
    monitor = ActiveNeuronMonitor(on_error="raise", class_names=names)
    logger = TensorBoardLogger(tmp_path, "run")
    trainer = quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=3)
    trainer.fit(DigitNet(), DigitData())
    report = monitor.latest
    assert report.epoch == 2 and report.stage == "val" and list(report.layers) == ["frozen.2", "body.2", "head.1"]
    table = pandas.DataFrame(report.to_rows())
    assert len(table) == 10 * (4 + 8 + 16)
    layer = report.layers["head.1"]
    head = table[table["layer"] == "head.1"]
    matrix = head.pivot_table(index="class", columns="neuron", values="rate")
    np.testing.assert_allclose(matrix.to_numpy(), layer.profile.rates)
    assert head["active"].sum() == int(layer.profile.active_sets.sum())
    gaps = monitor.profiles["train"]["head.1"].rates - layer.profile.rates
    np.testing.assert_allclose(head["gap"].to_numpy().reshape(10, 16), gaps, atol=1e-6)
    events = Events(logger.log_dir)
    gap = events.curve("explain/neurons/head.1/gap")
    assert list(gap.values())[-1] == pytest.approx(float(gaps.abs().mean()), rel=1e-5)
    overlap = pandas.DataFrame(report.overlap_rows())
    assert len(overlap) == 3 * 100 and (overlap[overlap["class"] == overlap["other"]]["jaccard"] == 1).all()
    a, b = (set(monitor.active_sets["head.1"][c]) for c in (2, 3))
    pair = overlap.query("layer == 'head.1' and `class` == 'digit 2' and other == 'digit 3'")["jaccard"].item()
    assert pair == pytest.approx(len(a & b) / len(a | b))
    features = pandas.DataFrame(report.feature_rows())
    assert set(features["layer"]) == set(report.layers) and set(features["sign"]) <= {"+", "-", "0"}
    for name in report.layers:
        tag = f"explain/neurons/{name}"
        assert events.picture(f"{tag}/overlaps").std() > 5 and events.picture(f"{tag}/features").std() > 5
        assert f"{tag}/features/text_summary" in events.texts and f"{tag}/dormant" in events.scalars
    assert all(events.picture(tag).shape[1] <= 720 for tag in events.images)


def test_resume_goes_on_with_first_epochs(tmp_path: Path) -> None:
    class Late(pl.Callback):
        """Lets neurons come and go: a bias pushed up and down by epoch."""

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            with torch.no_grad():
                pl_module.head[0].bias.copy_(torch.tensor([9.0, -9.0] * 8) * (-1) ** trainer.current_epoch)

    def run(epochs: int, checkpoint: Any = None, save: Any = None) -> Any:
        pl.seed_everything(1, verbose=False)
        monitor, model = ActiveNeuronMonitor(on_error="raise", feeding=0, maps=0), DigitNet()
        model.head[2].p = 0.0
        trainer = quiet_trainer(max_epochs=epochs, callbacks=[Late(), monitor], num_sanity_val_steps=0)
        trainer.fit(model, DigitData(shuffle=False), ckpt_path=checkpoint)
        if save:
            trainer.save_checkpoint(save)
        return monitor.latest.layers["head.1"].history

    whole = run(3)
    run(1, save=tmp_path / "one.ckpt")
    resumed = run(3, checkpoint=tmp_path / "one.ckpt")
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one.nan_to_num(-9), other.nan_to_num(-9))
    assert {0, 1} <= set(whole.became_active.flatten().tolist())
    assert {0, 1} <= set(whole.died.tolist())


def test_maps_of_chosen_channels_at_steps(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, "run")
    monitor = ActiveNeuronMonitor(on_error="raise", maps=[1, 3], feeding=0, every_n_train_steps=3)
    quiet_trainer(callbacks=[monitor], logger=logger, max_epochs=1).fit(DigitNet(), DigitData())
    events = Events(logger.log_dir)
    assert events.steps("explain/neurons/body.2/maps")[:2] == [2, 5]
    assert (
        len(events.steps("explain/neurons/body.2/maps")) == 3 and len(events.steps("explain/neurons/body.2/rates")) == 1
    )


def test_channels_are_the_top_ones_of_the_class_or_those_asked_for() -> None:
    activation = torch.tensor([5.0, 1.0, 3.0, 2.0])[:, None, None].expand(4, 2, 2)
    means = torch.tensor([[0.0, 1.0, 2.0, 3.0], [9.0, 1.0, 2.0, 3.0]])
    profile = LayerProfile(means, means, torch.tensor([4, 0]), torch.ones(4).bool(), 0.5, means.mean(0))
    assert shown_channels(2, activation, profile, 0) == [2, 3]
    assert shown_channels(2, activation, profile, 1) == [0, 2]  # the class was not seen: those of the sample
    assert shown_channels(2, activation, profile, None) == shown_channels(2, activation, None, 0) == [0, 2]
    assert shown_channels(9, activation, profile, 0) == [0, 1, 2, 3]
    assert shown_channels([3, 1, 7], activation, profile, 0) == [3, 1]
    with pytest.raises(ConfigurationError, match="names no channel"):
        shown_channels([4], activation, profile, 0)


@pytest.mark.parametrize("options", [{"feeding": -1}, {"maps": -1}, {"maps": [1, -2]}])
def test_impossible_numbers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="from 0 on"):
        ActiveNeuronMonitor(**options)
