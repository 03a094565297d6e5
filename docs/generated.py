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

DEEPEST = 4
"""Steps from a warning to the text that it is made of: variables, constants, functions."""

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
        found: list[str] = []
        match node if depth <= DEEPEST else None:
            case ast.Constant(value=str(text)):
                found = [text]
            case ast.JoinedStr(values=parts):
                found = ["".join(self._part(part, inside, depth) for part in parts)]
            case ast.IfExp(body=one, orelse=other):
                found = [*self.of(one, inside, depth + 1), *self.of(other, inside, depth + 1)]
            case ast.Name(id=name) if name.isupper() and name in self.constants:
                found = self.of(self.constants[name], None, depth + 1)
            case ast.Name(id=name):
                found = [text for value in _assigned(name, inside) for text in self.of(value, inside, depth + 1)]
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) | ast.Attribute(attr=name):
                found = self._returned(name, depth)
            case _:
                pass
        return found

    def _part(self, value: ast.expr, inside: ast.FunctionDef | None, depth: int) -> str:
        if isinstance(value, ast.Constant):
            return str(value.value)
        inner = value.value if isinstance(value, ast.FormattedValue) else value
        known = self.of(inner, inside, depth + 1) if isinstance(inner, ast.Name) and inner.id.isupper() else []
        return known[0] if len(known) == 1 else "..."

    def _returned(self, name: str, depth: int) -> list[str]:
        function = self.functions.get(name)
        if function is None:
            return []
        returned = [
            node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None
        ]
        values = [each for value in returned for each in (value.elts if isinstance(value, ast.Tuple) else [value])]
        return [text for value in values for text in self.of(value, function, depth + 1)]

    def warned(self) -> Iterator[tuple[Path, str]]:
        """List every text that is given to `Guard.note` or `doubt`, with the file it is in."""
        for path, tree in self.trees.items():
            functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
            inside = {id(node): function for function in functions for node in ast.walk(function)}
            for node in ast.walk(tree):
                match node:
                    case ast.Call(func=ast.Attribute(attr="note" | "doubt") | ast.Name(id="doubt"), args=[given, *_]):
                        texts = self.of(given, inside.get(id(node)))
                    case _:
                        texts = []
                for text in texts:
                    if len(text.replace("...", "").strip()) >= SHORTEST:
                        yield path.relative_to(PACKAGE), " ".join(text.split())


def _assigned(name: str, inside: ast.FunctionDef | None) -> Iterator[ast.expr]:
    """List the values that a function assigns to a local variable, alone or among several."""
    for node in ast.walk(inside) if inside is not None else ():
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [
                each for target in targets for each in (target.elts if isinstance(target, ast.Tuple) else [target])
            ]
            if any(isinstance(each, ast.Name) and each.id == name for each in names):
                yield node.value


def _separated(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def warnings_list() -> str:
    """Return every warning of the package as Markdown, by the part of the package that it comes from."""
    by_room: dict[str, dict[str, None]] = {title: {} for title in ROOMS.values()}
    for path, text in _Texts().warned():
        title = next(ROOMS[start] for start in sorted(ROOMS, key=len, reverse=True) if str(path).startswith(start))
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
