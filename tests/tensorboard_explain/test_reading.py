"""What makes the tab readable: numbers as they are, whole names, legends, tables that sort, where it opens."""

from itertools import pairwise

import pytest
import torch

from lightning_explain.render import packed_numbers as module
from tests.tensorboard_explain.browser import Tab
from tests.tensorboard_explain.pair_logs import FEATURES

NEURONS, PATHS = "explain%2Fneurons%2Ftab", "explain%2Fpath%2Ftab"


def test_a_table_shows_its_numbers_with_three_right_digits(pair_tab: Tab) -> None:
    pair_tab.open(run="numbers")
    row = pair_tab.frame.locator(".bars").first.locator("tr", has_text=FEATURES[3])
    assert row.count() == 1 and row.locator("td").last.inner_text() == "+0.200"  # 0.1999 beside one of 7
    pair_tab.open(run="old numbers", a="1")  # a step of 7 / 32 is all that it knows
    row = pair_tab.frame.locator(".bars").first.locator("tr", has_text=FEATURES[3])
    assert row.locator("td").last.inner_text() == "+0.219"


def test_tables_are_sorted_by_a_click_say_how_many_rows_they_show_and_cut_no_name(pair_tab: Tab) -> None:
    pair_tab.open(run="numbers")
    table = pair_tab.frame.locator(".bars").first
    assert table.locator(".shown-of").inner_text() == "20 of 30 features"
    names = table.locator("tbody th")
    assert names.first.inner_text() == FEATURES[17]  # the strongest: -7
    assert all(name in FEATURES for name in names.all_inner_texts())
    table.get_by_role("button", name="feature").click()
    assert names.all_inner_texts()[:3] == FEATURES[:3]
    assert table.locator("th[aria-sort=ascending]").inner_text().startswith("feature")
    table.get_by_role("button", name="Show all").click()
    assert names.count() == 30 and table.locator(".shown-of").inner_text() == "30 of 30 features"
    cut = "cells => cells.filter((c) => c.scrollWidth > c.clientWidth + 1).map((c) => c.textContent)"
    assert names.evaluate_all(cut) == []


def test_charts_have_legends_and_titles_of_axes_and_tell_every_class_at_a_step(pair_tab: Tab) -> None:
    pair_tab.open(run="a", **{"class": ""})
    for chart in pair_tab.frame.locator(".chart:not(.none)").all():
        axes = chart.locator("text.axis").all_text_contents()
        assert axes[0] == "training step" and axes[1]
        assert chart.locator(".keys li").count() == chart.locator("svg .line").count()
    dashes = "lines => lines.map((l) => l.getAttribute('stroke-dasharray'))"
    first = pair_tab.frame.locator(".chart").first
    assert len(set(first.locator("svg .line").evaluate_all(dashes))) == 2  # two classes: no dashes for all, told apart
    box = first.locator(".plot > svg").bounding_box()
    assert box is not None
    first.locator(".plot > svg").hover(position={"x": box["width"] - 12, "y": 40})
    said = first.locator(".reading").inner_text()
    assert "step 5" in said and all(name in said for name in ("all samples", "dog", "cat"))


def test_it_opens_on_the_layer_that_tells_classes_apart_under_names_without_their_common_part(pair_tab: Tab) -> None:
    pair_tab.open(run="a", monitor=NEURONS)
    assert pair_tab.texts(".layers tbody th") == ["first.relu", "last.relu-1"]
    assert pair_tab.text(".layers .chosen th") == "last.relu-1"
    assert pair_tab.text(".layers thead th").startswith("layer of net.encoder")
    assert pair_tab.text(".detail h3").endswith("of net.encoder.last.relu-1")  # as in tags


def test_the_pixels_that_feed_a_neuron_are_a_picture(pair_tab: Tab) -> None:
    pair_tab.open(run="a", monitor=NEURONS, neuron="0")
    canvas = pair_tab.frame.locator(".detail .fed-map")
    assert "row 0, column 1 1.00" in (canvas.get_attribute("aria-label") or "")
    side = "c => c.width / 2"
    half = int(canvas.evaluate(side))
    at = {(x, y): pair_tab.pixel(".detail .fed-map", x * half + 3, y * half + 3) for x in (0, 1) for y in (0, 1)}
    assert at[1, 0] == [103, 0, 31] and at[0, 1][2] > at[0, 1][0] + 40 and at[0, 0] == [247, 247, 247]


