"""How easily a stranger finds the way in: sizes of folders and files, names, docstrings, tests, lines of code.

python benchmarks/house.py                # of the working tree
python benchmarks/house.py --of 8c63e68   # and of a commit beside it, by the same rules
python benchmarks/house.py --check        # exits with status 1 if a metric is beyond its limit
python benchmarks/house.py --details      # with what each metric counted
"""

import argparse
import ast
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("lightning_explain", "tensorboard_explain")
FILES_PER_FOLDER, LINES_PER_FILE = 16, 300
# "Whether a layer ...", and a verb before it does not help: "Say whether ...", "Return what ..."
INDIRECT = re.compile(r"\s*(?:(?:\w+ )?(?:whether|what|how|which|where|when|why)|who|whose|say)\b", re.IGNORECASE)
IDIOSYNCRATIC = {"asked", "moments", "continuity", "strongest", "cure", "cures", "finding", "findings", "found", "own"}
IDIOSYNCRATIC |= {"said", "thought", "told", "wish"}
SAME_ROLE = {
    "monitor": "the callback of each monitor's room",
    "metrics": "the scalars that each monitor logs",
    "images": "the pictures that each monitor logs",
    "tab": "what each monitor writes for the Explain tab",
    "record": "what each monitor keeps of one report",
    "reporter": "what each monitor does with one report",
    "method": "the public class of each method's room",
    "command": "the arguments of each subcommand of the command line",
}


@dataclass(frozen=True)
class Metric:
    """A number about the code with the limit it must keep, and what it counted."""

    name: str
    value: float
    limit: float | None = None
    at_least: bool = False
    percent: bool = False
    details: tuple[str, ...] = ()

    @property
    def is_kept(self) -> bool:
        """True if the value is within its limit, or has none."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def formatted(self, number: float) -> str:
        """Return a number of this metric in its unit."""
        return f"{number:.1%}" if self.percent else f"{number:,.0f}"


@dataclass(frozen=True)
class Module:
    """A Python file: its path below the root, its text, its statements and all nodes of its syntax tree."""

    path: Path
    text: str
    body: list[ast.stmt]
    nodes: list[ast.AST]


def modules_below(root: Path, folders: Iterable[str]) -> list[Module]:
    """Return the Python files below some folders of a repository, by path."""
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*.py"))
    files = [(path, path.read_text()) for path in paths]
    trees = [ast.parse(text) for _, text in files]
    return [
        Module(path.relative_to(root), text, tree.body, list(ast.walk(tree)))
        for (path, text), tree in zip(files, trees, strict=True)
    ]


def folder_sizes(root: Path) -> Metric:
    """Count the source files of each folder of the packages."""
    paths = (path for package in PACKAGES for path in (root / package).rglob("*.*"))
    sizes = Counter(path.parent.relative_to(root) for path in paths if path.suffix in {".py", ".js", ".css"})
    details = tuple(f"{folder}: {count} files" for folder, count in sizes.most_common() if count > FILES_PER_FOLDER)
    return Metric("files in the largest folder", max(sizes.values()), FILES_PER_FOLDER, details=details)


def long_files(modules: list[Module]) -> Metric:
    """Count files that are too long to have one subject."""
    lengths = {module.path: len(module.text.splitlines()) for module in modules}
    long = tuple(f"{path}: {length} lines" for path, length in lengths.items() if length > LINES_PER_FILE)
    return Metric(f"files over {LINES_PER_FILE} lines", len(long), 0, details=long)


def code_lines(modules: list[Module]) -> Metric:
    """Count lines that are neither blank nor comments nor docstrings."""
    return Metric("lines of code", sum(map(_code_lines, modules)))


def _code_lines(module: Module) -> int:
    documented = {line for text in _docstring_nodes(module) for line in range(text.lineno, _last_line(text) + 1)}
    lines = enumerate(module.text.splitlines(), start=1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and number not in documented for number, line in lines)


def _last_line(node: ast.expr) -> int:
    return node.end_lineno or node.lineno


def names_in_several_rooms(modules: list[Module]) -> Metric:
    """Count modules and public classes of one name in different rooms, except those with one role per room."""
    rooms: dict[str, list[str]] = defaultdict(list)
    for module in modules:
        if module.path.stem != "__init__" and module.path.stem not in SAME_ROLE:
            rooms[f"module {module.path.stem}"].append(str(module.path.parent))
        for node in module.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                rooms[f"class {node.name}"].append(str(module.path.parent))
    shared = tuple(f"{name}: {', '.join(places)}" for name, places in sorted(rooms.items()) if len(places) > 1)
    return Metric("names of two things in different rooms", len(shared), 0, details=shared)


def public_names(module: Module) -> Iterator[str]:
    """Yield the module's own name and those of its public functions, classes, methods and attributes."""
    yield module.path.stem
    nodes = [*module.body]
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
            nodes += node.body if isinstance(node, ast.ClassDef) else []
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield from [] if node.target.id.startswith("_") else [node.target.id]


def idiosyncratic_names(modules: list[Module]) -> Metric:
    """Count public names with a word that says less to others than to the author."""
    parts = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
    details = tuple(
        f"{module.path}: {name}"
        for module in modules
        for name in public_names(module)
        if IDIOSYNCRATIC & {part.lower() for part in parts.findall(name)}
    )
    return Metric("public names with idiosyncratic words", len(details), 0, details=details)


