"""Cards of real runs: crops are slices of the data, heatmaps are what autograd says."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_explain import ActiveNeuronMonitor
from lightning_explain.attribution import IntegratedGradients
from lightning_explain.display import Display
from lightning_explain.exemplars import Exemplars
from lightning_explain.exemplars.cards import UnitCard
from lightning_explain.log.png import png_bytes
from tests.modalities import Learner, brainwaves, sentences
from tests.models import DigitData, DigitNet
from tests.training import explanation_warnings, fit, logged_fit


class Validated(Learner):
    """A learner that goes forward in validation."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)


def loaders(data: TensorDataset, n_val: int = 40) -> tuple[DataLoader[Any], DataLoader[Any]]:
    train, val = (TensorDataset(*(part[rows] for part in data.tensors)) for rows in (slice(n_val, None), slice(n_val)))
    return DataLoader(train, 16), DataLoader(val, 16)


def cards(monitor: ActiveNeuronMonitor) -> dict[str, list[UnitCard]]:
    assert monitor.latest is not None
    return {layer: list(of_layer.values()) for layer, of_layer in monitor.latest.cards.items()}


def by_autograd(net: nn.Module, layer: str, x: Tensor, unit: int, position: tuple[int, ...]) -> tuple[float, Tensor]:
    """Return a unit's value at a position, and input times gradient."""
    grabbed: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out: grabbed.append(out))
    x = x.clone().requires_grad_()
    net.eval()(x[None])
    handle.remove()
    value = grabbed[0][(0, unit, *position)]
    return float(value.detach()), (x * torch.autograd.grad(value, x)[0]).detach()


def test_crops_are_of_the_data_and_heatmaps_those_of_autograd(tmp_path: Path) -> None:
    torch.manual_seed(3)
    monitor = ActiveNeuronMonitor(measure_every_n_reports=1, on_error="raise")
    data, net = DigitData(), DigitNet()
    _, events = logged_fit(monitor, tmp_path, net, data=data, max_epochs=2)
    x = data.val.tensors[0]
    found = cards(monitor)
    assert set(found) == {"frozen.2", "body.2", "head.1"}
    for layer, of_layer in found.items():
        for card in of_layer:
            assert card.form == "image" and card.method == "InputXGradient" and card.scale >= 0
            assert len(card.exemplars) == 4
            for exemplar in card.exemplars:
                value, expected = by_autograd(net, layer, x[exemplar.sample], card.unit, exemplar.position)
                if "last fired" in card.reason:
                    assert value == 0 < exemplar.value
                else:
                    assert exemplar.value == pytest.approx(value, rel=1e-4)
                (top, bottom), (left, right) = exemplar.box
                assert torch.equal(exemplar.crop, x[exemplar.sample][:, top:bottom, left:right])
                inside = expected[:, top:bottom, left:right]
                torch.testing.assert_close(exemplar.heatmap, inside.sum(0), rtol=1e-3, atol=1e-6)
                # nothing of what excites the unit lies outside
                assert float(expected.abs().sum()) == pytest.approx(float(inside.abs().sum()), rel=1e-6)
        assert events.steps(f"explain/neurons/{layer}/exemplars") == [7, 15]
        assert events.picture(f"explain/neurons/{layer}/exemplars").shape[1] > 400
    pictures = [events.picture(f"explain/neurons/{layer}/exemplars") for layer in found]
    assert sum(len(png_bytes(picture)) for picture in pictures) < 60_000
    record = monitor.records[-1]["exemplars"]["head.1"]
    assert record["units"] == [card.unit for card in found["head.1"]]