def test_a_map_lies_over_the_image_if_that_is_wanted(pair_tab: Tab) -> None:
    pair_tab.open(run="a", a="5", scale="own")
    tile = ".card[data-sample='0'] .tile:nth-child(2) canvas"
    assert pair_tab.pixel(tile, 0, 1) == [247, 247, 247]  # 0 is white
    pair_tab.field("Over the image").check()
    pair_tab.frame.wait_for_function(
        "s => document.querySelector(s).getContext('2d').getImageData(0, 1, 1, 1).data[0] !== 247",
        arg=tile,
    )
    grey = pair_tab.pixel(tile, 0, 1)
    red = pair_tab.pixel(tile, 1, 0)
    assert max(grey) - min(grey) <= 1 and red[0] > red[2] + 60 and "p.explain.over=1" in pair_tab.page.url
    image = pair_tab.pixel(".card[data-sample='0'] .tile:nth-child(1) canvas", 0, 1)
    assert abs(grey[0] - image[0]) <= 1


def test_an_enlarged_sample_is_closed_by_its_button_and_by_escape(pair_tab: Tab) -> None:
    for close in ("button", "key"):
        pair_tab.open(run="a", sample="1")
        assert pair_tab.count(".card") == 1 and pair_tab.text(".enlarged h3") == "Sample 2: cat"
        if close == "button":
            pair_tab.frame.get_by_role("button", name="Close").click()
        else:
            pair_tab.frame.locator(".card").focus()
            pair_tab.page.keyboard.press("Escape")
        pair_tab.frame.wait_for_function("document.querySelectorAll('.card').length === 3")
        assert not pair_tab.frame.locator(".enlarged").is_visible()