def _docstring_nodes(module: Module) -> Iterator[ast.Constant]:
    for node in module.nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str()) as text), *_]:
                    yield text
                case _:
                    pass


def indirect_docstrings(modules: list[Module]) -> Metric:
    """Return the share of docstrings that open with an indirect question."""
    texts = [(module.path, text) for module in modules for text in _docstring_nodes(module)]
    indirect = tuple(
        f"{path}:{text.lineno}: {str(text.value).strip().splitlines()[0]}"
        for path, text in texts
        if INDIRECT.match(str(text.value))
    )
    share = len(indirect) / max(1, len(texts))
    return Metric("docstrings that open with an indirect question", share, 0.01, percent=True, details=indirect)


def _method_classes(modules: list[Module]) -> set[str]:
    """Return the classes of the attribution rooms that are called with a model, and those derived from them."""
    classes = [
        node
        for module in modules
        if "attribution" in module.path.parts[1:2]
        for node in module.nodes
        if isinstance(node, ast.ClassDef)
    ]
    methods = {node.name for node in classes if _takes_model(node)}
    for _ in classes:  # at most as deep as there are classes
        methods |= {node.name for node in classes if methods & {ast.unparse(base) for base in node.bases}}
    return methods


def _takes_model(node: ast.ClassDef) -> bool:
    calls = (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__call__")
    return any("model" in {argument.arg for argument in call.args.args} for call in calls)


def method_type_checks(modules: list[Module]) -> Metric:
    """Count type checks of an attribution method by modules outside `attribution`."""
    methods = _method_classes(modules)
    details = tuple(
        f"{module.path}:{node.lineno}: {ast.unparse(node)}"
        for module in modules
        if "attribution" not in module.path.parts[1:2]
        for node in module.nodes
        if isinstance(node, ast.Call) and _checks_type_of(node, methods)
    )
    return Metric("isinstance of a method outside attribution/", len(details), 0, details=details)


def _checks_type_of(call: ast.Call, methods: set[str]) -> bool:
    if not (isinstance(call.func, ast.Name) and call.func.id in {"isinstance", "issubclass"} and len(call.args) == 2):
        return False
    names = {node.id for node in ast.walk(call.args[1]) if isinstance(node, ast.Name)}
    return bool(names & methods)


def tested_modules(modules: list[Module], tests: list[Module]) -> Metric:
    """Return the share of modules with a test file of their name; where rooms share it, the room is in the path."""
    stems = Counter(module.path.stem for module in modules)
    paths = [test.path for test in tests]
    named = [module for module in modules if module.path.stem != "__init__"]
    missing = tuple(str(module.path) for module in named if not _has_test(module, paths, stems[module.path.stem] > 1))
    share = 1 - len(missing) / len(named)
    return Metric("modules with a test file of their name", share, 0.95, at_least=True, percent=True, details=missing)


def _has_test(module: Module, tests: list[Path], in_several_rooms: bool) -> bool:
    stem, room = module.path.stem, module.path.parent.name
    if f"test_{room}_{stem}.py" in {path.name for path in tests}:
        return True
    found = [path for path in tests if path.name == f"test_{stem}.py"]
    return any(path.parent.name == room for path in found) if in_several_rooms else bool(found)


def fit_definitions(tests: list[Module]) -> Metric:
    """Count the functions called `fit` that tests define beside the shared one."""
    details = tuple(
        f"{test.path}:{node.lineno}"
        for test in tests
        for node in test.nodes
        if isinstance(node, ast.FunctionDef) and node.name.strip("_") == "fit"
    )
    return Metric("definitions of fit in tests", len(details), 1, details=details)


def measure(root: Path) -> list[Metric]:
    """Return the metrics of a repository.

    Args:
        root: Its folder, with `lightning_explain`, `tensorboard_explain` and `tests` in it.
    """
    modules, tests = modules_below(root, PACKAGES), modules_below(root, ["tests"])
    return [
        folder_sizes(root),
        long_files(modules),
        names_in_several_rooms(modules),
        idiosyncratic_names(modules),
        indirect_docstrings(modules),
        method_type_checks(modules),
        tested_modules(modules, tests),
        fit_definitions(tests),
        code_lines(modules),
        Metric("lines of code of the tests", code_lines(tests).value),
    ]


def measure_commit(commit: str) -> list[Metric]:
    """Return the metrics of a commit of this repository."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        return measure(Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--of", metavar="COMMIT", help="also measure a commit, for comparison")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a metric is beyond its limit")
    parser.add_argument("--details", action="store_true", help="print what each metric counted")
    options = parser.parse_args()
    metrics = measure(ROOT)
    before = measure_commit(options.of) if options.of else [None] * len(metrics)
    for metric, earlier in zip(metrics, before, strict=True):
        columns = [metric.formatted(earlier.value)] if earlier else []
        columns.append(metric.formatted(metric.value))
        limit = "" if metric.limit is None else f"{'>=' if metric.at_least else '<='} {metric.formatted(metric.limit)}"
        verdict = "" if metric.is_kept else "beyond"
        print(f"{metric.name:48} {' '.join(f'{column:>9}' for column in columns)}  {limit:9} {verdict}")
        if options.details:
            print("".join(f"    {line}\n" for line in metric.details), end="")
    if options.check and not all(metric.is_kept for metric in metrics):
        sys.exit(1)


if __name__ == "__main__":
    main()
