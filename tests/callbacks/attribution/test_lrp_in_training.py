"""LRP in real runs: what reaches no input is stated, and what has no rule is refused before the first training step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain import LRP, AttributionMonitor, DecisionPathMonitor, InputXGradient, Probe
from lightning_explain.callbacks.attribution import images
from lightning_explain.errors import ConfigurationError
from tests.models import DigitData, DigitNet
from tests.training import explanation_warnings, fit, logged_fit


class RowAttention(nn.Module):
    """Attention between the rows of a digit."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(len(x), 8, 8)
        return self.head(self.attention(rows, rows, rows, need_weights=False)[0].mean(1))


class Doubled(torch.autograd.Function):
    """What a user writes with a gradient of their own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 2


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        doubled: Any = Doubled.apply(x)
        return doubled


class Deciding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.mean() > 0 else x


class NeverRun(nn.Module):
    """A branch that only training takes, and a tensor that the score does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.seen = Own(), torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x.detach().cumprod(-1) + Doubled.apply(x.detach())
        return self.own(x) if self.training else x


class Net(DigitNet):
    """A digit net around one module, which counts its training steps."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.n_steps = 0
        self.body: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), inside, nn.ReLU(), nn.Linear(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.n_steps += 1
        return super().training_step(batch, batch_idx)


class AttentionNet(Net):
    def __init__(self) -> None:
        super().__init__(nn.Identity())
        self.body = RowAttention()


def probe() -> Probe:
    return Probe.from_dataset(DigitData().val, per_class=1)


def test_offsets_and_softmaxes_are_stated_apart_in_curves_record_and_titles(tmp_path: Path) -> None:
    monitor = AttributionMonitor(method=LRP(), probe=probe(), on_error="raise")
    _, events = logged_fit(monitor, tmp_path, AttentionNet, max_epochs=1)
    absorbed, lost = (events.curve(f"explain/attribution/{name}_share") for name in ("absorbed", "softmax"))
    assert absorbed.keys() == lost.keys() == {record["step"] for record in monitor.records}
    record = monitor.records[-1]
    for name, curve in (("absorbed", absorbed), ("softmax", lost)):
        shares = torch.tensor(record[f"{name}_share"])
        assert curve[record["step"]] == pytest.approx(float(shares.nanmedian()), rel=1e-5)
        assert shares.abs().min() > 0
    words = events.text("explain/attribution/summary")
    assert "Offsets (biases, positions, class tokens) took" in words
    assert "Softmaxes lost" in words


def test_titles_state_what_reaches_no_input_for_each_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    annotations = images.Annotations

    def noted(**words: Any) -> Any:
        titles.append(words["title"])
        return annotations(**words)

    monkeypatch.setattr(images, "Annotations", noted)
    monitor = AttributionMonitor(method=[InputXGradient(), LRP()], probe=probe(), on_error="raise")
    logged_fit(monitor, tmp_path, AttentionNet, max_epochs=1)
    assert any("LRP: Offsets (biases, positions, class tokens) took" in title for title in titles)
    assert any("Softmaxes lost" in title for title in titles)


def test_constant_attention_weights_lose_nothing(tmp_path: Path) -> None:
    monitor = AttributionMonitor(method=LRP(attention="cp"), probe=probe(), on_error="raise")
    _, events = logged_fit(monitor, tmp_path, AttentionNet, max_epochs=1)
    assert "explain/attribution/softmax_share" not in events.scalars
    assert monitor.records[-1]["softmax_share"] is None
    assert "Softmaxes lost" not in events.text("explain/attribution/summary")


REFUSED = {
    "own gradient": (Own, r"'body\.2' \(Own\): the custom autograd function Doubled"),
    "decision": (Deciding, r"'body\.2' \(Deciding\) turns values computed from its input into a bool"),
}


@pytest.mark.parametrize("monitor", ["attribution", "paths"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused_by_module_before_the_first_training_step(name: str, monitor: str) -> None:
    module, words = REFUSED[name]
    net = Net(module())
    watching = {
        "attribution": lambda: AttributionMonitor(method=LRP(), probe=probe(), on_error="raise"),
        "paths": lambda: DecisionPathMonitor(probe=probe(), on_error="raise"),
    }[monitor]()
    with pytest.raises(ConfigurationError, match=words) as refused:
        fit(watching, model=net, max_epochs=1)
    assert net.n_steps == 0
    assert "IntegratedGradients" in str(refused.value) or "AttributionMonitor" in str(refused.value)
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_a_warning_by_default_and_the_run_goes_on(name: str) -> None:
    net = Net(REFUSED[name][0]())
    with explanation_warnings() as told:
        fit(AttributionMonitor(method=LRP(), probe=probe()), model=net, max_epochs=1)
    assert net.n_steps > 0
    assert any("body.2" in each for each in told)


def test_what_never_runs_or_does_not_count_is_not_refused() -> None:
    monitor = AttributionMonitor(method=LRP(), probe=probe(), on_error="raise")
    fit(monitor, model=Net(NeverRun()), max_epochs=1)
    assert monitor.records
