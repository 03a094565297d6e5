"""Checkpoint files of a run: which, in which order, and of which step."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_explain.errors import ConfigurationError
from lightning_explain.replaying.saved import checkpoint_files, read_checkpoints
from lightning_explain.weights.checkpoint_file import UnusableCheckpointError


def saved(path: Path, **content: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    torch.save({"state_dict": {"weight": torch.ones(1)}, **content}, path)
    return path


def test_files_of_a_folder_come_in_the_order_that_people_count_in(tmp_path: Path) -> None:
    for name in ("epoch=10.ckpt", "epoch=9.ckpt", "last.pt", "notes.txt", "1.bin"):
        (tmp_path / name).touch()
    found = [path.name for path in checkpoint_files(tmp_path)]
    assert found == ["1.bin", "epoch=9.ckpt", "epoch=10.ckpt", "last.pt"]


def test_lightnings_own_folder_is_looked_into_and_files_that_are_given_stay_in_order(tmp_path: Path) -> None:
    one, other = saved(tmp_path / "checkpoints" / "b.ckpt"), saved(tmp_path / "checkpoints" / "a.ckpt")
    assert checkpoint_files(tmp_path) == [other, one]
    assert checkpoint_files([one, str(other)]) == [one, other]


def test_what_holds_no_checkpoints_is_refused_with_where_they_would_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere does not exist"):
        checkpoint_files(tmp_path / "nowhere")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigurationError, match=r"no \*.ckpt.*version_N/checkpoints"):
        checkpoint_files(tmp_path)


def test_the_step_is_that_in_the_file_else_in_its_name_else_its_place(tmp_path: Path) -> None:
    files = [
        saved(tmp_path / "step=7.ckpt", global_step=30, epoch=2),
        saved(tmp_path / "epoch=4-step=12.ckpt"),
        saved(tmp_path / "net_20.ckpt", global_step=True, epoch=-1),
        saved(tmp_path / "last.ckpt"),
    ]
    found, skipped = read_checkpoints(files)
    assert [(checkpoint.step, checkpoint.path.name) for checkpoint in found] == [
        (3, "last.ckpt"), (12, "epoch=4-step=12.ckpt"), (20, "net_20.ckpt"), (30, "step=7.ckpt")
    ]  # fmt: skip
    assert [checkpoint.epoch for checkpoint in found] == [3, 1, 2, 2] and not skipped


def test_of_two_of_one_step_the_first_counts_and_the_other_is_named(tmp_path: Path) -> None:
    files = [saved(tmp_path / "a.ckpt", global_step=5), saved(tmp_path / "b.ckpt", global_step=5), tmp_path / "no.ckpt"]
    found, skipped = read_checkpoints(files)
    assert [checkpoint.path.name for checkpoint in found] == ["a.ckpt"]
    assert skipped[files[1]] == "a.ckpt is of step 5 too, and comes first"
    assert "cannot be read" in skipped[files[2]]


def test_content_is_read_again_and_what_has_gone_is_said(tmp_path: Path) -> None:
    (checkpoint,), _ = read_checkpoints([saved(tmp_path / "a.ckpt", epoch=4)])
    assert checkpoint.content()["epoch"] == 4
    checkpoint.path.unlink()
    with pytest.raises(UnusableCheckpointError, match="FileNotFoundError"):
        checkpoint.content()
