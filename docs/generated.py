"""Parts of the documentation that are written from the code: `python -m docs.generated` brings them up to date.

A test compares them, so that a new warning cannot be missing from the list.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lightning_explain"
BEGIN, END = "<!-- generated: {} -->", "<!-- end -->"
SHORTEST = 24
"""Letters of a text that is more than part of another one."""

ROOMS = {
    "attribution": "Methods",
    "callbacks/attribution": "AttributionMonitor",
    "callbacks/neurons": "ActiveNeuronMonitor",
    "callbacks/paths": "DecisionPathMonitor",
    "callbacks/class_scores": "Scores of classes: precision, recall, F1",
    "callbacks": "All three callbacks",
    "replaying": "replay",
    "": "Elsewhere",
}


class _Texts:
    """The texts of a package, by the name of the constant or the function that holds them."""

    def __init__(self) -> None:
        self.trees = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
        self.constants: dict[str, ast.expr] = {}
        self.functions: dict[str, ast.FunctionDef] = {}
        for tree in self.trees.values():
            for node in tree.body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    self.constants[node.targets[0].id] = node.value
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    self.functions.setdefault(node.name, node)

    def of(self, node: ast.expr, inside: ast.FunctionDef | None, depth: int = 0) -> list[str]:
        """Return the texts that an expression may be, with `...` for what is only known at run time."""
        if depth > 4:
            return []
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.JoinedStr):
            return ["".join(self._part(value, inside, depth) for value in node.values)]
        if isinstance(node, ast.IfExp):
            return [*self.of(node.body, inside, depth + 1), *self.of(node.orelse, inside, depth + 1)]
        if isinstance(node, ast.Name):
            return self._named(node.id, inside, depth)
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            return self._returned(name, depth)
        if isinstance(node, ast.Attribute):
            return self._returned(node.attr, depth)
        return []

    def _part(self, value: ast.expr, inside: ast.FunctionDef | None, depth: int) -> str:
        if isinstance(value, ast.Constant):
            return str(value.value)
        inner = value.value if isinstance(value, ast.FormattedValue) else value
        known = self.of(inner, inside, depth + 1) if isinstance(inner, ast.Name) and inner.id.isupper() else []
        return known[0] if len(known) == 1 else "..."

    def _named(self, name: str, inside: ast.FunctionDef | None, depth: int) -> list[str]:
        if name in self.constants and name.isupper():
            return self.of(self.constants[name], None, depth + 1)
        found: list[str] = []
        for node in ast.walk(inside) if inside is not None else ():
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if (isinstance(target, ast.Name) and target.id == name) or (
                        isinstance(target, ast.Tuple) and any(getattr(each, "id", "") == name for each in target.elts)
                    ):
                        found += self.of(node.value, inside, depth + 1)
        return found

    def _returned(self, name: str, depth: int) -> list[str]:
        function = self.functions.get(name)
        if function is None or depth > 3:
            return []
        found: list[str] = []
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
                for value in values:
                    found += self.of(value, function, depth + 1)
        return found

    def warned(self) -> Iterator[tuple[Path, str]]:
        """List every text that is given to `Guard.note` or `doubt`, with the file it is in."""
        for path, tree in self.trees.items():
            inside = {
                id(node): function
                for function in ast.walk(tree)
                if isinstance(function, ast.FunctionDef)
                for node in ast.walk(function)
            }
            for node in ast.walk(tree):
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ("note", "doubt"):
                    for text in self.of(node.args[0], inside.get(id(node))):
                        if len(text.replace("...", "").strip()) >= SHORTEST:
                            yield path.relative_to(PACKAGE), " ".join(text.split())


def _ordered() -> dict[str, str]:
    """Return the rooms, those within others first."""
    return dict(sorted(ROOMS.items(), key=lambda item: -len(item[0])))


def warnings_list() -> str:
    """Return every warning of the package as Markdown, by the part of the package that it comes from."""
    by_room: dict[str, dict[str, None]] = {title: {} for title in ROOMS.values()}
    for path, text in _Texts().warned():
        title = next(title for start, title in _ordered().items() if str(path).startswith(start))
        by_room[title][text] = None
    lines: list[str] = []
    for title, texts in by_room.items():
        if texts:
            lines += [f"### {title}", "", *(f"- {_escaped(text)}" for text in sorted(texts, key=str.lower)), ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return re.sub(r"([*_<>\[\]`{}|])", r"\\\1", text).replace("...", "…")


def with_generated(page: str, name: str, content: str) -> str:
    """Return a page with what stands between its markers replaced.

    Raises:
        ValueError: The page has no such markers.
    """
    begin = BEGIN.format(name)
    head, found, rest = page.partition(begin)
    if not found or END not in rest:
        raise ValueError(f"The page has no {begin} ... {END}.")
    return f"{head}{begin}\n\n{content.strip()}\n\n{END}{rest.partition(END)[2]}"


def pages() -> dict[Path, str]:
    """Return the text of every page with generated parts, up to date."""
    path = ROOT / "docs" / "troubleshooting.md"
    return {path: with_generated(path.read_text(), "warnings", warnings_list())}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")
