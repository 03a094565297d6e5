"""Options that a monitor does not have are refused with the names that it has."""

import pytest

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
from lightning_explain.callbacks.base.options import option_names
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
