"""Sink for MLflow: images, texts and records of a run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from PIL import Image

from lightning_explain.log.json_ready import json_ready
from lightning_explain.log.tags import file_name
from lightning_explain.render.colour import Picture


def mlflow_name(tag: str) -> str:
    """Return a tag in the characters that MLflow allows, so that different tags stay different.

    Lightning's `MLFlowLogger` drops other letters, which would lay the curves of two classes over each other.

    Example:
        >>> mlflow_name("explain/neurons/f1/cat"), mlflow_name("explain/neurons/f1/猫")
        ('explain/neurons/f1/cat', 'explain/neurons/f1/_-a35d')
    """
    name = re.sub(r"[^a-zA-Z0-9_/. -]", "_", tag)
    return name if name == tag else f"{name}-{crc32(tag.encode()) & 0xFFFF:04x}"


@dataclass(frozen=True)
class MLflowSink:
    """Images by step beside the run's metrics; texts and records as artifacts, one file per step.

    Attributes:
        logger: The `MLFlowLogger`.
    """

    logger: Any

    def image(self, tag: str, picture: Picture, step: int, description: str = "") -> None:
        """Log an image of this step, under the tag as its key."""
        del description
        self.logger.experiment.log_image(self.logger.run_id, Image.fromarray(picture), key=mlflow_name(tag), step=step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Log the artifact `<tag>/step_<step>.md`."""
        self.logger.experiment.log_text(self.logger.run_id, markdown, file_name(tag, ".md", step=step))

    def record(self, tag: str, record: Mapping[str, Any], step: int) -> None:
        """Log the artifact `<tag>/step_<step>.json`."""
        values = json_ready({"step": step, **record})
        self.logger.experiment.log_dict(self.logger.run_id, values, file_name(tag, ".json", step=step))

    def layout(self, charts: Mapping[str, list[str]]) -> None:
        """Do nothing: MLflow has no charts of several metrics to set up from here."""

    def tab(self, tag: str, header: Mapping[str, Any], sprite: Picture | None, step: int, *, once: bool) -> None:
        """Do nothing: the Explain tab is TensorBoard's."""
