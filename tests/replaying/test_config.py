"""Model, data and monitors of a configuration file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_explain import ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor
from lightning_explain.errors import ConfigurationError
from lightning_explain.replaying.config import run_of
from tests.replaying import digits_project
from tests.replaying.cli_config import CONFIG, HOME

# jsonargparse 4.35 has no other name yet for what later releases call deprecated
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def described(folder: Path, sections: dict[str, Any], **options: Any) -> Any:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(sections))
    return run_of(path, **options)


def test_a_configuration_of_one_given_model_and_data(tmp_path: Path) -> None:
    sections = {"model": {"width": 5}, "data": {"batch_size": 7}, "trainer": {"precision": "64-true", "max_epochs": 9}}
    found = described(tmp_path, sections, model=f"{HOME}.Net", data=f"{HOME}.Data")
    assert found.model.net[1].out_features == 5
    assert found.data.batch_size == 7
    assert found.trainer == {"precision": "64-true"}
    assert [type(m) for m in found.monitors] == [ActiveNeuronMonitor, AttributionMonitor, DecisionPathMonitor]


@pytest.mark.parametrize("place", ["callbacks", "trainer"])
def test_monitors_of_the_configuration(tmp_path: Path, place: str) -> None:
    ours = {"class_path": "lightning_explain.AttributionMonitor", "init_args": {"name": "mine", "every_n_epochs": 7}}
    entries = [{"class_path": "lightning.pytorch.callbacks.RichProgressBar"}, ours]
    sections = {**CONFIG, "trainer": {}}
    if place == "trainer":
        sections["trainer"] = {"callbacks": entries}
    else:
        sections["callbacks"] = entries
    found = described(tmp_path, sections)
    assert [monitor.name for monitor in found.monitors] == ["mine"]
    found = described(tmp_path, sections, monitors=["neurons", "path"])
    assert [type(m) for m in found.monitors] == [ActiveNeuronMonitor, DecisionPathMonitor]


def test_classes_of_the_script_that_was_run(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(Path(digits_project.__file__).read_text() + "\nassert __name__ != '__main__'\n")
    sections = {**CONFIG, "model": {"class_path": "__main__.Net"}, "data": {"class_path": "__main__.Data"}}
    assert type(described(tmp_path, sections, script=script).model).__name__ == "Net"
    with pytest.raises(ConfigurationError, match="--script train.py"):
        described(tmp_path, sections)
