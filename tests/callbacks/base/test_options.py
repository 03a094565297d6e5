"""Options that a monitor does not have, and values of another type, are refused with what is possible."""

import sys
from collections import UserList
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
from lightning_explain.callbacks.base.monitor import ProbeMonitor
from lightning_explain.callbacks.base.options import check_types, option_names
from lightning_explain.errors import ConfigurationError


@pytest.mark.parametrize(
    ("monitor", "given", "expected"),
    [
        (ActiveNeuronMonitor, "layer", "ActiveNeuronMonitor has no option 'layer'; did you mean layers"),
        (
            AttributionMonitor,
            "every_epochs",
            "AttributionMonitor has no option 'every_epochs'; did you mean every_n_epochs",
        ),
        (
            DecisionPathMonitor,
            "max_overheads",
            "DecisionPathMonitor has no option 'max_overheads'; did you mean max_overhead",
        ),
        (DecisionPathMonitor, "zzz", "its options are ablation, class_names, .*every_n_epochs.*target"),
    ],
)
def test_an_unknown_option_is_named_with_what_was_meant(monitor: type, given: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        monitor(**{given: 1})


def test_options_are_the_monitors_own_and_the_shared_ones() -> None:
    names = option_names(ActiveNeuronMonitor)
    assert {"layers", "min_rate", "probe", "every_n_epochs", "on_error"} <= set(names)
    assert not {"self", "options", "unknown"} & set(names)
    assert "min_rate" not in option_names(AttributionMonitor)


@pytest.mark.parametrize("monitor", [ActiveNeuronMonitor, DecisionPathMonitor])
def test_a_list_of_no_layers_is_refused(monitor: type) -> None:
    with pytest.raises(ConfigurationError, match=r"layers=\[\] names no layer; give names or globs, or None"):
        monitor(layers=[])


DATA = TensorDataset(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("monitor", "name", "value", "expected"),
    [
        (ProbeMonitor, "probe", DATA, r"; expected Probe\(...\) or None. Probe.from_dataset\(dataset\) draws one"),
        (ProbeMonitor, "display", "image", r"display='image'; expected Display\(...\) or None. Display\(form="),
        (ProbeMonitor, "class_names", "abc", "class_names='abc'; expected a list"),
        (ProbeMonitor, "every_n_epochs", "2", "every_n_epochs='2'; expected a whole number or None"),
        (ProbeMonitor, "every_n_epochs", 0.5, "every_n_epochs=0.5; expected a whole number or None"),
        (ProbeMonitor, "name", None, "name=None; expected a string"),
        (ProbeMonitor, "forward_fn", "net", "forward_fn='net'; expected a callable or None"),
        (
            AttributionMonitor,
            "strategies",
            True,
            r"strategies=True; expected Strategies\(...\) or None. Strategies\(\)",
        ),
        (AttributionMonitor, "alert", 5, r"alert=5; expected DriftAlert\(...\) or None. DriftAlert\(\)"),
        (AttributionMonitor, "method", "IG", "method='IG'; expected a list, a callable, a mapping or None"),
        (ActiveNeuronMonitor, "method", 3, "method=3; expected a callable or None"),
        (ActiveNeuronMonitor, "layers", 5, "layers=5; expected a string, a list or None"),
        (ActiveNeuronMonitor, "threshold", None, "threshold=None; expected a number"),
        (ActiveNeuronMonitor, "unit_dims", ["net"], r"unit_dims=\['net'\]; expected a mapping or None"),
        (DecisionPathMonitor, "ablation", "yes", "ablation='yes'; expected True or False"),
    ],
)
def test_a_value_of_another_type_is_refused_with_what_is_expected(
    monitor: Any, name: str, value: Any, expected: str
) -> None:
    # not constructed: under pytest beartype refuses the value before
    with pytest.raises(ConfigurationError, match=expected):
        check_types(monitor.__init__, {name: value})


@pytest.mark.parametrize("monitor", [ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor])
def test_every_monitor_checks_its_own_options_and_the_shared_ones(monitor: Any, monkeypatch: Any) -> None:
    checked = set[str]()
    for home in {sys.modules[monitor.__module__], sys.modules[ProbeMonitor.__module__]}:
        monkeypatch.setattr(home, "check_types", lambda _, given: checked.update(given))
    monitor()
    assert set(option_names(monitor)) <= checked


@pytest.mark.parametrize("given", [{"min_rate": 5.0}, {"min_fraction": -0.1}])
def test_shares_beyond_all_are_refused(given: Any) -> None:
    (name,) = given
    with pytest.raises(ConfigurationError, match=f"{name}=.*; expected a share from 0 to 1"):
        ActiveNeuronMonitor(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"class_names": np.array(["a", "b"])},
        {"class_names": UserList(["a"]), "input": UserList(["a", "b"])},
        {"every_n_epochs": np.int64(2), "max_overhead": np.float32(0.5)},
        {"input": lambda batch: batch[0], "output": 1, "target": "y", "probe": None},
    ],
)
def test_what_behaves_like_the_type_is_taken(given: Any) -> None:
    check_types(ProbeMonitor.__init__, given)


def test_long_values_are_named_by_their_type() -> None:
    class Monitor:
        def __init__(self, *, layers: str | None = None) -> None: ...

    with pytest.raises(ConfigurationError, match="layers=a dict; expected a string or None.$"):
        check_types(Monitor.__init__, {"layers": {str(n): n for n in range(99)}, "other": 1})
