"""Mean maps of strategies over time."""

import io

import numpy as np
import torch

from lightning_explain.callbacks.attribution.history import LONGEST_FILM
from lightning_explain.callbacks.attribution.strategies.strategy_film import MOST_CLASSES, MOST_KEPT, StrategyFilm
from lightning_explain.render.map_pages import CELL
from lightning_explain.strategies import ClassStrategies, Strategy


def found(*means: float) -> ClassStrategies:
    """Strategies with maps of 2 x 3 equal cells of these values, and four numbers of another input."""
    strategies = [
        Strategy(
            members=[0],
            share=1 / len(means),
            separation=2.0,
            stability=1.0,
            mean=torch.cat([torch.full((6,), value), torch.full((4,), 9.0)]),
            difference=torch.zeros(10),
        )
        for value in means
    ]
    nothing = torch.zeros(0)
    return ClassStrategies(strategies=strategies, assignment=nothing, eigenvalues=nothing, p_value=0.0)


def film(*columns: dict[int, ClassStrategies], cells: tuple[int, ...] = (2, 3)) -> StrategyFilm:
    made = StrategyFilm()
    for step, column in enumerate(columns):
        made.add(10 * step, column, cells, "abcdefghijk".__getitem__)
    return made


def test_a_row_for_each_strategy_and_a_column_for_each_explanation() -> None:
    made = film({0: found(1.0), 1: found(1.0)}, {0: found(1.0), 1: found(1.0, -1.0)})
    assert made.several == [1]
    picture = made.picture("LRP")
    assert picture is not None
    red, blue = (np.all(np.abs(picture.astype(int) - colour) < 12, axis=2) for colour in ((103, 0, 31), (5, 48, 97)))
    columns = [np.flatnonzero(mask[-150:].sum(0) > 20) for mask in (red, blue)]
    # the first strategy at both explanations, the second one at the last
    assert columns[1].min() > np.median(columns[0])
    assert columns[1].max() <= columns[0].max() + 1


def test_there_is_no_picture_while_every_class_is_decided_in_one_way() -> None:
    assert film({0: found(1.0)}, {0: found(-1.0)}).picture("LRP") is None
    assert StrategyFilm().picture("LRP") is None


def test_classes_that_had_several_most_often_are_drawn() -> None:
    many = {c: found(1.0, -1.0) for c in range(MOST_CLASSES + 2)}
    once, twice = film(many), film(many, {MOST_CLASSES + 1: found(1.0, -1.0)})
    assert once.several == list(many)
    assert twice.several[0] == MOST_CLASSES + 1
    fewer = film({c: many[c] for c in range(MOST_CLASSES)}).picture("LRP")
    # a line more of words, and no row more
    assert 0 <= once.picture("LRP").shape[0] - fewer.shape[0] < CELL


def test_a_full_film_loses_every_second_column_but_the_first_and_the_last() -> None:
    made = film(*[{0: found(1.0, -1.0)}] * (LONGEST_FILM + 1))
    steps = [step for step, _ in made.columns]
    assert steps[0] == 0
    assert steps[-2:] == [10 * (LONGEST_FILM - 1), 10 * LONGEST_FILM]
    assert len(steps) == LONGEST_FILM // 2 + 2


def test_memory_is_bounded_and_those_of_several_strategies_are_kept() -> None:
    made = StrategyFilm()
    made.add(0, {c: found(*[1.0] * (1 + (c == 99))) for c in range(100)}, (2, 3), str)
    assert len(made.columns[0][1]) == MOST_KEPT
    assert 99 in made.columns[0][1]


def test_the_film_survives_a_checkpoint() -> None:
    made = film({0: found(1.0)}, {0: found(0.5, -1.0)})
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    again = StrategyFilm.from_state_dict(torch.load(file, weights_only=True))
    assert np.array_equal(again.picture("LRP"), made.picture("LRP"))
    assert StrategyFilm.from_state_dict(None).columns == []


def test_a_time_series_is_a_strip() -> None:
    made = film({0: found(1.0, -1.0)}, cells=(6,))
    assert made.picture("LRP") is not None
