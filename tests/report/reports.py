"""Reading a report as a browser would, without one."""

import base64
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lightning_explain.report.command import run

VOID = {"meta", "img"}


@dataclass
class Element:
    """An element with its attributes and what is in it."""

    name: str
    attributes: dict[str, str]
    children: list[Any] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, name: str, class_: str = "") -> list["Element"]:
        """Find the elements of a name inside, in the order of the page."""
        found: list[Element] = []
        for child in self.children:
            if isinstance(child, Element):
                if child.name == name and (not class_ or class_ in child.attributes.get("class", "").split()):
                    found.append(child)
                found += child.all(name, class_)
        return found

    def pixels(self) -> Any:
        """An image's pixels: [height, width, RGBA]."""
        scheme, _, code = self.attributes["src"].partition(",")
        assert scheme == "data:image/png;base64"
        return np.asarray(Image.open(BytesIO(base64.b64decode(code))).convert("RGBA")).astype(int)


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().name == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(path: Path) -> Element:
    """Parse a page; every element must be closed where it should be."""
    builder = _Builder()
    builder.feed(path.read_text(encoding="utf-8"))
    assert len(builder.open) == 1
    return builder.root


def reported(folder: Path, out: Path, *more: Path, **options: Any) -> Element:
    """Write the report of some folders, and parse it."""
    path = out / "report.html"
    assert run([folder, *more], output=path, version="1.2.3", **options) == 0
    return parsed(path)


FREE = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "nav", "a", "p", "main", "section", "h2", "h3",
    "h4", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "bdi", "small", "details", "summary", "ul",
    "li", "img", "span", "svg", "g", "path", "line", "circle", "text", "rect", "image", "figure", "figcaption", "b",
}  # fmt: skip


def names_in(element: Element) -> set[str]:
    return {element.name} | {name for c in element.children if isinstance(c, Element) for name in names_in(c)}


def attributes_in(element: Element) -> list[tuple[str, str]]:
    own = list(element.attributes.items())
    return own + [pair for c in element.children if isinstance(c, Element) for pair in attributes_in(c)]


def assert_loads_nothing(page: Element) -> None:
    """No element that loads or runs anything, no attribute that does, and a policy that forbids it."""
    assert names_in(page) - {""} <= FREE
    for key, value in attributes_in(page):
        assert not key.startswith("on") and key != "style", key
        if key in ("src", "href"):
            assert value.startswith(("data:image/png;base64,", "#")), value
    (policy,) = [m.attributes["content"] for m in page.all("meta") if "http-equiv" in m.attributes]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy


def texts(elements: list[Element]) -> list[str]:
    return [" ".join(element.text.split()) for element in elements]
