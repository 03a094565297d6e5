"""Monitors' events as read by TensorBoard's data provider."""

import base64
import binascii
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from threading import Lock
from typing import Any

from tensorboard import errors
from tensorboard.data import provider

PLUGIN = "explain"
MOST_POINTS = 1_000_000
MOST_HEADER_BYTES = 8_000_000
CACHED_BYTES = 64_000_000
SUFFIXES = {"tab", "probe"}


class UnreadableError(Exception):
    """An event that holds something else than a monitor writes."""


@dataclass(frozen=True)
class Event:
    """One event of a monitor: where its blobs are.

    Attributes:
        step: Training step.
        wall_time: When it was written, in seconds.
        header: Key of the header's blob; empty where the event holds no blob.
        sprite: Key of the picture's blob; empty where there is none.
    """

    step: int
    wall_time: float
    header: str
    sprite: str

    @classmethod
    def of(cls, datum: provider.BlobSequenceDatum) -> "Event":
        """Take the keys out of a provider's datum."""
        keys = [reference.blob_key for reference in datum.values[:2]]
        return cls(datum.step, datum.wall_time, *keys, *[""] * (2 - len(keys)))


def parsed(blob: bytes) -> dict[str, Any]:
    """Read a header.

    Raises:
        UnreadableError: It is no JSON object, or too large.
    """
    if len(blob) > MOST_HEADER_BYTES:
        raise UnreadableError(f"the header has {len(blob):,} bytes")
    try:
        header = json.loads(blob)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("the header is no JSON") from error
    if not isinstance(header, dict):
        raise UnreadableError("the header is no JSON object")
    return header


def _kind(content: bytes) -> str:
    """Read the kind of monitor of a time series; empty where it is not given."""
    try:
        kind = json.loads(content)["kind"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return kind if isinstance(kind, str) else ""


def _spread(events: list[Event], most: int | None) -> list[Event]:
    """Choose events evenly, the first and the last among them; all for None."""
    if most is None or len(events) <= most:
        return events
    last = len(events) - 1
    return [events[round(place * last / max(1, most - 1))] for place in range(most)] if most > 1 else events[-1:]


class Store:
    """Reads runs, events and blobs of one TensorBoard.

    Args:
        data_provider: TensorBoard's own reader of log directories, a `DataProvider`.
    """

    def __init__(self, data_provider: Any) -> None:
        self._provider = data_provider
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._lock = Lock()

    def monitors(self, ctx: Any, experiment: str) -> dict[str, list[dict[str, Any]]]:
        """List every run's time series: tag, and how far it got, so that a reader sees what has grown."""
        series = self._provider.list_blob_sequences(ctx, experiment_id=experiment, plugin_name=PLUGIN)
        return {
            run: [
                {
                    "tag": tag,
                    "kind": _kind(entry.plugin_content),
                    "max_step": entry.max_step,
                    "max_wall_time": entry.max_wall_time,
                }
                for tag, entry in sorted(tags.items())
                if tag.rpartition("/")[2] in SUFFIXES
            ]
            for run, tags in series.items()
        }

    def events(self, ctx: Any, experiment: str, run: str, tag: str) -> list[Event]:
        """List a time series' events in order of steps; of several at one step the last written.

        Raises:
            NotFoundError: There is no such time series.
        """
        found = self._provider.read_blob_sequences(
            ctx,
            experiment_id=experiment,
            plugin_name=PLUGIN,
            downsample=MOST_POINTS,
            run_tag_filter=provider.RunTagFilter(runs=[run], tags=[tag]),
        )
        series = found.get(run, {}).get(tag)
        if series is None:
            raise errors.NotFoundError("no such run or monitor")
        found_events = sorted((Event.of(datum) for datum in series), key=attrgetter("wall_time"))
        by_step = {event.step: event for event in found_events}
        return [by_step[step] for step in sorted(by_step)]

    def blob(self, ctx: Any, key: str) -> bytes:
        """Read a blob.

        Raises:
            NotFoundError: There is none behind this key.
            UnreadableError: What is there is no blob.
        """
        try:
            blob = self._provider.read_blob(ctx, blob_key=key)
        except (errors.InvalidArgumentError, ValueError, TypeError, KeyError, IndexError) as error:
            raise errors.NotFoundError("no such blob") from error
        if not isinstance(blob, bytes):
            raise UnreadableError("the event holds no bytes")
        return blob

    def header(self, ctx: Any, event: Event) -> dict[str, Any]:
        """Read an event's header; kept in memory, because curves and histories read all of them again and again.

        Raises:
            UnreadableError: It is no header.
            NotFoundError: TensorBoard has dropped the event since it was listed.
        """
        key = f"{event.wall_time}/{event.header}"
        blob = self._cache.get(key)
        if blob is None:
            blob = self.blob(ctx, event.header)
            self._keep(key, blob)
        return parsed(blob)

    def _keep(self, key: str, blob: bytes) -> None:
        with self._lock:  # TensorBoard answers each request in a thread of its own
            if key not in self._cache:
                self._cache[key] = blob
                self._cached_bytes += len(blob)
            while self._cached_bytes > CACHED_BYTES and len(self._cache) > 1:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])

    def headers(
        self, ctx: Any, experiment: str, run: str, tag: str, *, most: int | None = None
    ) -> Iterator[tuple[Event, dict[str, Any]]]:
        """Read a time series' headers, all or about so many; those that cannot be read are left out."""
        for event in _spread(self.events(ctx, experiment, run, tag), most):
            try:
                yield event, self.header(ctx, event)
            except (UnreadableError, errors.NotFoundError):  # noqa: PERF203 - one of many may be cut off
                continue

    def curves(self, ctx: Any, experiment: str, run: str, tag: str, *, most: int | None = None) -> list[dict[str, Any]]:
        """Return the points over time: each header's `curve`, with its step, epoch and count.

        Args:
            ctx: The request's context.
            experiment: TensorBoard's experiment.
            run: The run.
            tag: The monitor's time series.
            most: Read so many headers at most, the first and the last among them; None for all.
        """
        return [
            {
                "step": event.step,
                "epoch": header.get("epoch"),
                "count": header.get("count"),
                "curve": header["curve"] if isinstance(header.get("curve"), dict) else {},
            }
            for event, header in self.headers(ctx, experiment, run, tag, most=most)
        ]

    def history(self, ctx: Any, experiment: str, run: str, tag: str, layer: str, neuron: int) -> list[dict[str, Any]]:
        """Return a neuron's rate for each class at every step at which it was written."""
        points: list[dict[str, Any]] = []
        for event, header in self.headers(ctx, experiment, run, tag):
            rates = neuron_rates(header, layer, neuron)
            if rates is not None:
                points.append({"step": event.step, "rates": rates})
        return points


def neuron_rates(header: dict[str, Any], layer: str, neuron: int) -> dict[str, float | None] | None:
    """Read one neuron's rate by class out of a neuron monitor's header; None if it is not in there."""
    try:
        classes = header["classes"]
        entry = next(entry for entry in header["layers"] if entry["name"] == layer)
        shown = entry["neurons"] if entry["neurons"] is not None else range(entry["n_neurons"])
        column = shown.index(neuron)
        levels = base64.b64decode(entry["rates"])
        return {
            str(c): None if (level := levels[row * len(shown) + column]) > 250 else level / 250
            for row, c in enumerate(classes)
        }
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, StopIteration, binascii.Error):
        return None
