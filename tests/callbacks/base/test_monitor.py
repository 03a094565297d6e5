"""The options that all monitors share: declared and documented once, known to every monitor and the command line."""

import inspect
import re
from typing import Any

import pytest
from jsonargparse import ArgumentParser
from jsonargparse._parameter_resolvers import get_signature_parameters

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
from lightning_explain.callbacks.base.monitor import ProbeMonitor
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule
from lightning_explain.errors import ConfigurationError

MONITORS = (ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor)
SHARED = set(inspect.signature(ProbeMonitor).parameters) - {"unknown"}


def documented(kind: type) -> set[str]:
    section = re.search(r"\n    Args:\n(.*?)(?=\n    \w+:\n|\Z)", kind.__doc__ or "", re.DOTALL)
    assert section is not None
    return set(re.findall(r"^        (\w+): ", section.group(1), re.MULTILINE))


@pytest.mark.parametrize("kind", MONITORS)
def test_every_option_has_a_type_and_is_documented_in_one_place(kind: Any) -> None:
    own = set(inspect.signature(kind).parameters) - {"options"}
    resolved = {parameter.name: parameter for parameter in get_signature_parameters(kind, "__init__")}
    assert set(resolved) == own | SHARED
    for name, parameter in resolved.items():
        assert parameter.annotation is not inspect.Parameter.empty and parameter.annotation is not Any, name
        assert parameter.doc, name
    assert own & SHARED <= {"name"}
    assert documented(kind) == own | {"options"}
    assert documented(ProbeMonitor) == SHARED


@pytest.mark.filterwarnings("ignore")  # what jsonargparse says is not ours
@pytest.mark.parametrize("kind", MONITORS)
def test_the_command_line_takes_shared_options_and_refuses_others(kind: Any) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "monitor")
    config = parser.parse_args(["--monitor.every_n_epochs=3", "--monitor.max_overhead=0.25", "--monitor.name=mine"])
    monitor = parser.instantiate_classes(config).monitor
    assert isinstance(monitor._schedule, MonitorSchedule) and monitor._schedule.limit == 0.25
    assert monitor.state_key == f"{kind.__name__}{{'name': 'mine'}}"
    with pytest.raises(ConfigurationError, match="has no option 'every_n_epoch'; did you mean every_n_epochs"):
        kind(every_n_epoch=3)


@pytest.mark.parametrize("kind", MONITORS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_n_epochs": 0}, "every_n_epochs=0; expected at least 1"),
        ({"max_overhead": 5}, "max_overhead=5; expected a share"),
        ({"min_every": 2}, "min_every=2 without max_overhead"),
    ],
)
def test_impossible_shared_options_are_refused(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        kind(**options)
