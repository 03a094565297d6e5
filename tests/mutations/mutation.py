"""Errors made on purpose in a function's code, in memory: a test of the function has to notice them.

An error is an expression (or a statement) of a function and what replaces it. The expression is found in the function's
syntax tree, not in its text: layout, comments, names of local variables and the file that the function lives in may
change without an error's row being touched.
"""

import ast
import builtins
import inspect
import pkgutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

import pytest

from lightning_explain.errors import ExplanationError


@dataclass(frozen=True)
class Mutation:
    """One error.

    Attributes:
        function: Dotted name of the function below `lightning_explain`, with the classes that it is in.
        before: The expression that is right. Names that are no globals stand for any local variable.
        after: What replaces it.
        check: The test that has to fail.
    """

    function: str
    before: str
    after: str
    check: Callable[[], None]

    def __str__(self) -> str:
        return f"{self.function.rpartition('.')[2]}: {self.before[:40]}"


def _target(dotted: str) -> tuple[ModuleType, tuple[str, ...], FunctionType]:
    """Find a function: its module, its path in the module, and itself without decorators."""
    names = f"lightning_explain.{dotted}".split(".")
    for n in range(len(names) - 1, 0, -1):
        try:
            module = pkgutil.resolve_name(".".join(names[:n]))
        except (AttributeError, ModuleNotFoundError):
            continue
        if isinstance(module, ModuleType):
            break
    else:
        raise AssertionError(f"{dotted} is in no module")
    path, found = tuple(names[n:]), cast(Any, module)
    for name in path:
        found = inspect.getattr_static(found, name)
    found = found.fget if isinstance(found, property) else found
    found = found.__func__ if isinstance(found, staticmethod | classmethod) else getattr(found, "func", found)
    return module, path, inspect.unwrap(found)


def _definition(tree: ast.AST, path: tuple[str, ...]) -> ast.AST:
    for name in path:
        tree = next(
            node
            for node in ast.iter_child_nodes(tree)
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name
        )
    return tree


def _matches(pattern: Any, node: Any, is_global: Callable[[str], bool], names: dict[str, str]) -> bool:
    """Compare two trees; names that are no globals may differ, one for one."""
    if isinstance(pattern, ast.Name) and isinstance(node, ast.Name):
        if is_global(pattern.id) or is_global(node.id):
            return pattern.id == node.id
        return names.setdefault(pattern.id, node.id) == node.id
    if isinstance(pattern, list):
        same = isinstance(node, list) and len(cast(list[Any], pattern)) == len(cast(list[Any], node))
        pairs = zip(cast(list[Any], pattern), cast(list[Any], node), strict=True) if same else ()
        return same and all(_matches(p, n, is_global, names) for p, n in pairs)
    if isinstance(pattern, ast.AST):
        if type(pattern) is not type(node):
            return False
        return all(
            _matches(getattr(pattern, name, None), getattr(node, name, None), is_global, names)
            for name in pattern._fields
            if name != "ctx"
        )
    return pattern == node


def _parsed(text: str) -> ast.AST:
    statement = ast.parse(text).body[0]
    return statement.value if isinstance(statement, ast.Expr) else statement


def places(
    function: ast.AST, before: str, is_global: Callable[[str], bool]
) -> Iterator[tuple[ast.AST, dict[str, str]]]:
    """Find an expression in a function: each place, with the names that its local variables have there."""
    pattern = _parsed(before)
    for node in ast.walk(function):
        names: dict[str, str] = {}
        if _matches(pattern, node, is_global, names):
            yield node, names


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.names.get(node.id, node.id), node.ctx)


class _Replaced(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else self.generic_visit(node)


def globals_of(module: ModuleType) -> Callable[[str], bool]:
    """Return the test whether a name is a module's global or a builtin."""
    return lambda name: name in vars(module) or hasattr(builtins, name)


def _code(code: CodeType, path: tuple[str, ...]) -> CodeType:
    for name in path:
        code = next(part for part in code.co_consts if isinstance(part, CodeType) and part.co_name == name)
    return code


@contextmanager
def mutated(mutation: Mutation) -> Generator[None, None, None]:
    """Run a block with the error in the package."""
    module, path, function = _target(mutation.function)
    tree = ast.parse(inspect.getsource(module))
    found = list(places(_definition(tree, path), mutation.before, globals_of(module)))
    assert len(found) == 1, f"{mutation.before!r} is found {len(found)} times in {mutation.function}; adapt its row"
    node, names = found[0]
    wrong = _Replaced(node, _Renamed(names).visit(_parsed(mutation.after))).visit(tree)
    code = compile(ast.fix_missing_locations(wrong), f"{module.__file__} with an error", "exec", dont_inherit=True)
    right = function.__code__
    function.__code__ = _code(code, path)
    try:
        yield
    finally:
        function.__code__ = right


def notices(mutation: Mutation) -> None:
    """Assert that the check fails with the error. That it passes without is asserted once for all of its errors."""
    with mutated(mutation), pytest.raises((AssertionError, ExplanationError)):
        mutation.check()
