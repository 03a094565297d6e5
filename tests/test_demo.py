"""The demo, run for real and read back from the event file."""

import re
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_explain.cli import main
from lightning_explain.demo import SHARE_HELD_OUT, _calm, digits_data, digits_probe
from tests.events import Events

LAYERS = ("conv1.relu", "conv2.relu", "hidden.relu")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Run the demo once: its folder, its pictures' folder, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    printed = StringIO()
    given = ["--logdir", str(folder / "runs"), "--pictures", str(folder / "pictures"), "--detail", "full"]
    with redirect_stdout(printed):
        code = main(["demo", "--epochs", "2", *given])
    assert code == 0
    return folder / "runs", folder / "pictures", printed.getvalue()


@pytest.fixture(scope="module")
def events(demo):
    return Events(demo[0] / "version_0")


def test_the_network_learns(events):
    assert list(events.curve("val_acc").values())[-1] > 0.9
    losses = list(events.curve("val_loss").values())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "metric",
    [
        "drift/previous", "drift/first", "drift/previous_error", "drift/first_error",
        *(f"drift/{c}" for c in range(10)),
        "mass_in_mask", "overhead",
    ],
)  # fmt: skip
def test_attribution_metrics_are_logged(events, metric):
    values = np.array(list(events.curve(f"explain/attribution/{metric}").values()))
    assert len(values) >= 2
    most = 2 if metric.startswith("drift") else 1  # a drift is 1 - correlation; the others are shares
    assert ((values >= 0) & (values <= most)).all() and values.any()


def test_explanations_add_up_to_what_the_network_has_learnt(events):
    deltas, totals = (
        list(events.curve(f"explain/attribution/{n}").values()) for n in ("convergence_delta", "total_attribution")
    )
    assert 0 < max(deltas) < 0.05 * totals[-1]
    assert totals[-1] > 5 * abs(totals[0])  # scores of an untrained network are small


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("metric", ["dead", "always_on", "exclusive", "selectivity", "overlap", "turnover", "gap"])
def test_neuron_figures_are_shares(events, layer, metric):
    values = np.array(list(events.curve(f"explain/neurons/{layer}/{metric}").values()))
    assert len(values)
    assert ((values >= 0) & (values <= 1)).all()


def test_class_figures_agree_with_the_accuracy(events):
    recalls = [list(events.curve(f"explain/neurons/recall/{c}").values())[-1] for c in range(10)]
    # the held-out digits are balanced, so that the mean recall is the accuracy
    assert np.mean(recalls) == pytest.approx(list(events.curve("val_acc").values())[-1], abs=1e-4)
    for metric in ("precision", "f1"):
        assert all(list(events.curve(f"explain/neurons/{metric}/{c}").values())[-1] > 0.5 for c in range(10))


@pytest.mark.parametrize(
    "tag",
    [
        "attribution/heatmaps", "attribution/filmstrip",
        "path/3", "path/8",
        *(f"neurons/{layer}/rates" for layer in LAYERS), *(f"neurons/{layer}/maps" for layer in LAYERS[:2]),
    ],
)  # fmt: skip
def test_pictures_decode_and_show_something(events, tag):
    picture = events.picture(f"explain/{tag}")
    assert picture.ndim == 3
    assert min(picture.shape[:2]) > 100
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


def test_texts_and_chart_layout_are_there(events):
    assert any(tag.startswith("explain/attribution/summary") for tag in events.texts)
    assert "custom_scalars__config__" in events.texts


def test_the_last_pictures_are_kept_as_files(demo, events):
    kept = {path.stem: path for path in demo[1].glob("*.png")}
    assert {"attribution-heatmaps", "attribution-filmstrip", "neurons-hidden.relu-rates"} <= set(kept)
    for name in ("attribution-heatmaps", "attribution-filmstrip"):
        logged = events.picture(f"explain/{name.replace('-', '/')}")
        assert np.array_equal(np.asarray(Image.open(kept[name]).convert("RGB")), logged)


def test_tables_are_printed(demo, events):
    runs, pictures, printed = demo
    f1 = list(events.curve("explain/neurons/f1/7").values())[-1]
    assert re.search(rf"^  7 +\d\.\d+ +\d\.\d+ +{f1:.3f}$", printed, re.MULTILINE)
    dead = list(events.curve("explain/neurons/hidden.relu/dead").values())[-1]
    assert re.search(rf"^  hidden\.relu +64 +{dead * 100:.1f} %", printed, re.MULTILINE)
    step, drift = list(events.curve("explain/attribution/drift/previous").items())[-1]
    assert re.search(rf"^  {step} +{drift:.4f} ", printed, re.MULTILINE)
    assert re.search(r"^  neurons +\d+\.\d %$", printed, re.MULTILINE)
    assert re.search(r"^  attribution +\d+\.\d %$", printed, re.MULTILINE)
    assert re.search(r"^  path +\d+\.\d %$", printed, re.MULTILINE)
    assert f"tensorboard --logdir {runs}\n" in printed
    assert str(pictures) in printed
    for place in ("Images", "Scalars", "Custom Scalars", "Text"):
        assert place in printed


def test_the_split_is_stratified_seeded_and_disjoint():
    train, held_out = digits_data(seed=3)
    assert torch.equal(held_out.tensors[1].bincount(), torch.full((10,), round(500 * SHARE_HELD_OUT)))
    assert len(train) + len(held_out) == 5000
    together = torch.cat([train.tensors[0], held_out.tensors[0]]).flatten(1)
    assert len(together.unique(dim=0)) == 5000
    assert torch.equal(digits_data(seed=3)[1].tensors[0], held_out.tensors[0])
    assert not torch.equal(digits_data(seed=4)[1].tensors[0], held_out.tensors[0])


def test_the_probe_is_held_out_and_its_mask_is_the_upper_half():
    _, held_out = digits_data(seed=0)
    probe = digits_probe(held_out, seed=0)
    assert torch.equal(probe.labels.bincount(), torch.full((10,), 4))
    assert torch.equal(probe.inputs, held_out.tensors[0][list(probe.indices)])
    assert probe.masks[..., :14, :].all()
    assert not probe.masks[..., 14:, :].any()


def stopped_by_hand() -> None:
    with _calm():
        assert torch.get_num_threads() == 1
        raise KeyboardInterrupt


def test_the_number_of_threads_is_given_back():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyboardInterrupt):
            stopped_by_hand()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)
