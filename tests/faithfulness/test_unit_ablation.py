"""Mean ablation of units against weights that were changed by hand, whatever puts the activation on."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.capture import Call
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness import unit_ablation
from lightning_explain.faithfulness.clamping import Clamp
from lightning_explain.faithfulness.inner_clamping import held_inside
from lightning_explain.faithfulness.unit_ablation import ablated_effects
from lightning_explain.faithfulness.unit_effects import AblationResult
from lightning_explain.isolation import isolated
from lightning_explain.neurons import unit_layers
from lightning_explain.neurons.functional import followed, functional_use
from lightning_explain.neurons.units import described, with_functional
from lightning_explain.neurons.views import AttentionHeads

N = 60


def measured(net: nn.Module, x: Tensor, y: Tensor, units: dict[str, list[int]], layers: Any = None) -> AblationResult:
    found = unit_layers(net, layers)
    with isolated(net):
        trace = followed(net, net, (x[:1].clone(),))
        use = functional_use(net, trace)
        found = described(with_functional(net, found, use) if layers is None else found, trace, use)
    return ablated_effects(net, x, y, found, units)


class Convolutions(nn.Module):
    """Two convolutions, whose activations are modules, functions, in place, or one shared object."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.relu = nn.ReLU(inplace=kind == "in place")
        self.head = nn.Linear(5, 3)
        self.drop = nn.Dropout(0.5)

    def active(self, x: Tensor) -> Tensor:
        if self.kind == "ignored":
            nn.functional.relu_(x)
            return x
        return functional.relu(x, inplace=self.kind == "function in place") if "function" in self.kind else self.relu(x)

    def forward(self, x: Tensor) -> Tensor:
        x = self.active(self.conv1(x))
        x = self.active(self.conv2(x))
        return self.head(self.drop(x.mean((2, 3))))


def by_hand(net: nn.Module, producer: str, unit: int, value: float, x: Tensor) -> Tensor:
    """Scores of a copy in which one unit gives a constant, by its weight and bias."""
    other = copy.deepcopy(net).eval()
    part: Any = other.get_submodule(producer)
    with torch.no_grad():
        part.weight[unit] = 0
        part.bias[unit] = value
        return other(x)


