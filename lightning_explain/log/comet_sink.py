"""Sink for Comet: images, texts and records of an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from lightning_explain.log.png import png_bytes
from lightning_explain.log.sinks import record_line
from lightning_explain.log.tags import file_name
from lightning_explain.render.colour import Picture


@dataclass(frozen=True)
class CometSink:
    """Images under *Graphics*, texts under *Text*, records under *Assets & Artifacts*, each with its step.

    Attributes:
        experiment: The logger's Comet experiment.
    """

    experiment: Any

    def image(self, tag: str, picture: Picture, step: int, description: str = "") -> None:
        """Log an image, with its description in the metadata."""
        # as a file: Comet stretches arrays to their own range, and gives up on some of whole numbers
        self.experiment.log_image(
            BytesIO(png_bytes(picture)), name=tag, step=step, metadata={"description": description}
        )

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Log a text; Comet's texts have no name, so the tag is in the metadata."""
        self.experiment.log_text(markdown, step=step, metadata={"tag": tag})

    def record(self, tag: str, record: Mapping[str, Any], step: int) -> None:
        """Log the asset `<tag>/step_<step>.json`."""
        self.experiment.log_asset_data(record_line(record, step), name=file_name(tag, ".json", step=step), step=step)

    def layout(self, charts: Mapping[str, list[str]]) -> None:
        """Do nothing: panels are chosen on Comet's page."""

    def tab(self, tag: str, header: Mapping[str, Any], sprite: Picture | None, step: int, *, once: bool) -> None:
        """Do nothing: the Explain tab is TensorBoard's."""
