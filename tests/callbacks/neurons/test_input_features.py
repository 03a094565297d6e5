"""The probe of a neuron monitor: when it is looked for, and what is computed with it."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_explain import IntegratedGradients, Probe
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.callbacks.neurons.input_features import MOST_FEATURES, NeuronProbe
from lightning_explain.errors import ConfigurationError
from lightning_explain.feeding import feeding_features
from lightning_explain.neurons import unit_layers
from tests.feeding.nets import counted, mlp
from tests.training import explanation_warnings


class Keeper(ProbeKeeper):
    """Notes what it is asked for; collects a probe as batches pass, or has one."""

    def __init__(self, probe: Probe | None = None, error: Exception | None = None) -> None:
        super().__init__(probe, question=Question(), guard=Guard("Monitor", "warn"))
        self.error, self.calls, self.is_collecting = error, list[Any](), False

    @property
    def collecting(self) -> bool:
        return self.is_collecting

    def find(self, trainer: Any) -> None:
        self.calls.append("find")
        if self.error is not None:
            raise self.error
        self.is_collecting = self.probe is None

    def collect(self, batch: Any) -> None:
        self.calls.append(batch)

    def finish_collecting(self) -> None:
        self.calls.append("finish")
        self.is_collecting = False

    def forget(self) -> None:
        self.calls.append("forget")

    def without_classes(self) -> None:
        self.calls.append("without classes")


def neuron_probe(keeper: Keeper, *, wanted: bool = True, question: Question | None = None) -> NeuronProbe:
    return NeuronProbe(keeper, question=question or Question(), guard=Guard("Monitor", "warn"), wanted=wanted)


def fake_trainer(net: nn.Module | None = None, loaders: Any = "a loader") -> Any:
    return SimpleNamespace(
        val_dataloaders=loaders,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        lightning_module=net,
        precision_plugin=SimpleNamespace(convert_input=lambda parts: parts),
    )


def test_a_probe_is_looked_for_once_and_again_in_another_run() -> None:
    keeper = Keeper()
    found = neuron_probe(keeper)
    found.find(fake_trainer(loaders=None))
    assert keeper.calls == []  # no validation data as yet
    found.find(fake_trainer())
    found.find(fake_trainer())
    assert keeper.calls == ["find"]
    found.start_over()
    found.find(fake_trainer())
    assert keeper.calls == ["find", "forget", "find"]


def test_none_is_looked_for_where_nothing_needs_it() -> None:
    keeper = Keeper()
    neuron_probe(keeper, wanted=False).find(fake_trainer())
    assert keeper.calls == []


def test_what_cannot_be_drawn_is_reported_once_with_its_cure() -> None:
    found = neuron_probe(Keeper(error=ConfigurationError("no input is recognised")))
    with explanation_warnings() as told:
        found.find(fake_trainer())
        found.find(fake_trainer())
    assert len(told) == 1 and "no input is recognised" in told[0] and "drawing a probe for feeding features" in told[0]


def test_batches_are_collected_from_find_to_finish() -> None:
    keeper = Keeper()
    found = neuron_probe(keeper)
    found.collect("too early")
    found.find(fake_trainer())
    found.collect("batch")
    found.finish()
    found.collect("too late")
    found.finish()
    assert keeper.calls == ["find", "batch", "finish"]
    found.without_classes()
    assert keeper.calls[-1] == "without classes"


def test_without_a_probe_nothing_is_worked_out() -> None:
    net, x, y = mlp()
    found, trainer = neuron_probe(Keeper()), fake_trainer(net)
    profiles = {"1": counted(net, "1", x, y)}
    assert found.features(trainer, net, profiles, unit_layers(net), method=None, most_neurons=3) == {}
    assert found.maps(trainer, net, unit_layers(net)) == {}


def test_features_are_those_that_feed_the_neurons_and_the_module_stays_as_it_was() -> None:
    net, x, y = mlp()
    net.train()
    profiles, layers = {"3": counted(net, "3", x, y)}, unit_layers(net)
    found = neuron_probe(Keeper(Probe(inputs=x, targets=y))).features(
        fake_trainer(net), net, profiles, layers, method=IntegratedGradients(n_steps=7), most_neurons=2
    )["3"]
    expected = feeding_features(
        net.eval(), x, y, profiles, layers, method=IntegratedGradients(n_steps=7), most_neurons=2, n_top=MOST_FEATURES
    )["3"]
    assert torch.equal(found.neurons, expected.neurons) and torch.equal(found.features, expected.features)
    torch.testing.assert_close(found.values, expected.values)
    assert found.features.shape[1] == min(MOST_FEATURES, x.shape[1])


def test_the_module_is_called_as_the_user_says() -> None:
    seen: list[tuple[int, ...]] = []

    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())

        def forward(self, *, x: Tensor) -> Tensor:
            seen.append(tuple(x.shape))
            return self.net(x).mean((2, 3))

    net, x = Keyword().train(), torch.rand(3, 1, 6, 6)
    keeper = Keeper(Probe(inputs=x, targets=torch.tensor([0, 1, 1])))
    layers = [replace(layer, unit_dim=1) for layer in unit_layers(net)]
    with pytest.raises(ConfigurationError, match="keyword only"):
        neuron_probe(keeper).maps(fake_trainer(net), net, layers)
    maps = neuron_probe(keeper, question=Question(input="x")).maps(fake_trainer(net), net, layers)
    assert seen == [(1, 1, 6, 6)] and net.training  # the first sample alone
    assert list(maps) == ["net.1"]
    torch.testing.assert_close(maps["net.1"], net.net(x[:1])[0].detach())


def test_token_ids_are_refused_with_what_to_do() -> None:
    net = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 5), nn.ReLU())
    ids, y = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([0, 1])
    found = neuron_probe(Keeper(Probe(inputs=ids, targets=y)))
    with pytest.raises(ConfigurationError, match=r"feeding=0 to do without.*input=lambda batch: batch\[0\].float"):
        found.features(fake_trainer(net), net, {}, unit_layers(net), method=None, most_neurons=3)