class Text(nn.Module):
    """Windows of three words."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.words, self.conv, self.relu = nn.Embedding(n_words, 8), nn.Conv1d(8, 12, 3, padding=1), nn.ReLU()
        self.scores = nn.Linear(12, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.scores(self.relu(self.conv(self.words(ids).transpose(1, 2))).amax(2))


def test_texts_are_windows_of_tokens() -> None:
    ids, labels, words = sentences()
    display = Display(tokens=words, padding=0)
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, display=display, on_error="raise")
    data = loaders(TensorDataset(ids, labels))
    fit(monitor, model=lambda: Validated(Text(len(words))), data=data, max_epochs=2)
    for exemplar in (exemplar for card in cards(monitor)["net.relu"] for exemplar in card.exemplars):
        ((start, stop),), place = exemplar.box, exemplar.position[0]
        assert (start, stop) == (max(0, place - 1), min(20, place + 2))
        assert exemplar.words == tuple(words[i] for i in ids[exemplar.sample, start:stop].tolist())
        assert exemplar.heatmap is not None and exemplar.heatmap.shape == (stop - start,)


def test_signals_are_windows_of_time() -> None:
    net = nn.Sequential(nn.Conv1d(4, 8, 7), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 2))
    data = brainwaves()
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, on_error="raise")
    fit(monitor, model=lambda: Validated(net), data=loaders(data), max_epochs=1)
    found = cards(monitor)["net.1"]
    assert {card.form for card in found} == {"signal"}
    for exemplar in (exemplar for card in found for exemplar in card.exemplars):
        ((start, stop),), place = exemplar.box, exemplar.position[0]
        assert (start, stop) == (place, place + 7)
        assert torch.equal(exemplar.crop, data.tensors[0][exemplar.sample, :, start:stop])


def test_tables_are_rows_with_their_strongest_features() -> None:
    x, y = torch.randn(90, 3), torch.arange(90) % 2
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, feature_names=["a", "b", "c"], on_error="raise")
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    fit(monitor, model=lambda: Validated(net), data=loaders(TensorDataset(x, y)), max_epochs=1)
    for card in cards(monitor)["net.1"]:
        for exemplar in card.exemplars:
            _, expected = by_autograd(net, "1", x[exemplar.sample], card.unit, ())
            strongest = "abc"[int(expected.abs().argmax())]
            assert exemplar.box == () and exemplar.words[0].startswith(f"{strongest} = ")
            torch.testing.assert_close(exemplar.heatmap, expected)


def test_any_method_shows_what_excites_a_unit() -> None:
    method = IntegratedGradients(n_steps=8)
    monitor = ActiveNeuronMonitor(exemplars=Exemplars(method=method, shown=2), feeding=0, maps=0, on_error="raise")
    fit(monitor, max_epochs=1)
    for card in cards(monitor)["head.1"]:
        assert card.method == "IntegratedGradients" and len(card.exemplars) == 2
        for exemplar in card.exemplars:
            assert exemplar.heatmap is not None and float(exemplar.heatmap.abs().sum()) > 0


class Changing(Dataset[Any]):
    """Gives other samples when asked again."""

    def __init__(self) -> None:
        self.n_asked = 0

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        self.n_asked += 1
        return torch.randn(6, generator=torch.Generator().manual_seed(self.n_asked)), index % 2


def _reordered(items: list[Any]) -> Any:
    return torch.utils.data.default_collate(items[::-1])


@pytest.mark.parametrize("how", ["changing", "reordered", "as they are"])
def test_samples_that_differ_when_fetched_are_told_and_not_shown(how: str) -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    data: Any = Changing() if how == "changing" else TensorDataset(x, torch.arange(20) % 2)
    collate = _reordered if how == "reordered" else None
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, ablation=0)
    with explanation_warnings() as told:
        fit(
            monitor,
            model=lambda: Validated(net),
            data=(DataLoader(data, 8), DataLoader(data, 8, collate_fn=collate)),
            max_epochs=1,
        )
    differ = how != "as they are"
    assert any("differently when they are fetched" in message for message in told) == differ
    assert monitor.latest is not None
    shown = [each for card in monitor.latest.cards.get("net.1", {}).values() for each in card.exemplars]
    if how == "as they are":
        for each in shown:
            (index,) = (x == each.crop).all(1).nonzero().flatten().tolist()
            assert index == each.sample and index % 2 == each.label
    # another sample that excites the unit as much by chance is shown all the same
    assert len(shown) >= 20 if how == "as they are" else len(shown) <= 5, len(shown)
