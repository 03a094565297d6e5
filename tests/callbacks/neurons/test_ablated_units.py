"""Which neurons are ablated, at what cost, and the table of what it does; and in real runs."""

import math
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import ActiveNeuronMonitor, Probe
from lightning_explain.callbacks.neurons.ablated_units import ablation_table, chosen_units, effect_words, listed_units
from lightning_explain.callbacks.neurons.metrics import feeding_table
from lightning_explain.errors import ConfigurationError, ExplanationWarning
from tests.callbacks.neurons.small_reports import effects, feeding, layer, profile, report
from tests.models import DigitData, DigitNet, quiet_trainer


def test_the_most_telling_unit_of_each_class_comes_first_then_exclusive_then_selective_ones() -> None:
    # exclusive are 1 (selectivity 0.5) and 3 (0.8); 0 is shared, 2 dead
    assert listed_units(profile(), 4) == [3, 1, 0] and listed_units(profile(), 1) == [3]
    many = torch.tensor([[0.9, 0.8, 0.6, 0.7, 1.0], [0.1, 0.0, 0.0, 0.6, 0.0]])
    # 4 is the most telling of class 0, 3 of class 1; 1 and 2 are exclusive as 0 is, which is less selective
    assert listed_units(profile(many), 9) == [4, 3, 1, 2, 0]
    assert listed_units(profile(n_samples=(10, 0)), 4) == []
    # those that are shown by their exemplars come first; 2 is dead
    assert listed_units(profile(), 3, [2, 0]) == [0, 3, 1]


def test_by_default_the_cost_is_a_share_of_the_validation_and_layers_have_equal_parts() -> None:
    wide = profile(torch.rand(3, 50, generator=torch.Generator().manual_seed(0)), (400, 300, 300))
    profiles = {"a": wide, "b": wide, "small": profile()}
    found = chosen_units(profiles, None, n_probe=40, n_samples=1000)
    assert {key: len(units) for key, units in found.items()} == {"a": 5, "b": 4, "small": 3}
    assert sum(map(len, chosen_units(profiles, None, n_probe=40, n_samples=100).values())) == 12
    shown = chosen_units(profiles, None, n_probe=40, n_samples=1000, shown={"b": {49: None, 7: None}})
    assert shown["b"][:2] == [49, 7] and shown["a"] == found["a"]
    assert [len(units) for units in chosen_units(profiles, 2, n_probe=40, n_samples=100).values()] == [2, 2, 2]
    assert chosen_units(profiles, None, n_probe=40, n_samples=1000)["a"] == listed_units(wide, 5)


def test_the_tables_tell_the_change_and_its_error() -> None:
    found = report(layers={"fc": layer(feeding=feeding(), effects=effects())})
    table = ablation_table(found, "fc").splitlines()
    assert "Morcos" in table[0] and "8 probe samples" in table[0]
    assert table[4] == "| 3 | exclusive to dog | -50 ± 25 points | dog: -50 ± 25 points | -25 ± 16 points |"
    assert table[5].startswith("| 1 | exclusive to cat | 0 ± 17 points |")
    assert feeding_table(found, "fc").splitlines()[5].endswith("| -50 ± 25 points |")
    other = report(layers={"fc": layer(feeding=feeding(neurons=torch.tensor([0, 3])), effects=effects())})
    assert feeding_table(other, "fc").splitlines()[4].endswith("| not measured |")
    assert ablation_table(report(), "fc") == "" and effect_words(layer(), 0, 1) == ""
    rows = {(row["class"], row["neuron"]): row for row in found.to_rows()}
    assert rows["dog", 3]["accuracy_change"] == -0.5 and rows["dog", 3]["accuracy_change_error"] > 0
    assert math.isnan(rows["cat", 0]["accuracy_change"])
    assert [row["neuron"] for row in found.effect_rows()] == [3, 3, 1, 1] and report().effect_rows() == []


