"""Two processes, one of them slow: both skip the same explanations and count the same batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "ddp_budget_run.py"


def test_the_slower_process_decides_for_both(tmp_path: Path) -> None:
    root = str(SCRIPT.parents[3])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "seen"), "2", "1"],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    fast, slow = (json.loads((tmp_path / f"seen.{rank}").read_text()) for rank in (0, 1))
    # by its own clock the first process could afford everything
    assert all(a < 1.0 < b for a, b in zip(fast["spent"], slow["spent"], strict=True))
    assert fast["epochs"] == slow["epochs"]
    for epochs in fast["epochs"][1:]:
        assert epochs[0] in (0, None)
        assert epochs[-1] == 7
        assert 2 < len(epochs) < 9
    assert fast["counted"] == slow["counted"]
    train = fast["counted"]["train"]
    assert 0 < train["n_batches"] < train["of"] == 8
    assert fast["n_samples"] == 2 * 8 * train["n_batches"]
