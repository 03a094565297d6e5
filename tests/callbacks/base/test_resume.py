"""A run resumed from a checkpoint goes on as the unbroken one."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, Probe
from tests.models import DigitData, DigitNet, quiet_trainer
from tests.training import fit

pytestmark = [
    pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),  # it is resumed from
]


def monitors(**options: Any) -> list[Any]:
    return [ActiveNeuronMonitor(on_error="raise"), AttributionMonitor(on_error="raise", **options)]


class Steady(DigitNet):
    """Without dropout, so that a resumed run trains exactly as the unbroken one."""

    def __init__(self) -> None:
        super().__init__()
        self.head[2].p = 0.0


def run(callbacks: list[Any], max_epochs: int, ckpt: Path | None = None, **options: Any) -> pl.Trainer:
    data = DigitData(shuffle=False)
    return fit(callbacks, model=Steady, data=data, seed=1, ckpt=ckpt, max_epochs=max_epochs, **options)


def resume(callbacks: list[Any], max_epochs: int, folder: Path) -> None:
    # Lightning wants the callbacks of the checkpoint back, the saver included
    saver = ModelCheckpoint(folder, save_last=True)
    run([*callbacks, saver], max_epochs, folder / "last.ckpt", enable_checkpointing=True, num_sanity_val_steps=0)


def broken_run(tmp_path: Path, **options: Any) -> tuple[list[Any], list[Any]]:
    """Two epochs, a checkpoint, then two more in a new process's place: new model, new monitors."""
    first, second = monitors(**options), monitors(**options)
    saver = ModelCheckpoint(tmp_path, save_last=True)
    run([*first, saver], 2, enable_checkpointing=True, num_sanity_val_steps=0)
    resume(second, 4, tmp_path)
    return first, second


@pytest.fixture(scope="module")
def unbroken() -> list[Any]:
    """Both monitors after four epochs in one go."""
    whole = monitors()
    run(whole, 4, num_sanity_val_steps=0)
    return whole


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[Any], Path]:
    """Both monitors after two epochs and after two more, and the folder of the last checkpoint."""
    folder = tmp_path_factory.mktemp("broken")
    return *broken_run(folder), folder


def curve(monitor: Any, tag: str) -> dict[int, float]:
    return {record["step"]: record["scalars"][tag] for record in monitor.records if tag in record["scalars"]}


def test_drift_goes_on_as_unbroken(unbroken: Any, broken: Any) -> None:
    first, second, _ = broken
    for measure in ("drift", "drift_spearman", "drift_ssim"):
        for reference in ("previous", "first", "previous_error"):
            tag = f"explain/attribution/{measure}/{reference}"
            joined = curve(first[1], tag) | curve(second[1], tag)
            assert joined == pytest.approx(curve(unbroken[1], tag), rel=1e-5, abs=2e-7)  # of 1 - cosine in 32 bits
    assert len(curve(second[1], "explain/attribution/drift/previous")) == 2  # not explained anew at its start


def test_turnover_goes_on_as_unbroken(unbroken: Any, broken: Any) -> None:
    first, second, _ = broken
    tag = "explain/neurons/head.1/turnover"
    assert curve(first[0], tag) | curve(second[0], tag) == pytest.approx(curve(unbroken[0], tag))
    assert len(curve(second[0], tag)) == 2


def test_default_probe_comes_from_the_checkpoint(broken: Any) -> None:
    first, second, _ = broken
    assert first[1].probe.fingerprint == second[1].probe.fingerprint
    assert torch.equal(first[1].probe.inputs, second[1].probe.inputs)


def test_checkpoint_loads_without_pickle(broken: Any) -> None:
    state = torch.load(broken[2] / "last.ckpt", weights_only=True)
    assert any("AttributionMonitor" in key for key in state["callbacks"])


def test_another_probe_starts_anew_and_says_so(tmp_path: Path) -> None:
    first = monitors()
    saver = ModelCheckpoint(tmp_path, save_last=True)
    run([*first, saver], 2, enable_checkpointing=True, num_sanity_val_steps=0)
    other = monitors(probe=Probe.from_dataset(DigitData().val, seed=5))
    with pytest.warns(UserWarning, match="another probe"):
        resume(other, 3, tmp_path)
    assert "explain/attribution/drift/first" not in other[1].records[0]["scalars"]


def test_the_same_probe_given_again_goes_on(tmp_path: Path) -> None:
    _, second = broken_run(tmp_path, probe=Probe.from_dataset(DigitData().val, seed=5))
    assert "explain/attribution/drift/first" in second[1].records[0]["scalars"]


def test_counts_of_an_unfinished_epoch_survive(tmp_path: Path) -> None:
    broken = ActiveNeuronMonitor(on_error="raise")
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=3, filename="mid", save_top_k=-1)
    run([ActiveNeuronMonitor(), saver], 1, enable_checkpointing=True, limit_train_batches=5, limit_val_batches=0)
    state = torch.load(tmp_path / "mid.ckpt", weights_only=True)["callbacks"]
    broken.load_state_dict(next(value for key, value in state.items() if "ActiveNeuronMonitor" in key))
    counted = broken.state_dict()["train_counts"]["head.1"]["samples"].sum()
    assert int(counted) == 3 * 32


class LazyNet(Steady):
    """Its layers learn their sizes in the first forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Sequential(torch.nn.LazyLinear(16), torch.nn.ReLU(), torch.nn.LazyLinear(10))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_model_with_lazy_layers_is_resumed(tmp_path: Path) -> None:
    def run(callbacks: list[Any], max_epochs: int, ckpt: Path | None = None) -> pl.LightningModule:
        pl.seed_everything(1, verbose=False)
        saver = ModelCheckpoint(tmp_path, save_last=True)
        trainer = quiet_trainer(
            max_epochs=max_epochs, callbacks=[*callbacks, saver], enable_checkpointing=True, num_sanity_val_steps=0
        )
        trainer.fit(LazyNet(), DigitData(shuffle=False), ckpt_path=ckpt)
        return trainer.lightning_module

    saved = tmp_path / "last.ckpt"
    run([AttributionMonitor(on_error="raise")], 1)
    first = saved.read_bytes()
    alone = run([], 2, saved)
    saved.write_bytes(first)
    watched = run([AttributionMonitor(on_error="raise")], 2, saved)
    # loaded, a lazy layer has its weights before its first forward pass makes it an ordinary one
    assert [type(layer) for layer in watched.modules()] == [type(layer) for layer in alone.modules()]
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, watched.state_dict()[name])