def test_a_run_measures_what_a_hand_made_ablation_shows() -> None:
    pl.seed_everything(0, verbose=False)
    data, net = DigitData(), DigitNet()
    x, y = data.val.tensors
    probe = Probe(inputs=x[:60], targets=y[:60])
    monitor = ActiveNeuronMonitor(
        layers="head.1", probe=probe, ablation=3, feeding=0, maps=0, exemplars=0, on_error="raise"
    )
    quiet_trainer(callbacks=[monitor], max_epochs=2).fit(net, data)
    assert monitor.latest is not None
    found = monitor.latest.layers["head.1"].effects
    assert found is not None and len(found.units) == 3
    assert found.units.tolist() == listed_units(monitor.latest.layers["head.1"].profile, 3)
    net.eval()
    with torch.no_grad():
        values = net.head[:2](net.body(net.frozen(x[:60])))
        before = net.head[2:](values).argmax(1)
        for place, unit in enumerate(found.units.tolist()):
            changed = values.clone()
            changed[:, unit] = values[:, unit].mean()
            after = net.head[2:](changed).argmax(1)
            for c in set(y[:60].tolist()):
                of = y[:60] == c
                expected = (after[of] == c).float().mean() - (before[of] == c).float().mean()
                assert found.change[place, c].item() == pytest.approx(expected.item(), abs=1e-6)
    entry = monitor.records[-1]["effects"]["head.1"]
    assert entry["columns"][0] == "unit" and len(entry["rows"]) == 3 * len(entry["n_samples"])


def test_the_run_is_bit_identical_with_ablation() -> None:
    def weights(*callbacks: Any) -> list[torch.Tensor]:
        pl.seed_everything(1, verbose=False)
        net = DigitNet()
        quiet_trainer(callbacks=list(callbacks), max_epochs=2).fit(net, DigitData())
        return [*net.state_dict().values(), torch.rand(3)]

    watched = weights(ActiveNeuronMonitor(ablation=4, feeding=0, maps=0, on_error="raise"))
    assert all(map(torch.equal, watched, weights()))


def test_without_classes_nothing_is_measured_and_impossible_numbers_are_refused() -> None:
    class Regression(DigitNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)[:, 0]

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return (self(batch[0]) - batch[1]).square().mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self(batch[0])

    data = DigitData()
    loader = DataLoader(TensorDataset(data.val.tensors[0][:64], torch.randn(64)), batch_size=32)
    monitor = ActiveNeuronMonitor(layers="head.1", ablation=2, feeding=0, maps=0)
    with pytest.warns(ExplanationWarning, match="count as one class"):
        quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Regression(), loader, loader)
    assert monitor.latest is not None and monitor.latest.layers["head.1"].effects is None
    with pytest.raises(ConfigurationError, match="ablation=-1"):
        ActiveNeuronMonitor(ablation=-1)


def test_layers_of_which_nothing_can_be_measured_are_named_where_they_were_asked_for() -> None:
    class Own(torch.nn.GRU):
        def forward(self, *args: Any) -> Any:
            return super().forward(*args)

    class Recurrent(pl.LightningModule):
        def __init__(self, kind: type[torch.nn.GRU] = torch.nn.GRU) -> None:
            super().__init__()
            self.rnn, self.head = kind(4, 6, batch_first=True), torch.nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x)[0][:, -1])

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self(batch[0])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    loader = DataLoader(TensorDataset(torch.randn(16, 5, 4), torch.arange(16) % 2), batch_size=8)
    with pytest.warns(ExplanationWarning, match="ablation= measures nothing for rnn"):
        monitor = ActiveNeuronMonitor(feeding=0, maps=0, ablation=2)
        quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Recurrent(Own), loader, loader)
    monitor = ActiveNeuronMonitor(maps=0, on_error="raise")
    quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Recurrent(Own), loader, loader)
    assert monitor.latest is not None and monitor.latest.layers["rnn"].effects is None
    monitor = ActiveNeuronMonitor(feeding=0, maps=0, ablation=2, on_error="raise")
    quiet_trainer(callbacks=[monitor], max_epochs=1).fit(Recurrent(), loader, loader)
    assert monitor.latest is not None and monitor.latest.layers["rnn"].effects is not None
