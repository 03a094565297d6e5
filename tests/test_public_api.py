"""The public names keep what they promised: SemVer, from 1.0 on."""

import copy
import json
import re
from pathlib import Path

import pytest

import lightning_explain
from tests.public_api import STORED, broken, public_api

ROOT = Path(__file__).parents[1]


def test_nothing_that_was_promised_is_gone_or_changed():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert broken(stored, public_api()) == [], "a major version; if it is meant: python -m tests.public_api"


def test_the_surface_that_is_guarded_is_that_of_the_package():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert sorted(stored) == sorted(lightning_explain.__all__)
    assert {"*detail", "*probe", "*feeding"} <= stored["ActiveNeuronMonitor"]["parameters"].keys()
    assert stored["Probe"]["members"]["from_dataset"]["*seed"] == "0"
    assert "latest" in stored["ActiveNeuronMonitor"]["members"]


def _without(found, *path):
    *parents, last = path
    for part in parents:
        found = found[part]
    del found[last]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda api: api.pop("LRP"), ["LRP is gone"]),
        (lambda api: _without(api, "Probe", "parameters", "*masks"), ["Probe(*masks) is gone"]),
        (lambda api: _without(api, "Probe", "members", "labels"), ["Probe.labels is gone"]),
        (lambda api: api["Probe"]["members"].update(labels={}), ["Probe.labels is something else"]),
        (
            lambda api: api["AttributionMonitor"]["parameters"].update({"*detail": "'full'"}),
            ["AttributionMonitor(*detail='full') was 'terse'"],
        ),
        (
            lambda api: api["replay"]["parameters"].update({"*must": "(required)"}),
            ["replay(*must) is new and required"],
        ),
        (
            lambda api: api["replay"].update(parameters=dict(reversed(api["replay"]["parameters"].items()))),
            ["replay: positional parameters in another order"],
        ),
        (lambda api: api["Probe"]["parameters"].update({"*more": "None"}), []),
        (lambda api: api.update(New={"parameters": {}, "members": {}}), []),
    ],
)
def test_what_a_user_would_miss_is_reported(change, told):
    now = public_api()
    before = copy.deepcopy(now)
    change(now)
    assert broken(before, now) == told


def test_the_version_is_one_everywhere():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.*)"$', project, re.MULTILINE)[1] == lightning_explain.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(rc\d+)?", lightning_explain.__version__)


def test_pictures_and_links_of_the_readme_work_wherever_it_is_shown():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    home = re.search(r'^Repository = "(.*)"$', project, re.MULTILINE)[1]
    raw = home.replace("github.com", "raw.githubusercontent.com") + "/main/"
    targets = re.findall(r"\]\(([^)]+)\)", readme)
    assert len(targets) > 20
    for target in targets:
        root = next((root for root in (raw, f"{home}/blob/main/") if target.startswith(root)), None)
        assert root, f"{target} is no absolute address of {home}"
        assert (ROOT / target.removeprefix(root)).exists()
    assert all(target.startswith(raw) for target in targets if target.endswith(".png"))


def test_the_readme_leads_with_an_installation_in_ones_own_project():
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks[0] == "pip install lightning-explain\n"
