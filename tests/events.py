"""Reading a run's TensorBoard event file back."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.custom_scalar import layout_pb2


def tab_headers(log_dir: str | Path, tag: str) -> list[dict[str, Any]]:
    """Read the headers that a monitor wrote for the Explain tab."""
    return [
        json.loads(value.tensor.string_val[0])
        for path in sorted(Path(log_dir).glob("events.*"))
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag == tag
    ]


class Events:
    """What a logger wrote, by tag."""

    def __init__(self, log_dir: str | Path) -> None:
        self._events = EventAccumulator(str(log_dir), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
        self._events.Reload()

    @property
    def images(self) -> list[str]:
        return self._events.Tags()["images"]

    @property
    def scalars(self) -> list[str]:
        return self._events.Tags()["scalars"]

    @property
    def texts(self) -> list[str]:
        return self._events.Tags()["tensors"]

    def curve(self, tag: str) -> dict[int, float]:
        return {event.step: event.value for event in self._events.Scalars(tag)}

    def steps(self, tag: str) -> list[int]:
        return [event.step for event in self._events.Images(tag)]

    def picture(self, tag: str) -> Any:
        encoded = self._events.Images(tag)[-1].encoded_image_string
        return np.asarray(Image.open(BytesIO(encoded)).convert("RGB"))

    def text(self, tag: str) -> str:
        """The last text of a tag."""
        return self._events.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()

    def blob(self, tag: str) -> dict[str, Any]:
        """The last header of the Explain tab's."""
        return json.loads(self._events.Tensors(tag)[-1].tensor_proto.string_val[0])

    def description(self, tag: str) -> str:
        """What TensorBoard shows with a tag."""
        return self._events.SummaryMetadata(tag).summary_description

    def charts(self) -> dict[str, list[str]]:
        """The groups of curves of the Custom Scalars dashboard: title to tags."""
        layout = layout_pb2.Layout()
        layout.ParseFromString(self._events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0])
        return {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
