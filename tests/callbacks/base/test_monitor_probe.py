"""The probe of a monitor: given, taken from a checkpoint, or collected as batches pass."""

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from lightning_explain import AttributionMonitor, Probe, Saliency
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.errors import ConfigurationError
from tests.models import DigitNet, digits, quiet_trainer

X, Y = torch.rand(20, 4), torch.arange(20) % 2


def keeper(probe: Probe | None = None, **options: Any) -> ProbeKeeper:
    return ProbeKeeper(probe, question=Question(), guard=Guard("AttributionMonitor", "raise"), **options)


def trainer(val: Any) -> Any:
    return SimpleNamespace(val_dataloaders=val, enable_validation=True)


def test_a_given_probe_gets_the_names_it_lacks_and_is_kept() -> None:
    probe = Probe(inputs=X, targets=Y, class_names=["a", "b"])
    kept = keeper(probe, class_names=["c", "d"], feature_names=["w", "x", "y", "z"])
    kept.find(trainer(None))
    assert kept.probe is not None
    assert kept.probe.class_names == ("a", "b")
    assert kept.probe.feature_names == ("w", "x", "y", "z")
    kept.forget()
    assert kept.probe is not None


def test_without_validation_data_the_cure_is_named() -> None:
    with pytest.raises(ConfigurationError, match="AttributionMonitor explains a held-out probe.*probe=Probe"):
        keeper().find(trainer([]))


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter(zip(X, Y, strict=True))


def test_of_data_without_an_index_it_is_collected_as_batches_pass() -> None:
    kept = keeper()
    loader = DataLoader(Stream(), 5)
    kept.find(trainer(loader))
    assert kept.collecting
    for batch in loader:
        kept.collect(batch)
    kept.finish_collecting()
    assert not kept.collecting
    assert kept.probe is not None
    rows = {tuple(row) for row in X.tolist()}
    assert {tuple(row) for row in kept.probe.parts[0].tolist()} <= rows


def test_a_checkpoints_probe_is_taken_up_where_none_is_given() -> None:
    saved = Probe.from_state_dict(keeper(Probe(inputs=X, targets=Y)).state_dict() or {})
    kept = keeper(class_names=["a", "b"])
    assert kept.take_up(saved)
    assert kept.probe is not None
    assert kept.probe.fingerprint == saved.fingerprint
    assert kept.probe.class_names == ("a", "b")
    assert keeper(Probe(inputs=X, targets=Y)).take_up(saved)
    assert not keeper(Probe(inputs=X + 1, targets=Y)).take_up(saved)


def test_labels_can_turn_out_to_be_real_values() -> None:
    kept = keeper(Probe(inputs=X, targets=Y))
    kept.without_classes()
    assert kept.probe is not None
    assert kept.probe.labels is None


@pytest.mark.parametrize(
    ("options", "steps", "n_said"), [({"num_sanity_val_steps": 0}, [7, 15], 1), ({}, [0, 7, 15], 0)]
)
def test_validation_data_that_come_later_are_told(options: dict[str, Any], steps: list[int], n_said: int) -> None:
    monitor = AttributionMonitor(method=Saliency(), every_n_epochs=2, on_error="raise")
    data = DataLoader(digits(64, 64)[0], batch_size=16)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        quiet_trainer(callbacks=[monitor], max_epochs=4, check_val_every_n_epoch=2, **options).fit(
            DigitNet(), data, data
        )
    assert [record["step"] for record in monitor.records] == steps
    assert len([w for w in said if "drift/first" in str(w.message) and "give probe=" in str(w.message)]) == n_said
