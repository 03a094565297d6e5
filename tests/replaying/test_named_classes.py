"""Replay for those who train from a script: classes by name, arguments from the checkpoint, no configuration file."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from lightning_explain.cli import main
from lightning_explain.errors import ConfigurationError
from lightning_explain.replaying.named_classes import run_of_classes
from tests.events import Events
from tests.models import quiet_trainer
from tests.replaying.digits_project import Data, Net

HERE = "tests.replaying.digits_project"

SCRIPT = f"""
from {HERE} import Data, Net

class Wide(Net):
    def __init__(self, width, depth=1):
        super().__init__(width)

def made():
    return Wide(24)

def val():
    data = Data()
    data.setup("fit")
    return data.val_dataloader()

def both():
    data = Data()
    data.setup("fit")
    return data.train_dataloader(), data.val_dataloader()

class NoModel:
    pass

if __name__ == "__main__":
    raise SystemExit("training begins again")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that a script trained; it kept a checkpoint of every epoch."""
    folder = tmp_path_factory.mktemp("script")
    pl.seed_everything(0, verbose=False)
    saving = ModelCheckpoint(folder / "checkpoints", save_top_k=-1)
    trainer = quiet_trainer(callbacks=[saving], enable_checkpointing=True, num_sanity_val_steps=0)
    trainer.fit(Net(width=24), Data())
    (folder / "train.py").write_text(SCRIPT)
    return folder


@pytest.mark.parametrize("data", ["Data", "val", "both"])
def test_the_command_needs_no_configuration_file(run: Path, data: str, tmp_path: Path, capsys: Any) -> None:
    words = ["--ckpt-dir", str(run), "--model", f"{HERE}:Net", "--data", f"{run}/train.py:{data}"]
    code = main(["replay", *words, "--logdir", str(tmp_path), "--monitors", "attribution"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "2 checkpoints explained: steps 24, 48" in printed.out
    events = Events(tmp_path / "version_0")
    assert list(events.curve("explain/attribution/drift/previous")) == [48]
    assert events.curve("val_acc")[48] > 0.5


def test_arguments_come_from_the_checkpoint(run: Path) -> None:
    found = run_of_classes(f"{HERE}:Net", f"{HERE}.Data", run)
    assert found.model.hparams.width == 24
    assert isinstance(found.data, Data)
    assert [monitor.name for monitor in found.monitors] == ["neurons", "attribution", "path"]
    from_script = run_of_classes("Wide", "val", run, script=run / "train.py", monitors=["path"])
    assert from_script.model.net[1].out_features == 24
    assert isinstance(from_script.val_dataloaders, DataLoader) and from_script.train_dataloaders is None
    assert [monitor.name for monitor in from_script.monitors] == ["path"]
    pair = run_of_classes(f"{run}/train.py:made", f"{run}/train.py:both", run)
    assert pair.data is None and None not in (pair.train_dataloaders, pair.val_dataloaders)
    assert run_of_classes(f"{HERE}:Net", None, run).data is None


@pytest.mark.parametrize(
    ("model", "data", "told"),
    [
        ("Net", None, "expected module:Class"),
        ("nowhere:Net", None, "No module named 'nowhere'.*importable from the folder"),
        (f"{HERE}:Nett", None, "no attribute 'Nett'"),
        ("{run}/train.py:NoModel", None, "NoModel; expected a LightningModule"),
        ("{run}/gone.py:Net", None, "expected the Python file"),
        (f"{HERE}:Net", "{run}/train.py:NoModel", "NoModel; expected a LightningDataModule, a DataLoader"),
        (f"{HERE}:Net", "torch.utils.data:DataLoader", "DataLoader needs dataset, which the checkpoint does not hold"),
    ],
)
def test_what_is_missing_is_told(run: Path, model: str, data: str | None, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        run_of_classes(model.format(run=run), data and data.format(run=run), run)


def test_without_either_the_command_names_both_ways(run: Path, capsys: Any) -> None:
    assert main(["replay", "--ckpt-dir", str(run)]) == 1
    said = capsys.readouterr().err
    assert "--config config.yaml" in said and "--model train:Net --data train:Data" in said
