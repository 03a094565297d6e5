"""Sets and graphs of entities: sums by entity and edge, names, and what is drawn of them."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_explain import Display, Probe
from lightning_explain.errors import ConfigurationError
from lightning_explain.render.modalities import explanation_picture, film_frame, film_picture, full_scale
from lightning_explain.render.modalities.entities import MODALITY, by_entity, names_at, pairs_of
from lightning_explain.render.modality import Annotations, Shown
from lightning_explain.render.page_layout import Panel
from lightning_explain.render.sheet import BLUE, RED
from lightning_explain.render.shown_inputs import check_shown, shown_inputs

RING = [(0, 1), (1, 2), (2, 3), (3, 0)]


def graph(n: int = 4, edges: Any = RING, *, directed: bool = False, weight: float = 1.0) -> Tensor:
    adjacency = torch.zeros(n, n)
    for start, end in edges:
        adjacency[start, end] = weight
        adjacency[end, start] = weight if not directed else adjacency[end, start]
    return adjacency


def shown(*more: Tensor, n: int = 2, index: int = 0, **options: Any) -> Shown:
    display = Display(form="entities", **options)
    found = shown_inputs(Probe(inputs=(torch.rand(n, 4, 3), *more), display=display))
    return next(each for each in found if each.index == index)


def n_pixels(picture: Any, colour: tuple[int, int, int]) -> int:
    return int((picture == np.array(colour)).all(-1).sum())


def test_attributions_add_up_by_entity_and_keep_their_sum() -> None:
    values = torch.randn(2, 4, 3)
    found = by_entity(shown(), values)
    assert found.shape == (2, 4)
    torch.testing.assert_close(found[1, 2], values[1, 2].sum())
    torch.testing.assert_close(by_entity(shown(), values[..., 0]), values[..., 0])


def test_attributions_of_an_undirected_edge_are_those_of_both_its_directions() -> None:
    adjacency = graph(edges=[*RING, (2, 2)]).expand(2, 4, 4).contiguous()
    edges = shown(adjacency, index=1, edges=1)
    values = torch.randn(2, 4, 4)
    pairs = pairs_of(adjacency).tolist()
    assert pairs == [[0, 1], [0, 3], [1, 2], [2, 2], [2, 3]]
    expected = [values[0, i, j] + (values[0, j, i] if i != j else 0) for i, j in pairs]
    torch.testing.assert_close(by_entity(edges, values)[0], torch.stack(expected))
    # all that is on edges is shown, once
    torch.testing.assert_close(by_entity(edges, values).sum(1), (values * (adjacency != 0)).sum((1, 2)))
    assert names_at(edges, 0)[:2] == ["entity 0 - entity 1", "entity 0 - entity 3"]


def test_directed_edges_are_told_apart() -> None:
    adjacency = graph(directed=True)[None].expand(2, 4, 4).contiguous()
    edges = shown(adjacency, index=1, edges=1, entity="node")
    assert names_at(edges, 0) == ["node 0 → node 1", "node 1 → node 2", "node 2 → node 3", "node 3 → node 0"]
    values = torch.randn(2, 4, 4)
    torch.testing.assert_close(by_entity(edges, values)[:, 0], values[:, 0, 1])


def test_of_edges_only_those_of_the_sample_are_shown() -> None:
    adjacency = torch.stack([graph(), graph(edges=[(0, 1)])])
    edges = shown(adjacency, index=1, edges=1)
    assert [edges.places(row) for row in (0, 1)] == [[0, 1, 2, 3], [0]]
    strongest = MODALITY.top_features(edges, torch.ones(2, 4, 4), 1)
    assert strongest == [[0, "entity 0 - entity 1", 2.0]]


def test_entities_have_the_names_that_are_given_and_are_told_apart() -> None:
    assert names_at(shown(), 1) == ["entity 0", "entity 1", "entity 2", "entity 3"]
    assert names_at(shown(entity="atom"), 0)[3] == "atom 3"
    alike = shown(entity_names=["C", "O", "C"], entity="atom")
    assert names_at(alike, 0) == names_at(alike, 1) == ["C 0", "O", "C 2", "atom 3"]
    own = shown(entity_names=[["a", "b"], ["x" * 100, "\n"]])
    assert names_at(own, 0)[:2] == ["a", "b"]
    assert len(names_at(own, 1)[0]) == 24 and names_at(own, 1)[1] == "·"


def test_a_mask_leaves_padding_out_of_everything() -> None:
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    masked = shown(mask)
    values = torch.ones(2, 4, 3)
    values[1, 2:] = 100.0
    assert masked.places(1) == [0, 1]
    assert full_scale(masked, values) == 3.0
    assert [place for place, _, _ in MODALITY.top_features(masked, values, 1)] == [0, 1]
    assert float(MODALITY.tab_maps(masked, values[[1]], [1]).max()) == 3.0
    header, _ = MODALITY.tab_inputs(masked, [0, 1])
    assert header["names"][1] == ["entity 0", "entity 1", None, None] and "graphs" not in header


def annotations(**more: Any) -> Annotations:
    return Annotations(title="t", captions=["a", "b"], group_names=["x"], column_names=["1", "2"], **more)


@pytest.mark.parametrize("n_methods", [1, 2])
def test_bars_are_as_long_as_their_values_and_on_the_side_of_their_sign(n_methods: int) -> None:
    values = torch.zeros(2, 4, 3)
    values[0, 0, 0], values[0, 1, 1] = 2.0, -1.0
    panels = [Panel(name=f"m{i}", values=values, scale=2.0) for i in range(n_methods)]
    picture = explanation_picture(shown(), panels, annotations())
    red, blue = n_pixels(picture, RED), n_pixels(picture, BLUE)
    assert red == pytest.approx(2 * blue, rel=0.05) and red > 300 * n_methods
    columns = (np.argwhere((picture == np.array(c)).all(-1))[:, 1] for c in (RED, BLUE))
    if n_methods == 1:
        right, left = (each.mean() for each in columns)
        assert right > left + 40


def test_the_graph_is_drawn_where_an_input_says_what_is_connected() -> None:
    adjacency = graph()[None].expand(2, 4, 4).bool()
    values = torch.randn(2, 4, 3)
    panels = [Panel(name="m", values=values, scale=2.0)]
    plain = explanation_picture(shown(), panels, annotations())
    drawn = explanation_picture(shown(adjacency, edges=1), panels, annotations())
    assert drawn.shape[0] > plain.shape[0] + 50 and n_pixels(drawn, RED) == n_pixels(plain, RED)
    header, _ = MODALITY.tab_inputs(shown(adjacency, edges=1), [0])
    assert header["graphs"][0]["nodes"] == [0, 1, 2, 3] and len(header["graphs"][0]["edges"]) == 4


def test_a_film_has_a_cell_for_each_strong_entity_and_explanation() -> None:
    values = torch.zeros(2, 4, 3)
    values[:, 0] = 1.0
    entities = shown()
    films = [film_frame(entities, sign * values, None) for sign in (1, -1)]
    assert films[0].shape == (2, 4)
    picture = film_picture(entities, films, annotations())
    cell = 14 * 40
    assert n_pixels(picture, (103, 0, 31)) >= 2 * cell and n_pixels(picture, (5, 48, 97)) >= 2 * cell


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        ({"entity_names": "atoms"}, (), "names a place in batches, but this probe was given as tensors"),
        ({"entity_names": ["a"] * 5}, (), "5 names for a sample of 4 entities"),
        ({"edges": 3}, (), "is no input: the probe has 1"),
        ({"edges": 1}, (torch.zeros(2, 5, 5),), r"shape \[2, 5, 5\]; expected an adjacency matrix \[batch, 4, 4\]"),
    ],
)
def test_what_cannot_be_is_refused_before_training(options: dict[str, Any], more: Any, message: str) -> None:
    probe = Probe(inputs=(torch.rand(2, 4, 3), *more), display=Display(form="entities", **options))
    with pytest.raises(ConfigurationError, match=message):
        check_shown(probe)


def test_an_input_without_entities_is_refused() -> None:
    probe = Probe(inputs=torch.rand(2, 4, 3, 3), display=Display(form="entities"))
    with pytest.raises(ConfigurationError, match=r"expected \[batch, entities\] of ids or \[batch"):
        check_shown(probe)
