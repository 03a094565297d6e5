"""Checkpoint files read as plain tensors, and what other files are said to be."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightning_explain.weights.checkpoint_file import LONGEST_REASON, UnusableCheckpointError, content_of, shortened


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_is_read_whole_and_weights_alone_are_put_under_their_name(tmp_path: Path, zipped: bool) -> None:
    weights = {"fc.weight": torch.ones(2, 3), "fc._extra_state": {"scale": 2}}
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": weights, "epoch": 4}, path, _use_new_zipfile_serialization=zipped)
    found = content_of(path)
    assert found["epoch"] == 4 and torch.equal(found["state_dict"]["fc.weight"], torch.ones(2, 3))
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    assert list(content_of(path)) == ["state_dict"] and list(content_of(path)["state_dict"]) == ["fc.weight"]


class Evil:
    """Would run code when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "it holds a list; expected 'state_dict', or tensors by name"),
        ({"model": {}, "epoch": 3}, "it holds model, epoch; expected"),
        ({}, "it holds nothing; expected"),
        (nn.Linear(1, 1), "an object of torch.nn.modules.linear.Linear, which could run code.*add_safe_globals"),
        ({"state_dict": Evil()}, "could run code"),
    ],
)
def test_anything_else_is_refused_by_what_it_holds(tmp_path: Path, content: Any, reason: str) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(UnusableCheckpointError, match=reason):
        content_of(tmp_path / "a.ckpt")


def test_folders_missing_and_torn_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UnusableCheckpointError, match="it is a folder.*consolidate_checkpoint"):
        content_of(tmp_path)
    with pytest.raises(UnusableCheckpointError, match=r"cannot be read \(FileNotFoundError"):
        content_of(tmp_path / "none.ckpt")
    (tmp_path / "torn.ckpt").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(UnusableCheckpointError, match="cannot be read"):
        content_of(tmp_path / "torn.ckpt")


def test_a_reason_is_one_line_of_limited_length() -> None:
    assert shortened("one\n  two\tthree") == "one two three"
    assert shortened("x" * LONGEST_REASON) == "x" * LONGEST_REASON
    assert shortened("x" * (LONGEST_REASON + 1)) == "x" * LONGEST_REASON + " ..."
