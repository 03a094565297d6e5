"""When it is time, and how much time was spent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain import schedule as schedule_module
from lightning_explain.errors import ConfigurationError
from lightning_explain.schedule import Schedule, Stopwatch, worth_measuring, worth_redrawing


@given(n=st.integers(1, 20), epoch=st.integers(0, 200))
def test_every_nth_epoch_ends_a_cadence(n: int, epoch: int) -> None:
    assert Schedule(every_n_epochs=n).due_after_epoch(epoch) == (epoch in range(n - 1, 400, n))


@given(n=st.integers(1, 20), step=st.integers(0, 200))
def test_every_nth_step_ends_a_cadence_and_no_step_done_does_not(n: int, step: int) -> None:
    assert Schedule(every_n_train_steps=n).due_after_step(step) == (step in range(n, 400, n))


def test_by_default_every_epoch_and_no_step() -> None:
    default = Schedule()
    assert all(default.due_after_epoch(epoch) for epoch in range(3))
    assert not any(default.due_after_step(step) for step in range(5))


def test_a_cadence_by_step_alone_has_no_epochs() -> None:
    by_step = Schedule(every_n_epochs=None, every_n_train_steps=1)
    assert not by_step.due_after_epoch(0)
    assert by_step.due_after_step(1)


@pytest.mark.parametrize("option", ["every_n_epochs", "every_n_train_steps"])
@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused_by_name(option: str, count: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{option}={count}; expected at least 1, or None"):
        Schedule(**{option: count})


def test_no_cadence_at_all_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="both None"):
        Schedule(every_n_epochs=None)


@given(count=st.integers(1, 10**6))
def test_pictures_are_redrawn_at_powers_of_two_and_half_way_between(count: int) -> None:
    expected = {2**k for k in range(21)} | {3 * 2**k for k in range(20)}
    assert worth_redrawing(count) == (count in expected)


def test_nothing_is_worth_drawing_before_the_first_addition() -> None:
    assert not worth_redrawing(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(schedule_module.time, "perf_counter", lambda: now[0])
    return now


def test_the_share_is_time_spent_over_time_passed(clock: list[float]) -> None:
    watch = Stopwatch()
    clock[0] += 6
    with watch.spending():
        clock[0] += 2
    assert watch.share() == pytest.approx(0.25)
    with watch.spending():
        clock[0] += 8
    assert watch.share() == pytest.approx(10 / 16)


def test_beginning_again_forgets(clock: list[float]) -> None:
    watch = Stopwatch()
    with watch.spending():
        clock[0] += 5
    watch.begin()
    clock[0] += 1
    assert watch.share() == 0


def test_time_counts_as_spent_also_when_the_body_raises(clock: list[float]) -> None:
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.spending():
        clock[0] += 3
        raise KeyError
    assert watch.spent == 3


def test_the_share_of_no_time_is_zero(clock: list[float]) -> None:
    assert Stopwatch().share() == 0


def test_measuring_becomes_rare_as_reports_become_many() -> None:
    assert [count for count in range(-1, 70) if worth_measuring(count)] == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (1, [1]),
        (2, [1, 2]),
        (3, [1, 3]),
        (5, [1, 2, 5]),
        (8, [1, 2, 4, 8]),
        (12, [1, 2, 4, 12]),
        (13, [1, 2, 4, 8, 13]),
    ],
)
def test_what_the_last_report_follows_soon_is_left_to_it(last: int, expected: list[int]) -> None:
    assert [count for count in range(-1, last + 1) if worth_measuring(count, last)] == expected


@pytest.mark.parametrize("options", [{}, {"every_n_epochs": 3}, {"every_n_epochs": None, "every_n_train_steps": 7}])
@pytest.mark.parametrize(("max_epochs", "max_steps"), [(5, -1), (10, -1), (-1, 45)])
def test_reports_to_come_are_those_that_come(options: dict[str, int | None], max_epochs: int, max_steps: int) -> None:
    """Ten steps make an epoch; the run ends with its epochs or its steps."""
    schedule, by_epoch = Schedule(**options), options.get("every_n_epochs", 1) is not None
    due: list[tuple[int, int]] = []
    for step in range(1, (max_steps if max_steps > 0 else 10 * max_epochs) + 1):
        epoch = (step - 1) // 10
        ends = by_epoch and step % 10 == 0 and schedule.due_after_epoch(epoch)
        if ends or schedule.due_after_step(step):
            due.append((epoch, step))
    for place, (epoch, step) in enumerate(due):
        found = schedule.n_to_come(epoch=epoch, max_epochs=max_epochs, n_steps=step, max_steps=max_steps)
        assert found in (len(due) - 1 - place, None)
        assert found is not None or by_epoch == (max_steps > 0)