def test_an_enlarged_map_marks_what_is_negative_by_more_than_its_colour(pair_tab: Tab) -> None:
    pair_tab.open(run="a", a="5", sample="0", scale="own")
    canvas = ".card.large .tile:nth-child(2) canvas"
    side = int(pair_tab.frame.locator(canvas).evaluate("c => c.width")) // 2
    inside = [pair_tab.pixel(canvas, side + side // 2, side + y) for y in (2, side // 2)]  # -1, at the lower right
    outside = [pair_tab.pixel(canvas, side + side // 2, y) for y in (2, side // 2)]  # 2
    assert inside[0] != inside[1] and outside[0] == outside[1]


def test_pieces_of_words_are_put_together(pair_tab: Tab) -> None:
    pair_tab.open(run="pieces", scale="own")
    assert pair_tab.texts(".token") == ["[CLS]", "un", "believ", "able", "film", "##"]
    assert pair_tab.texts(".token.joined") == ["believ", "able"]
    boxes = [pair_tab.frame.locator(".token").nth(i).bounding_box() for i in range(5)]
    gaps = [b["x"] - a["x"] - a["width"] for a, b in pairwise(boxes) if a and b]
    assert gaps[1] == gaps[2] == pytest.approx(0, abs=0.6) and gaps[0] > 1 and gaps[3] > 1
    assert pair_tab.texts(".token.against") == ["believ"]  # underlined


def test_other_tokenizers_marks_are_known_and_words_of_none_left_alone(pair_tab: Tab) -> None:
    pair_tab.open(run="pieces")
    script = """async (tokens) => (await import(new URL('data/plugin/explain/words/pieces.js', location.origin + '/')))
        .wordPieces(tokens).map((p) => p && [p.text, p.joins])"""
    for tokens, expected in [
        (["Ġun", "able", "Ġto", None], [["un", False], ["able", True], ["to", False], None]),
        (["▁Der", "▁Aff", "e", "</s>"], [["Der", False], ["Aff", False], ["e", True], ["</s>", False]]),
        (["the", "#", "##", "cat"], [["the", False], ["#", False], ["##", False], ["cat", False]]),
        (["##ing", None, "##ed"], [["ing", False], None, ["ed", False]]),
    ]:
        assert pair_tab.frame.evaluate(script, tokens) == expected


def test_outputs_that_have_not_moved_from_the_baseline_are_told(pair_tab: Tab) -> None:
    pair_tab.open(run="still", a="0")
    assert "Hardly any output moved from that of the baseline (0 of 4 samples)" in pair_tab.text(".hint")
    pair_tab.open(run="still", a="9")
    assert pair_tab.count(".hint") == 0
    pair_tab.open(run="still", a="9", b="0")
    assert pair_tab.text(".hint").startswith("At B hardly any output moved")
    script = """async ([unit, outputs, moved]) => (await import(new URL('data/plugin/explain/views/probe_controls.js',
        location.origin + '/'))).stillWords({ header: { unit, outputs }, method: { moved } })"""
    for unit, outputs, moved, expected in [
        ("output", [1000.0, 1001.0, 999.0], [1.0, 2.0, 0.0], ""),  # of another size than its spread
        ("output", [5.0, 5.0, 5.0], [0.0, 0.0, 0.0], "Hardly any"),  # a constant
        ("output", [0.0, 100.0, 50.0], [0.1, 0.2, 0.1], "Hardly any"),
        ("logits", None, [5.0] * 2 + [0.01] * 18, "Hardly any"),  # one in ten
        ("logits", None, [5.0] * 3 + [0.01] * 17, ""),
        ("logits", None, None, ""),  # an older record
    ]:
        assert pair_tab.frame.evaluate(script, [unit, outputs, moved]).startswith(expected)
        assert bool(expected) == bool(pair_tab.frame.evaluate(script, [unit, outputs, moved]))


def test_the_edges_of_a_path_are_told_apart_by_more_than_colour_and_tabulated(pair_tab: Tab) -> None:
    pair_tab.open(run="a", monitor=PATHS)
    against = pair_tab.frame.locator(".edge.against")
    assert against.count() == pair_tab.count(".edge .core")
    pair_tab.frame.locator("summary", has_text="The edges as a table").click()
    shares = pair_tab.texts(".path-block table td:nth-of-type(1)")
    assert [float(share.split()[0]) for share in shares] == sorted((float(s.split()[0]) for s in shares), reverse=True)


def test_a_half_float_is_read_as_it_was_written(pair_tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    pair_tab.open(run="numbers")

    values = torch.tensor([[0.1999, -7.0, 1e-3, 0.0]])
    monkeypatch.setattr(module, "MOST_SINGLES", 0)
    packed = module.packed_numbers(values)
    script = """async (method) => [...(await import(new URL('data/plugin/explain/checked.js', location.origin + '/')))
        .attributionOf({ v: 1, kind: 'attribution', methods: [method] }).methods[0].numbers]"""
    assert pair_tab.frame.evaluate(script, packed) == pytest.approx(values[0].tolist(), rel=1e-3)


def test_pieces_of_words_stand_alone_with_a_hyphen_in_paths(pair_tab: Tab) -> None:
    pair_tab.open(run="pieces")
    script = """async (tokens) => (await import(new URL('data/plugin/explain/checked.js', location.origin + '/')))
        .pathsOf({ graphs: [{ words: tokens, columns: [{ layers: ['input'] }, { layers: ['output'] }],
            nodes: [[0, 1, tokens[1], 1, 1], [0, 2, 'w', 1, 1], [1, 0, tokens[1], 1, 1]] }] }).graphs
        .map((graph) => [graph.words, graph.nodes.map((node) => node.label)])[0]"""
    words, labels = pair_tab.frame.evaluate(script, ["un", "##able", "film", ""])
    assert words == ["un", "-able", "film", ""]
    assert labels == ["-able", "w", "##able"]  # of the output's name nothing is known


def test_small_maps_have_a_plus_and_a_minus_where_they_are_strongest(pair_tab: Tab) -> None:
    pair_tab.open(run="numbers")
    script = """async ([values, tile, full, isFilled]) => {
        const { markedCanvas } = await import(new URL('data/plugin/explain/marks.js', location.origin + '/'));
        const marked = markedCanvas(document.createElement('canvas'));
        marked.show(values && values.map((v) => v ?? NaN), tile, full, isFilled);
        const said = (i) => i.hidden ? '' : `${i.textContent} ${i.style.left} ${i.style.top}`;
        return [...marked.node.querySelectorAll('i')].map(said);
    }"""
    for given, expected in [
        # the middle of the upper right and of the lower left pixel; of a wide map in a square box
        (([0, 2, None, 0, -1, 0, 0, 0], [2, 4], 2, False), ["+ 37.5% 37.5%", "− 12.5% 62.5%"]),
        (([0, 2, None, 0, -1, 0, 0, 0], [2, 4], 2, True), ["+ 37.5% 25%", "− 12.5% 75%"]),
        (([0, 2, -0.2, 0], [2, 2], 2, False), ["+ 75% 25%", ""]),  # too weak to have a colour
        (([0, 0, 0, 0], [2, 2], 2, False), ["", ""]),
        (([None, None], [1, 2], 2, False), ["", ""]),
        ((None, [1, 2], 2, False), ["", ""]),
    ]:
        assert pair_tab.frame.evaluate(script, list(given)) == expected


def test_the_difference_of_rates_has_a_minus_in_what_is_negative_however_narrow(pair_tab: Tab) -> None:
    pair_tab.open(run="a", b="0", monitor="explain%2Fneurons%2Ftab")
    script = """async ([values, size, wide]) => {
        const { paintCells } = await import(new URL('data/plugin/explain/colours.js', location.origin + '/'));
        const canvas = document.createElement('canvas');
        paintCells(canvas, Float32Array.from(values), size, 1, [10, wide]);
        const at = (x, y) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data].join();
        const [x, y] = [(i) => (i % size[1]) * wide + (wide >> 1), (i) => Math.floor(i / size[1]) * 10];
        return values.map((_, i) => [0, 5].map((below) => at(x(i), y(i) + below)));
    }"""
    for wide in (1, 12):
        plain = pair_tab.frame.evaluate(script, [[1, -1, 0, -0.05], [2, 2], wide])
        assert [top != middle for top, middle in plain] == [False, True, False, False]
    difference = pair_tab.frame.locator(".matrix").nth(2).evaluate("(c) => [c.width, c.height]")
    assert difference[1] % 10 == 0 and difference[0] > 600
