"""Molecules through a real run: what arrives in the event file, the record, the pictures and the probe."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_explain import (
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    Display,
    IntegratedGradients,
    Probe,
)
from lightning_explain.errors import ConfigurationError
from lightning_explain.render.sheet import BLUE, RED
from tests.models import quiet_trainer
from tests.molecules import MessagePassing, Molecules, fit_molecules

QUICK = IntegratedGradients(n_steps=8)
INPUTS = ["x", "adjacency", "mask"]
BOTH = ["atoms", "bonds"]


def monitor(entity_names: Any = "atoms", **options: Any) -> AttributionMonitor:
    display = Display(form="entities", entity_names=entity_names, entity="atom", edges=1, input_names=BOTH)
    return AttributionMonitor(
        **{"method": QUICK, "input": INPUTS, "display": display, "class_names": ["none", "N-O"], "on_error": "raise"}
        | options
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    watching, folder = monitor(), tmp_path_factory.mktemp("molecules")
    return watching, fit_molecules(watching, folder, epochs=6), folder


def test_atoms_and_bonds_are_drawn_under_their_names(run: Any) -> None:
    _, events, _ = run
    for what in BOTH:
        for picture in ("heatmaps", "filmstrip"):
            drawn = events.picture(f"explain/attribution/{picture}/{what}")
            assert drawn.std() > 5
        bars = events.picture(f"explain/attribution/heatmaps/{what}")
        assert all(((bars == np.array(colour)).all(-1)).sum() > 100 for colour in (RED, BLUE))
    assert "**O" in events.text("explain/attribution/entities/atoms")


def test_the_record_names_the_atoms_of_the_batch_and_the_bond_that_decides(run: Any) -> None:
    watching, _, folder = run
    lines = next(folder.rglob("record.jsonl")).read_text().splitlines()
    record = json.loads(lines[-1])
    atoms, bonds = record["inputs"]
    assert [atoms["form"], bonds["form"]] == ["entities", "entities"]
    kinds = watching.probe.parts[0].argmax(2)
    values = watching.latest.attribution.parts[0].sum(2)
    for row, strongest in enumerate(atoms["strongest"]):
        for place, name, value in strongest:
            assert name.split()[0] == "CNO"[int(kinds[row, place])]
            assert value == pytest.approx(float(values[row, place]), rel=1e-3, abs=1e-6)
    # an oxygen is what these molecules' class hangs on
    leading = [s[0][1][0] for s, label in zip(atoms["strongest"], record["labels"], strict=True) if label == "N-O"]
    assert leading.count("O") >= 3
    assert all("-" in name for strongest in bonds["strongest"] for _, name, _ in strongest)


def test_the_tab_gets_names_graphs_and_sums(run: Any) -> None:
    watching, events, _ = run
    probe, tab = (events.blob(f"explain/attribution/atoms/{kind}") for kind in ("probe", "tab"))
    assert probe["form"] == tab["form"] == "entities" and probe["layout"] == "lists"
    mask = watching.probe.parts[2]
    assert [[name is not None for name in names] for names in probe["names"]] == mask.tolist()
    graph = probe["graphs"][0]
    assert len(graph["at"]) == int(mask[0].sum()) and len(graph["edges"]) == int(mask[0].sum()) - 1
    assert events.blob("explain/attribution/bonds/tab")["form"] == "entities"


def test_names_survive_a_checkpoint(run: Any) -> None:
    probe = run[0].probe
    restored = Probe.from_state_dict(probe.state_dict())
    assert restored.entity_names == probe.entity_names and len(probe.entity_names) == len(probe)
    old = {key: value for key, value in probe.state_dict().items() if key != "entity_names"}
    assert Probe.from_state_dict(old).entity_names == ()
    assert restored.fingerprint == probe.fingerprint


def by_sample(batch: Any) -> list[list[str]]:
    return [list(names) for names in zip(*batch["atoms"], strict=True)]


def ids(batch: Any) -> Tensor:
    return batch["x"].argmax(2)


def joined(batch: Any) -> list[str]:
    return ["".join(names) for names in zip(*batch["atoms"], strict=True)]


@pytest.mark.parametrize("given", ["atoms", by_sample, ids])
def test_names_are_found_in_a_batch_in_every_form(given: Any) -> None:
    display = Display(form="entities", entity_names=given, edges=1, tokens="CNO".__getitem__)
    probe = Probe.from_dataset(Molecules(), input=INPUTS, display=display)
    kinds = probe.parts[0].argmax(2)
    for row, names in enumerate(probe.entity_names):
        for place in probe.parts[2][row].nonzero().flatten().tolist():
            assert names[place] == "CNO"[int(kinds[row, place])]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (joined, "one string for each of .* samples; expected for each sample a list of names"),
        ("nothing", "entity_names='nothing' names nothing in"),
        ("x", r"leads to Tensor\[.*\]; expected for each sample"),
    ],
)
def test_what_names_no_entities_is_refused_before_training(tmp_path: Path, given: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        fit_molecules(monitor(given, on_error="warn"), tmp_path, epochs=1)


def test_a_probe_that_is_collected_as_batches_pass_keeps_its_names(tmp_path: Path) -> None:
    from torch.utils.data import DataLoader, IterableDataset

    from tests.models import quiet_trainer
    from tests.molecules import MessagePassing, molecule

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return (molecule(seed) for seed in range(24))

    watching = monitor()
    trainer = quiet_trainer(callbacks=[watching], max_epochs=1, logger=False)
    trainer.fit(MessagePassing(), DataLoader(Stream(), 8), DataLoader(Stream(), 8))
    assert watching.probe is not None
    kinds = watching.probe.parts[0].argmax(2)
    assert all(
        name == "CNO"[int(kinds[row, place])]
        for row, names in enumerate(watching.probe.entity_names)
        for place, name in enumerate(names)
        if name
    )


def test_without_names_and_edges_entities_are_numbered(tmp_path: Path) -> None:
    plain = AttributionMonitor(
        method=QUICK, input="x", display=Display(form="entities", entity="atom"), on_error="raise",
        probe=Probe.from_dataset(Molecules(), input="x"), output=lambda scores: scores[:, 1],
    )  # fmt: skip
    events = fit_molecules(plain, tmp_path, epochs=1)
    (entry,) = plain.records[-1]["inputs"]
    assert entry["form"] == "entities" and entry["strongest"][0][0][1].startswith("atom ")
    assert {"explain/attribution/heatmaps", "explain/attribution/filmstrip"} <= set(events.images)
    assert torch.isfinite(plain.latest.attribution.parts[0]).all()


class Deep(MessagePassing):
    """Without bonds: a sum over atoms."""

    def forward(self, x: Tensor, adjacency: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return self.score(torch.relu(self.embed(x)).sum(1))

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self(batch["x"])


@pytest.mark.parametrize("declared", [True, False])
def test_other_monitors_make_no_image_of_entities(tmp_path: Path, declared: bool) -> None:
    display = Display(form="entities", entity="atom") if declared else None
    probe = Probe.from_dataset(Molecules(), input="x", display=display)
    paths = DecisionPathMonitor(probe=probe, on_error="raise")
    neurons = ActiveNeuronMonitor(probe=probe, feeding=3, on_error="raise", target="y", input="x")
    logger = TensorBoardLogger(tmp_path, "run", version=0)
    trainer = quiet_trainer(callbacks=[paths, neurons], logger=logger, max_epochs=1)
    trainer.fit(Deep(), DataLoader(Molecules(), 16), DataLoader(Molecules(32, 1000), 16))
    assert paths.latest is not None and neurons.latest is not None
    (units,) = paths.latest.units
    assert (units.boxes == ()) == declared
    if declared:
        assert units.names[:2] == ("atom 0", "atom 1") and len(units.names) == 7
    feedings = [layer.feeding for layer in neurons.latest.layers.values() if layer.feeding is not None]
    assert feedings and all((feeding.maps is None) or not declared for feeding in feedings)
