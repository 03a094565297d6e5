"""The promise of the public names: parameters with defaults, methods and properties.

`python -m tests.public_api` writes it anew when something is added (a minor version) or, on purpose, taken away or
changed (a major one).
"""

import inspect
import json
from pathlib import Path
from typing import Any

import lightning_explain

STORED = Path(__file__).with_name("data") / "public_api.json"
REQUIRED = "(required)"


def _default(parameter: inspect.Parameter) -> str:
    value = parameter.default
    if value is parameter.empty:
        return REQUIRED
    return value.__qualname__ if inspect.isroutine(value) or inspect.isclass(value) else repr(value)


def _parameters(function: Any) -> dict[str, str]:
    """Return parameter -> default; a star stands before those that must be named."""
    found: dict[str, str] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            found[f"*{name}" if parameter.kind is parameter.KEYWORD_ONLY else name] = _default(parameter)
    return found


def _options(kind: type) -> dict[str, str]:
    """Return the parameters of a constructor, with those that it hands on to its base classes."""
    found: dict[str, str] = {}
    for base in kind.__mro__:
        made = vars(base).get("__init__")
        if made is not None and base.__module__.startswith("lightning_explain"):
            found = {**_parameters(made), **found}
    return found


def _members(kind: type) -> dict[str, Any]:
    """Return the public methods with their parameters, and the properties."""
    found: dict[str, Any] = {}
    for name in dir(kind):
        member = inspect.getattr_static(kind, name)
        home = next(base for base in kind.__mro__ if name in vars(base))
        if (name.startswith("_") and name != "__call__") or not home.__module__.startswith("lightning_explain"):
            continue
        if isinstance(member, property):
            found[name] = "property"
        elif inspect.isroutine(member) or isinstance(member, classmethod | staticmethod):
            found[name] = _parameters(getattr(kind, name))
    return found


def public_api() -> dict[str, Any]:
    """Return the surface as plain values: name -> parameters, members."""
    found: dict[str, Any] = {}
    for name in sorted(lightning_explain.__all__):
        exported = getattr(lightning_explain, name)
        if inspect.isclass(exported):
            found[name] = {"parameters": _options(exported), "members": _members(exported)}
        else:
            found[name] = {"parameters": _parameters(exported), "members": {}}
    return found


def broken(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """List what a user of the earlier surface would miss: names, parameters, defaults; new ones that are required."""
    told: list[str] = []
    for name, old in before.items():
        if name not in now:
            told.append(f"{name} is gone")
            continue
        new = now[name]
        told += _changed(name, old["parameters"], new["parameters"])
        for member, promised in old["members"].items():
            if member not in new["members"]:
                told.append(f"{name}.{member} is gone")
            elif isinstance(promised, dict) and isinstance(new["members"][member], dict):
                told += _changed(f"{name}.{member}", promised, new["members"][member])
            elif promised != new["members"][member]:
                told.append(f"{name}.{member} is something else")
    return told


def _changed(what: str, old: dict[str, str], new: dict[str, str]) -> list[str]:
    told = [f"{what}({parameter}) is gone" for parameter in old if parameter not in new]
    told += [
        f"{what}({parameter}={new[parameter]}) was {default}"
        for parameter, default in old.items()
        if new.get(parameter, default) != default
    ]
    told += [f"{what}({p}) is new and required" for p in new if p not in old and new[p] == REQUIRED]
    placed = [parameter for parameter in old if not parameter.startswith("*") and parameter in new]
    if placed != [parameter for parameter in new if parameter in placed]:
        told.append(f"{what}: positional parameters in another order")
    return told


if __name__ == "__main__":
    STORED.write_text(json.dumps(public_api(), indent=1) + "\n", encoding="utf-8")
