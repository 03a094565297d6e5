"""Events as the store reads them from a provider that holds what the test says."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from tensorboard import errors
from tensorboard.data import provider

from tensorboard_explain import store as module
from tensorboard_explain.store import MOST_HEADER_BYTES, Event, Store, UnreadableError, neuron_rates, parsed

TAG = "explain/attribution/tab"


def datum(step: int, wall_time: float, *keys: str) -> provider.BlobSequenceDatum:
    references = tuple(provider.BlobReference(blob_key=key) for key in keys)
    return provider.BlobSequenceDatum(wall_time=wall_time, step=step, values=references)


@dataclass
class Provider:
    """A data provider of one run, `run`."""

    data: list[provider.BlobSequenceDatum] = field(default_factory=list)
    blobs: dict[str, Any] = field(default_factory=dict)
    series: dict[str, bytes] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    def list_blob_sequences(self, _ctx: Any, *, experiment_id: str, plugin_name: str) -> Any:
        assert (experiment_id, plugin_name) == ("e", "explain")
        options = {"max_step": 7, "max_wall_time": 8.5, "max_length": 2, "description": "", "display_name": ""}
        entries = {
            tag: provider.BlobSequenceTimeSeries(plugin_content=content, **options)
            for tag, content in self.series.items()
        }
        return {"run": entries}

    def read_blob_sequences(self, _ctx: Any, *, run_tag_filter: provider.RunTagFilter, **_: Any) -> Any:
        wanted = run_tag_filter.runs == frozenset({"run"}) and run_tag_filter.tags == frozenset({TAG})
        return {"run": {TAG: self.data}} if wanted else {}

    def read_blob(self, _ctx: Any, *, blob_key: str) -> Any:
        self.reads.append(blob_key)
        return self.blobs[blob_key]


def headers(*contents: Any) -> Provider:
    """A provider with a header at each step."""
    data = [datum(step, float(step), f"h{step}") for step in range(len(contents))]
    return Provider(data, {f"h{step}": json.dumps(content).encode() for step, content in enumerate(contents)})


def test_an_event_without_blobs_has_empty_keys() -> None:
    assert Event.of(datum(3, 1.5)) == Event(3, 1.5, "", "")
    assert Event.of(datum(3, 1.5, "h")) == Event(3, 1.5, "h", "")
    assert Event.of(datum(3, 1.5, "h", "s", "more")) == Event(3, 1.5, "h", "s")


def test_events_are_in_order_of_steps_and_the_last_written_of_a_step_counts() -> None:
    store = Store(Provider([datum(5, 3.0, "new"), datum(5, 1.0, "old"), datum(2, 4.0, "late")]))
    assert [(e.step, e.header) for e in store.events(None, "e", "run", TAG)] == [(2, "late"), (5, "new")]
    with pytest.raises(errors.NotFoundError, match="no such run or monitor"):
        store.events(None, "e", "other", TAG)


def test_monitors_are_listed_with_their_kind_and_nothing_else_is() -> None:
    series = {"b/tab": b'{"kind": "neurons"}', "a/probe": b"no JSON", "a/tab": b'{"kind": 3}', "a/image": b"{}"}
    found = Store(Provider(series=series)).monitors(None, "e")["run"]
    assert [(entry["tag"], entry["kind"]) for entry in found] == [("a/probe", ""), ("a/tab", ""), ("b/tab", "neurons")]
    assert {(entry["max_step"], entry["max_wall_time"]) for entry in found} == {(7, 8.5)}


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"[" * 100_000, "no JSON"),
        (b" " * (MOST_HEADER_BYTES + 1), "8,000,001 bytes"),
    ],
)
def test_what_is_no_header_is_named(blob: bytes, message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        parsed(blob)


def test_a_key_that_leads_nowhere_and_a_blob_of_no_bytes_are_told_apart() -> None:
    store = Store(Provider(blobs={"text": "no bytes"}))
    with pytest.raises(errors.NotFoundError, match="no such blob"):
        store.blob(None, "gone")
    with pytest.raises(UnreadableError, match="no bytes"):
        store.blob(None, "text")


def test_curves_leave_out_what_cannot_be_read_and_read_each_header_once() -> None:
    known = headers({"epoch": 1, "count": 4, "curve": {"a": 2}}, [], {"curve": 7})
    known.data.append(datum(9, 9.0, "dropped"))
    store = Store(known)
    expected = [
        {"step": 0, "epoch": 1, "count": 4, "curve": {"a": 2}},
        {"step": 2, "epoch": None, "count": None, "curve": {}},
    ]
    assert store.curves(None, "e", "run", TAG) == store.curves(None, "e", "run", TAG) == expected
    assert [known.reads.count(f"h{step}") for step in range(3)] == [1, 1, 1]


def test_a_few_points_of_a_curve_are_read_without_the_others() -> None:
    known = headers(*({"count": i} for i in range(200)))
    points = Store(known).curves(None, "e", "run", TAG, most=5)
    assert [point["step"] for point in points] == [0, 50, 100, 149, 199] and len(known.reads) == 5
    assert [point["step"] for point in Store(known).curves(None, "e", "run", TAG, most=1)] == [199]


def test_the_oldest_headers_are_forgotten_beyond_the_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    known = headers({"count": 0}, {"count": 1}, {"count": 2})
    monkeypatch.setattr(module, "CACHED_BYTES", 2 * len(known.blobs["h0"]))
    store = Store(known)
    events = store.events(None, "e", "run", TAG)
    for event in (*events, events[2], events[1], events[0]):
        store.header(None, event)
    assert known.reads == ["h0", "h1", "h2", "h0"]


def rates(neurons: list[int] | None, levels: list[int]) -> dict[str, Any]:
    layer = {"name": "fc", "neurons": neurons, "n_neurons": 3, "rates": base64.b64encode(bytes(levels)).decode()}
    return {"classes": [4, 9], "layers": [layer]}


def test_a_neurons_rates_are_shares_by_class() -> None:
    every = rates(None, [0, 125, 250, 255, 50, 25])
    assert neuron_rates(every, "fc", 0) == {"4": 0.0, "9": None}  # 255 is undefined
    assert neuron_rates(every, "fc", 1) == {"4": 0.5, "9": 0.2}
    chosen = rates([2, 8], [0, 125, 250, 25])
    assert neuron_rates(chosen, "fc", 8) == {"4": 0.5, "9": 0.1}


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"classes": [0], "layers": 3},
        {"classes": [0], "layers": [{"name": "fc"}]},
        rates(None, [1]),
        rates([5], [1, 2]),
    ],
)
def test_rates_that_are_not_there_are_no_point_of_a_history(header: dict[str, Any]) -> None:
    assert neuron_rates(header, "fc", 1) is None
    store = Store(headers(header, rates(None, [0, 125, 0, 0, 250, 0])))
    assert store.history(None, "e", "run", TAG, "fc", 1) == [{"step": 1, "rates": {"4": 0.5, "9": 1.0}}]