def data(*shape: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(N, *shape), torch.arange(N) % 3


def check(result: AblationResult, key: str, place: int, before: Tensor, after: Tensor, y: Tensor) -> None:
    """Compare a unit's effects with scores made by hand, class by class."""
    effects = result.effects[key]
    for c in range(3):
        of = y == c
        right, still = before[of].argmax(1) == c, after[of].argmax(1) == c
        assert effects.change[place, c].item() == pytest.approx((still.float().mean() - right.float().mean()).item())
        assert effects.lost[place, c] == (right & ~still).sum() and effects.gained[place, c] == (~right & still).sum()
        moved = (after.softmax(1) - before.softmax(1))[of, c]
        assert effects.probability[place, c].item() == pytest.approx(moved.mean().item(), abs=1e-6)
        error = moved.std().item() / math.sqrt(len(moved))
        assert effects.probability_error[place, c].item() == pytest.approx(error, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("rows", [N, 2 * N, 7, 10_000])
@pytest.mark.parametrize("kind", ["module", "in place", "function", "function in place", "ignored"])
def test_a_unit_without_its_samples_is_one_whose_weights_give_its_mean(
    kind: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_ablation, "ROWS", rows)
    x, y = data(1, 6, 6)
    net = Convolutions(kind)
    keys = ["relu", "relu#1"] if kind in ("module", "in place") else ["conv1", "conv2"]
    result = measured(net, x, y, {keys[0]: [3, 0, 1], keys[1]: [2, 4]})
    assert not result.not_measured
    net.eval()
    with torch.no_grad():
        first = net.conv1(x).relu()
        second = net.conv2(first).relu()
        before = net(x)
    for key, producer, values, units in ((keys[0], "conv1", first, [3, 0, 1]), (keys[1], "conv2", second, [2, 4])):
        for place, unit in enumerate(units):
            after = by_hand(net, producer, unit, values[:, unit].mean().item(), x)
            assert not torch.allclose(before, after, atol=1e-4)
            check(result, key, place, before, after, y)


def test_the_features_of_a_transformer_layer_are_set_at_every_token() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            padding = x.abs().sum(2) == 0
            return self.head(self.block(x, src_key_padding_mask=padding)[:, 0])

    x, y = data(5, 8)
    x[::2, 3:] = 0
    net = Tokens()
    result = measured(net, x, y, {"block.linear1": [5, 9], "block.self_attn": [0]})
    assert not result.not_measured
    net.eval()
    kept: list[Tensor] = []
    handle = net.block.linear1.register_forward_hook(lambda _m, _i, out: kept.append(out.detach().relu()))
    with torch.no_grad():
        before = net(x)
    handle.remove()
    valid = x.abs().sum(2) != 0
    (attention,) = unit_layers(net, "block.self_attn")
    view = attention.view
    assert isinstance(view, AttentionHeads)
    with torch.no_grad():
        heads = view.vectors(Call((x, x, x), {"key_padding_mask": ~valid}, None))
        assert heads is not None
        with held_inside(attention, "block.self_attn", [Clamp(slice(None), 0, heads[0][valid].mean(0)[0])]):
            check(result, "block.self_attn", 0, before, net(x), y)
    for place, unit in enumerate([5, 9]):
        after = by_hand(net, "block.linear1", unit, kept[0][..., unit][valid].mean().item(), x)
        assert not torch.allclose(before, after, atol=1e-5)
        check(result, "block.linear1", place, before, after, y)


class Queries(nn.Module):
    """A decoder layer, whose activation is a function."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(3, 8))
        self.block, self.head = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.query.expand(len(x), -1, -1), x).mean(1))


def test_the_function_of_a_decoder_layer_is_followed() -> None:
    x, y = data(5, 8)
    net = Queries()
    result = measured(net, x, y, {"block.linear1": [5, 9]})
    net.eval()
    kept: list[Tensor] = []
    handle = net.block.linear1.register_forward_hook(lambda _m, _i, out: kept.append(out.detach().relu()))
    with torch.no_grad():
        before = net(x)
        handle.remove()
        for place, unit in enumerate((5, 9)):
            after = by_hand(net, "block.linear1", unit, kept[0][..., unit].mean().item(), x)
            check(result, "block.linear1", place, before, after, y)


def test_units_are_found_in_any_layout() -> None:
    class Mixed(nn.Module):
        """Features last, tokens first."""

        def __init__(self) -> None:
            super().__init__()
            self.fc, self.act, self.head = nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.act(self.fc(x.transpose(0, 1))).mean(0))

    x, y = data(5, 4)
    net = Mixed()
    result = measured(net, x, y, {"act": [2]})
    net.eval()
    with torch.no_grad():
        before = net(x)
        values = functional.gelu(net.fc(x))
        values[..., 2] = values[..., 2].mean()
        after = net.head(values.mean(1))
    check(result, "act", 0, before, after, y)


def test_a_single_output_is_a_score_of_class_1() -> None:
    torch.manual_seed(3)
    for last in ([], [nn.Sigmoid()]):
        net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), *last)
        x = torch.randn(N, 4)
        with torch.no_grad():
            y = (net(x)[:, 0] > (0.5 if last else 0.0)).long()
        assert 0 < int(y.sum()) < N
        found = ablated_effects(net, x, y, unit_layers(net, "1"), {"1": list(range(6))}).effects["1"]
        assert found.accuracy.tolist() == [1.0, 1.0] and not found.gained.any()
        assert bool((found.lost.sum(1) > 0).any())


def test_labels_below_zero_and_classes_without_samples_have_no_accuracy() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))
    x, y = torch.randn(5, 4), torch.tensor([0, -100, 2, 2, 0])
    found = ablated_effects(net, x, y, unit_layers(net), {"1": [0]}).effects["1"]
    assert found.n_samples.tolist() == [2, 0, 2, 0]
    assert found.change.isnan().tolist() == [[False, True, False, True]]
    assert found.standard_error.isnan().tolist() == [[False, True, False, True]]
    rows = found.to_rows(["a", "b", "c"])
    assert [(row["class"], row["neuron"], row["n_samples"]) for row in rows] == [("a", 0, 2), ("c", 0, 2)]


def test_labels_that_the_scores_do_not_have_are_refused() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with pytest.raises(ConfigurationError, match="labels up to 7 for scores of shape"):
        ablated_effects(net, torch.randn(2, 4), torch.tensor([0, 7]), unit_layers(net), {"1": [0]})


def test_the_number_of_passes_is_stated_and_the_model_is_left_as_found() -> None:
    net = nn.Sequential(nn.Linear(4, 40), nn.ReLU(), nn.BatchNorm1d(40), nn.Dropout(), nn.Linear(40, 3)).train()
    before = copy.deepcopy(net.state_dict())
    calls: list[int] = []
    handle = net[4].register_forward_hook(lambda _m, _i, out: calls.append(len(out)))
    result = ablated_effects(net, torch.randn(N, 4), torch.arange(N) % 3, unit_layers(net), {"1": list(range(10))})
    handle.remove()
    # the probe, twice the probe, then 4 units at a time in 256 rows
    assert calls == [60, 120, 240, 240, 120] and (result.n_passes, result.n_rows) == (5, sum(calls))
    assert net.training and net[2].training and not any(m._forward_hooks for m in net.modules())
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items())


def test_where_samples_depend_on_each_other_the_probe_stays_by_itself() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.act, self.head = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.act(self.fc(x))
            return self.head(x) * len(x)

    net, (x, y) = Centred(), data(4)
    result = measured(net, x, y, {"act": [0, 1, 2]})
    assert result.n_rows == N + 2 * N + 3 * N
    with torch.no_grad():
        value = net.fc(x).relu()[:, 1].mean().item()
        check(result, "act", 1, net(x), by_hand(net, "fc", 1, value, x), y)
