"""The package on the oldest and the newest versions that it claims to work with, each in a virtualenv of its own.

    python benchmarks/versions.py                # every interpreter found, both ends of the requirements
    python benchmarks/versions.py 3.10 --oldest  # one of them
    python benchmarks/versions.py --keep /tmp/versions

In each virtualenv, without the constraints that CI uses: install the package as a user would, import every module,
train a small network with all monitors, ask TensorBoard for the tab, write a report. Prints a table with the versions
that were really run, and exits with 1 if any of them failed. Run by hand: it downloads a few gigabytes.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
INTERPRETERS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SHOWN = ("torch", "lightning", "torchmetrics", "tensorboard", "numpy", "matplotlib", "pillow")
OF_THEIR_TIME = ("setuptools<81",)
"""For old releases: TensorBoard 2.17 and Lightning 2.2 import `pkg_resources`, which newer setuptools left out."""


def interpreter(version: str) -> str | None:
    """Find an interpreter: on the path, or one of pyenv's."""
    named = [shutil.which(f"python{version}")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named += [str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python"))]
    return next((path for path in named if path and _runs(path, version)), None)


def _runs(path: str, version: str) -> bool:
    asked = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)  # pyenv's shims may have no version set
    return found.returncode == 0 and found.stdout.strip() == version


def oldest() -> list[str]:
    """Return the lower bounds of pyproject.toml as exact versions."""
    tomllib = import_module("tomllib")  # since Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = [re.fullmatch(r"([\w\[\]-]+)>=([\d.]+)", each) for each in project["dependencies"]]
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound is not None]


def tried(python: str, requirements: list[str], folder: Path) -> dict[str, Any]:
    """Make a virtualenv, install the package in it, and try it; what went wrong is in the key `error`."""
    own = folder / "bin" / "python"
    log = folder.with_name(f"{folder.name}.log")
    steps = [
        [python, "-m", "venv", str(folder)],
        [str(own), "-m", "pip", "install", "-q", *requirements, str(ROOT)],
        [str(own), str(Path(__file__).with_name("first_run.py")), str(folder / "work")],
    ]
    with log.open("w", encoding="utf-8") as written:
        for step in steps:
            # from another folder, so that what is imported is what was installed
            done = subprocess.run(
                step, cwd=folder.parent, stdout=subprocess.PIPE, stderr=written, text=True, check=False
            )
            written.write(done.stdout)
            if done.returncode:
                written.flush()
                missing = "No matching distribution found" in log.read_text(encoding="utf-8")
                return {"missing": "no wheels"} if missing else {"error": f"{step[1:4]} failed: see {log}"}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Try the combinations, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", default=INTERPRETERS, help="Python versions (default: %(default)s)")
    parser.add_argument("--oldest", action="store_true", help="only the lower bounds")
    parser.add_argument("--newest", action="store_true", help="only what pip installs")
    parser.add_argument("--keep", type=Path, help="keep the virtualenvs and logs here")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    ends = {"oldest": [*oldest(), *OF_THEIR_TIME], "newest": []}
    wanted = [end for end in ends if getattr(arguments, end)] or list(ends)
    failed = 0
    print("| Python | requirements | " + " | ".join(SHOWN) + " | result |\n|" + "---|" * (len(SHOWN) + 3))
    for version in arguments.pythons:
        python = interpreter(version)
        for end in wanted if python else ():
            found = tried(str(python), ends[end], folder / f"{version}-{end}")
            failed += "error" in found
            versions = " | ".join(found.get("versions", {}).get(name, "") for name in SHOWN)
            result = found.get("error") or found.get("missing") or f"fit, tab and report in {found['seconds']:.0f} s"
            if arguments.keep is None:
                shutil.rmtree(folder / f"{version}-{end}")  # several gigabytes each
            print(f"| {found.get('python', version)} | {end} | {versions} | {result} |", flush=True)
        if python is None:
            print(f"| {version} | |{' |' * len(SHOWN)} no interpreter here |", flush=True)
    if arguments.keep is None:
        shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
