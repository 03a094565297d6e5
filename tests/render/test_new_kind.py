"""A new kind of input as a contributor adds it: one Python file, one JavaScript file, and nothing else is touched."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PYTHON = '''"""Days [batch, 24]: a strip of hours."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_explain.render.colour import Picture, signed_colours
from lightning_explain.render.layout import below, beside
from lightning_explain.render.modality import Annotations, Modality, Named, Shown, film_rows, rounded, top_places
from lightning_explain.render.page_layout import Panel, legend, legends, titled
from lightning_explain.render.sprites import Sprite
from lightning_explain.render.text import text


def strip(values: Tensor, scale: float) -> Picture:
    """Draw the hours of a day as cells of 8 x 12 pixels."""
    return signed_colours(values, scale)[None].repeat(12, axis=0).repeat(8, axis=1)


class Day(Modality):
    """Days [batch, 24]: a strip of hours."""

    layout = "lists"
    shapes = {2: "[batch, 24]"}

    def picture(self, shown: Shown, panels: Sequence[Panel], words: Annotations) -> Picture:
        """Draw a strip for each day and method."""
        lines = [
            beside([text(words.captions[row], width=120), *(strip(panel.values[row], panel.scale) for panel in panels)])
            for row in range(len(shown.inputs))
        ]
        return titled(below(lines), words.title, legends(panels, words.unit))

    def film(self, shown: Shown, films: Sequence[Tensor], words: Annotations) -> Picture:
        """Draw a strip for each explanation, day below day."""
        scale = float(torch.stack(list(films)).abs().max())
        days = range(len(film_rows(words.labels, len(shown.inputs))))
        lines = [below([strip(film[day].float(), scale) for film in films]) for day in days]
        return titled(below(lines, gap=8), words.title, legend(scale, words.unit))

    def top_features(self, shown: Shown, values: Tensor, row: int) -> Named:
        """Return [hour, value]."""
        return [[f"{hour} h", rounded(float(values[row, hour]))] for hour in top_places(values[row])]

    def tab_inputs(self, shown: Shown, rows: Sequence[int]) -> tuple[dict[str, Any], Sprite | None]:
        """Return the names of the hours."""
        return {"names": [[f"{hour} h" for hour in range(24)] for _ in rows]}, None


MODALITY = Day()
'''

JAVASCRIPT = """// Days: the strongest hour of each.

import { el } from "../dom.js";
import { barLegend } from "../legend.js";
import { valuesAt } from "../views/sample_card.js";

export function create(onPick) {
  return {
    legend: (_, unit, compared) => barLegend(unit, compared),
    draw(grid, a, b, { positions }) {
      const hour = (values) => values.indexOf(Math.max(...values));
      const card = (i) => el("button", { on: { click: () => onPick(i) }, text: hour(valuesAt(a, i) ?? []) });
      grid.replaceChildren(...positions.map(card));
    },
  };
}
"""

USE = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from lightning_explain import AttributionMonitor, Display, IntegratedGradients
from lightning_explain.report.command import run
from tensorboard_explain.plugin import FILES

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(24, 2)
    def forward(self, x):
        return self.net(x)
    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])
    def validation_step(self, batch, _):
        pass
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

folder = Path(sys.argv[1])
torch.manual_seed(0)
data = TensorDataset(torch.rand(16, 24), torch.arange(16) % 2)
monitor = AttributionMonitor(method=IntegratedGradients(n_steps=2), display=Display(form="day"), on_error="raise")
trainer = pl.Trainer(
    max_epochs=1, callbacks=[monitor], accelerator="cpu", logger=TensorBoardLogger(folder, "run", version=0),
    enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=1,
)
trainer.fit(Net(), DataLoader(data, 8), DataLoader(data, 8))
run([folder], output=folder / "report.html", version="1")
record = monitor.records[-1]["inputs"][0]
hour = record["strongest"][0][0][0]
print(json.dumps({"record": record, "route": "/modalities/day.js" in FILES,
                  "report": (folder / "report.html").read_text().count(hour)}))
"""


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_new_kind_of_input_is_one_python_file_and_one_javascript_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for package in ("lightning_explain", "tensorboard_explain"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = digests(source)
    (source / "lightning_explain/render/modalities/day.py").write_text(PYTHON)
    (source / "tensorboard_explain/static/modalities/day.js").write_text(JAVASCRIPT)
    after = digests(source)
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert len(changed) == 2

    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "ignore", "-c", USE, str(tmp_path / "logs")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["record"]["form"] == "day" and told["record"]["strongest"][0][0][0].endswith(" h")
    assert told["route"] and told["report"] > 0
    written = b"".join(path.read_bytes() for path in (tmp_path / "logs").rglob("events.*"))
    assert b'"day"' in written and b"explain/attribution/filmstrip" in written
