"""Decision paths on the report's page."""

from pathlib import Path

from tests.report.reports import reported, texts
from tests.tensorboard_explain import logs


def test_paths_show_which_edges_are_new(tmp_path: Path) -> None:
    logs.path_run(tmp_path / "run")
    page = reported(tmp_path / "run", tmp_path)
    now, at_first = page.all("svg", "path")
    edges = now.all("path", "edge")
    assert len(edges) == 5
    new = [edge.all("title")[0].text for edge in edges if "stroke-dasharray" in edge.attributes]
    assert sorted(words.partition(":")[0] for words in new) == ["h3 to o0", "x2 to h3"]
    assert not [edge for edge in at_first.all("path", "edge") if "stroke-dasharray" in edge.attributes]
    widths = {edge.all("title")[0].text.partition(":")[0]: float(edge.attributes["stroke-width"]) for edge in edges}
    assert widths["x0 to h1"] == max(widths.values()) and widths["r9 to o0"] == min(widths.values())
    (table,) = [t for t in page.all("table") if "Strongest edges" in t.text]
    assert texts(table.all("tr"))[1].startswith("x0h160.0 %")
