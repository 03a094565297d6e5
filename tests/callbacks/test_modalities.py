"""Every kind of input through a real run: what arrives in the event file, in the record and on the pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from lightning_explain import AttributionMonitor, Display, InputXGradient, IntegratedGradients, Probe
from lightning_explain.attribution import AtEmbedding
from lightning_explain.callbacks.attribution.tab import probe_tab
from lightning_explain.errors import ConfigurationError
from tests.events import Events
from tests.modalities import (
    EEG_CHANNEL,
    EEG_STEPS,
    Grouped,
    Reader,
    Sides,
    brainwaves,
    fit_kind,
    image_net,
    pairs,
    photographs,
    sentences,
    sounds,
)
from tests.models import digits

QUICK = IntegratedGradients(n_steps=4)


def last_record(folder: Path, name: str = "attribution") -> dict[str, Any]:
    lines = (folder / "run" / "version_0" / "explain" / name / "record.jsonl").read_text().splitlines()
    return json.loads(lines[-1])


def colours_of(picture: Any) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


# images


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_the_normalisation_of_rgb_images_is_undone(tmp_path: Path) -> None:
    raw = photographs()
    mean, std = torch.tensor(MEAN).reshape(3, 1, 1), torch.tensor(STD).reshape(3, 1, 1)
    data = TensorDataset((raw.tensors[0] - mean) / std, raw.tensors[1])
    monitor = AttributionMonitor(method=QUICK, display=Display(mean=MEAN, std=STD), every_n_epochs=2, on_error="raise")
    events = fit_kind(image_net(3, 16), data, monitor, tmp_path)
    seen = colours_of(events.picture("explain/attribution/heatmaps"))
    assert monitor.probe is not None
    held_out = raw.tensors[0][72:][list(monitor.probe.indices)]
    own = (held_out * 255).round().byte().permute(0, 2, 3, 1).reshape(-1, 3).tolist()
    # the photograph's own colours are there, to a rounding of the division
    close = sum(any((r + dr, g + dg, b + db) in seen for dr in (-1, 0, 1) for dg in (-1, 0, 1) for db in (-1, 0, 1))
                for r, g, b in own[:300])  # fmt: skip
    assert close > 290
    _, sprite = probe_tab(monitor.probe)
    assert sprite is not None
    tile = (held_out[0] * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(sprite.picture[:16, :16].astype(float) - tile).max() <= 1
    record = last_record(tmp_path)["inputs"]
    assert [entry["form"] for entry in record] == ["image"] and record[0]["shape"] == [3, 16, 16]
    assert "strongest" not in record[0]


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_of_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    raw = photographs(n=64)
    data = TensorDataset(torch.cat([raw.tensors[0], raw.tensors[0].flip(1)], 1)[:, :channels], raw.tensors[1])
    monitor = AttributionMonitor(method=QUICK, on_error="raise")
    events = fit_kind(image_net(channels, 16), data, monitor, tmp_path, epochs=1)
    assert events.picture("explain/attribution/heatmaps").std() > 0
    assert last_record(tmp_path)["inputs"][0]["shape"] == [channels, 16, 16]


def test_means_of_the_wrong_number_of_channels_are_told_at_once(tmp_path: Path) -> None:
    monitor = AttributionMonitor(method=QUICK, display=Display(mean=(0.5, 0.5)))
    with pytest.raises(ConfigurationError, match=r"mean=\(0.5, 0.5\) has 2 numbers, but the images have 3 channels"):
        fit_kind(image_net(3, 16), photographs(n=32), monitor, tmp_path, epochs=1)


# texts


@pytest.fixture(scope="module")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[AttributionMonitor, Events, Path, list[str]]:
    folder = tmp_path_factory.mktemp("text")
    ids, labels, vocabulary = sentences()
    monitor = AttributionMonitor(
        method=AtEmbedding(IntegratedGradients(n_steps=8)),
        display=Display(tokens=vocabulary),
        class_names=["iris", "cancer"],
        every_n_epochs=4,
        on_error="raise",
    )
    data = Grouped(ids, (ids != 0).long(), labels)
    return monitor, fit_kind(Reader(len(vocabulary)), data, monitor, folder, epochs=4), folder, vocabulary


def test_texts_are_written_with_their_words_and_without_padding(text_run: Any) -> None:
    monitor, events, folder, vocabulary = text_run
    assert {"explain/attribution/heatmaps", "explain/attribution/filmstrip"} <= set(events.images)
    assert "explain/attribution/tokens/text_summary" in events.texts
    written = events.text("explain/attribution/tokens")
    ids = monitor.probe.parts[0]
    assert all(vocabulary[int(i)] in written for i in ids[0] if i != 0)
    assert "&lt;pad" not in written and "<pad>" not in written
    (entry,) = last_record(folder)["inputs"]
    assert entry["form"] == "tokens" and entry["name"] == ""
    values = monitor.latest.attribution.parts[0] * (ids != 0)
    for row, strongest in enumerate(entry["strongest"]):
        assert len(strongest) == 8
        leading = values[row].abs().topk(8).values.tolist()
        np.testing.assert_allclose([abs(value) for _, _, value in strongest], leading, rtol=1e-3)
        for place, word, _ in strongest:
            assert vocabulary[int(ids[row, place])] == word and word != "<pad>"


def test_the_words_that_tell_the_subjects_apart_lead(text_run: Any) -> None:
    _, _, folder, _ = text_run
    record = last_record(folder)
    totals: dict[str, float] = {}
    for label, strongest in zip(record["labels"], record["inputs"][0]["strongest"], strict=True):
        for _, word, value in strongest:
            totals[word] = totals.get(word, 0.0) + (value if label == "iris" else -value)
    # a word of the iris data speaks for iris, one of the other data for those
    telling = {word: value for word, value in totals.items() if word in {"iris", "fisher", "cancer", "breast", "plane"}}
    assert telling
    assert all((value > 0) == (word in {"iris", "fisher"}) for word, value in telling.items()), telling


def test_the_tab_gets_the_words(text_run: Any) -> None:
    _, events, _, vocabulary = text_run
    header = events.blob("explain/attribution/probe")
    assert header["form"] == "tokens" and None in header["tokens"][0] + header["tokens"][1] + header["tokens"][-1]
    assert {word for text in header["tokens"] for word in text} - {None} <= set(vocabulary)


def test_hostile_words_are_written_as_words(tmp_path: Path) -> None:
    ids, labels, vocabulary = sentences()
    vocabulary = [f"<script>{word}|*</script>\n\x00" for word in vocabulary]
    monitor = AttributionMonitor(
        method=AtEmbedding(QUICK),
        display=Display(tokens=vocabulary.__getitem__, padding=0),
        on_error="raise",
    )
    events = fit_kind(Reader(len(vocabulary)), TensorDataset(ids[:40], labels[:40]), monitor, tmp_path, epochs=1)
    text = events.text("explain/attribution/tokens")
    assert "<script" not in text and "&lt;script" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(monitor.records[0]["inputs"][0]["total_attribution"])
    assert all(line.count("|") == 3 for line in rows)


# signals


def test_time_series_are_drawn_as_lines_on_colours(tmp_path: Path) -> None:
    monitor = AttributionMonitor(method=QUICK, class_names=["low", "high"], every_n_epochs=6, on_error="raise")
    data = brainwaves()
    net = nn.Sequential(nn.Flatten(), nn.Linear(4 * 96, 2))
    events = fit_kind(net, data, monitor, tmp_path, epochs=6)
    assert monitor.latest is not None
    size = monitor.latest.attribution.parts[0].abs().mean(0)
    # what decides is known: one channel, some steps
    inside = size[EEG_CHANNEL, EEG_STEPS].mean()
    assert inside > 2 * size.mean()
    (entry,) = last_record(tmp_path)["inputs"]
    assert entry["form"] == "signal" and entry["shape"] == [4, 96]
    hits = [EEG_STEPS.start <= step < EEG_STEPS.stop and channel == EEG_CHANNEL
            for strongest in entry["strongest"] for channel, step, _ in strongest]  # fmt: skip
    assert np.mean(hits) > 0.4
    picture = events.picture("explain/attribution/heatmaps")
    assert (32, 32, 32) in colours_of(picture) and (103, 0, 31) in colours_of(picture)
    assert {"explain/attribution/filmstrip"} <= set(events.images)
    assert events.blob("explain/attribution/tab")["form"] == "signal"


def test_long_waveforms_are_put_together_and_keep_their_sum(tmp_path: Path) -> None:
    data, inside = sounds()
    net = nn.Sequential(
        nn.Conv1d(1, 8, 64, stride=16), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    monitor = AttributionMonitor(
        method=[QUICK, InputXGradient()],
        probe=Probe(inputs=data.tensors[0][:6], targets=data.tensors[1][:6], masks=inside[:6]),
        every_n_epochs=2,
        on_error="raise",
    )
    events = fit_kind(net, data, monitor, tmp_path, epochs=2)
    assert list(events.curve("explain/attribution/mass_in_mask").values())[-1] > 0.8
    (entry,) = last_record(tmp_path)["inputs"]
    assert entry["form"] == "signal" and entry["shape"] == [1, 9000]
    assert events.picture("explain/attribution/heatmaps").shape[1] < 900


# several inputs


def test_each_of_several_inputs_is_drawn_under_its_name(tmp_path: Path) -> None:
    monitor = AttributionMonitor(
        method=QUICK,
        display=Display(input_names=["digit", "patient/<b>"]),
        feature_names=load_diabetes().feature_names,
        every_n_epochs=2,
        on_error="raise",
    )
    events = fit_kind(Sides(), pairs(), monitor, tmp_path)
    for picture in ("heatmaps", "filmstrip"):
        for name in ("digit", "patient__b_"):
            assert events.picture(f"explain/attribution/{picture}/{name}").std() > 0
    assert "explain/attribution/heatmaps" not in events.images
    shares = [list(events.curve(f"explain/attribution/input_share/{n}").values()) for n in ("digit", "patient__b_")]
    assert shares[0][-1] > 0.7
    np.testing.assert_allclose(np.array(shares).sum(0), 1, atol=1e-6)
    image, table = last_record(tmp_path)["inputs"]
    assert (image["name"], image["form"], table["name"], table["form"]) == ("digit", "image", "patient/<b>", "table")
    assert {name for strongest in table["strongest"] for name, _ in strongest} <= set(load_diabetes().feature_names)
    assert events.blob("explain/attribution/digit/tab")["form"] == "image"
    assert events.blob("explain/attribution/patient__b_/tab")["form"] == "table"


# targets


class Two(nn.Module):
    """Says of a digit at once whether it is even, and whether it is large."""

    def __init__(self) -> None:
        super().__init__()
        self.net = image_net(1, 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def even_and_large() -> TensorDataset:
    images, labels = (part[:160] for part in digits()[0].tensors)
    return TensorDataset(images, torch.stack([labels % 2 == 0, labels > 4], 1).float())


def strongest_label(batch: Any) -> Tensor:
    return batch[1].argmax(1)


def test_of_several_labels_a_callable_chooses_the_explained_one(tmp_path: Path) -> None:
    monitor = AttributionMonitor(
        method=QUICK,
        target=strongest_label,
        class_names=["even", "large"],
        display=Display(multi_label=True),
        on_error="raise",
    )
    loss = nn.functional.binary_cross_entropy_with_logits
    events = fit_kind(Two(), even_and_large(), monitor, tmp_path, loss=loss)
    assert monitor.latest is not None and monitor.probe is not None
    attribution = monitor.latest.attribution
    assert attribution.target is not None and set(attribution.target.tolist()) == {0, 1}
    assert {"explain/attribution/drift/even", "explain/attribution/drift/large"} <= set(events.scalars)
    sure = torch.sigmoid(monitor.latest.scores.gather(1, attribution.target[:, None]).squeeze(1))
    header = events.blob("explain/attribution/tab")
    np.testing.assert_allclose(header["outputs"], sure.numpy(), rtol=1e-2)
    assert "predicted" not in header


def large(scores: Tensor) -> Tensor:
    return scores[:, 1]


def test_an_output_is_chosen_by_a_callable(tmp_path: Path) -> None:
    monitor = AttributionMonitor(method=QUICK, output=large, on_error="raise")
    loss = nn.functional.binary_cross_entropy_with_logits
    fit_kind(Two(), even_and_large(), monitor, tmp_path, loss=loss)
    assert monitor.latest is not None
    assert monitor.latest.attribution.target is None and monitor.latest.scores.ndim == 1
    assert last_record(tmp_path)["labels"] is None


def test_several_labels_without_a_choice_are_refused_with_the_cure(tmp_path: Path) -> None:
    loss = nn.functional.binary_cross_entropy_with_logits
    with pytest.raises(ConfigurationError, match=r"target=lambda batch: batch\[1\].argmax\(1\)"):
        fit_kind(Two(), even_and_large(), AttributionMonitor(method=QUICK), tmp_path, loss=loss)


def foreground(scores: Tensor) -> Tensor:
    """The mean score of ink, over all pixels."""
    return scores[:, 1].mean((1, 2))


def test_a_segmentation_is_explained_by_a_scalar_of_its_map(tmp_path: Path) -> None:
    images = digits()[0].tensors[0][:160]
    data = TensorDataset(images, (images[:, 0] > 0.4).long())  # the class of every pixel
    net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 2, 3, padding=1))
    monitor = AttributionMonitor(method=QUICK, output=foreground, every_n_epochs=3, on_error="raise")
    events = fit_kind(net, data, monitor, tmp_path, epochs=3)
    assert monitor.latest is not None
    assert monitor.latest.scores.shape == (len(monitor.probe or ()),)
    assert events.picture("explain/attribution/heatmaps").std() > 0
    without = AttributionMonitor(method=QUICK)
    with pytest.raises(ConfigurationError, match="output=lambda scores: scores.mean"):
        fit_kind(net, data, without, tmp_path / "without", epochs=1)


def test_a_regression_names_its_features(tmp_path: Path) -> None:
    diabetes = load_diabetes()
    x, y = (torch.tensor(part, dtype=torch.float32) for part in (diabetes.data * 20, diabetes.target / 100))
    monitor = AttributionMonitor(method=QUICK, feature_names=diabetes.feature_names, every_n_epochs=4, on_error="raise")
    net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
    events = fit_kind(net, TensorDataset(x, y), monitor, tmp_path, loss=nn.functional.mse_loss, epochs=4)
    (entry,) = last_record(tmp_path)["inputs"]
    assert entry["form"] == "table"
    totals = dict.fromkeys(diabetes.feature_names, 0.0)
    for strongest in entry["strongest"]:
        for name, value in strongest:
            totals[name] += abs(value)
    # body mass index and s5 (triglycerides) are what this data set is known for
    assert {"bmi", "s5"} & set(sorted(totals, key=lambda name: -totals[name])[:3])
    assert events.picture("explain/attribution/heatmaps").std() > 0
