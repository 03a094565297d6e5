"""Sink for Weights & Biases: images, texts and records of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from lightning_explain.log.sinks import record_line
from lightning_explain.log.tags import file_name
from lightning_explain.render.colour import Picture


@dataclass(frozen=True)
class WandbSink:
    """Images and texts in the run's history, beside the metrics of the same step; records among its files.

    All of it goes through `WandbLogger`, which names the Trainer's step as the x-axis (`trainer/global_step`): W&B's
    own step only ever counts up, so explanations made at an earlier step than was logged last would be refused.

    Attributes:
        logger: The `WandbLogger`.
    """

    logger: Any

    def image(self, tag: str, picture: Picture, step: int, description: str = "") -> None:
        """Log an image panel with the description as its caption."""
        captions = {"caption": [description]} if description else {}
        # not as an array: what becomes of one depends on its values, and on the version of W&B
        self.logger.log_image(tag, [Image.fromarray(picture)], step=step, **captions)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Log an HTML panel with the text escaped: nothing in it becomes markup."""
        from wandb import Html  # noqa: PLC0415 - only who uses W&B has it

        page = f'<pre style="white-space: pre-wrap">{escape(markdown)}</pre>'
        self.logger.log_metrics({tag: Html(page, inject=False)}, step=step)

    def record(self, tag: str, record: Mapping[str, Any], step: int) -> None:
        """Save `<tag>/step_<step>.json` among the run's files."""
        run = self.logger.experiment
        folder = Path(run.dir)
        path = folder / file_name(tag, ".json", step=step)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record_line(record, step), encoding="utf-8")
        # "now": a resumed run has another folder and would not find it
        run.save(str(path), base_path=str(folder), policy="now")

    def layout(self, charts: Mapping[str, list[str]]) -> None:
        """Do nothing: W&B groups panels by the parts of their tags."""

    def tab(self, tag: str, header: Mapping[str, Any], sprite: Picture | None, step: int, *, once: bool) -> None:
        """Do nothing: the Explain tab is TensorBoard's."""
