"""When a drift is worth a warning: the decision alone, against a slow one and case by case."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain.drift_alert import Alert, DriftAlert, Excess, Past, Reading, judge
from lightning_explain.errors import ConfigurationError

CALM = [0.5, 0.1, 0.06, 0.05, 0.04]


def alerts(values: list[float], rule: DriftAlert, *, error: float = 0.0) -> list[int]:
    """Go through one group's figures; return at which of them an alert is due."""
    past, due = Past(), []
    for at, value in enumerate(values):
        verdict = judge(rule, {"": Reading(value=value, error=error)}, past)
        past = verdict.past
        if verdict.is_new:
            due.append(at)
    return due


def by_hand(table: list[list[float]], errors: list[list[float]], rule: DriftAlert) -> list[int]:
    """The same for several groups, by looking at the whole past at every step."""
    due, lasting = [], False
    for at, row in enumerate(table):
        ratios = []
        for group, value in enumerate(row):
            known = [earlier[group] for earlier in table[:at] if not math.isnan(earlier[group])]
            known = known[-20 if rule.measure == "mass_in_mask" else -5 :]
            if len(known) >= rule.min_history and not math.isnan(value):
                levels = [float(np.median(known)), rule.at_least or 0.02, errors[at][group]]
                ratios.append(value / float(np.nanmax(levels)))
        if any(ratio > rule.factor for ratio in ratios):
            due += [] if lasting else [at]
            lasting = True
        else:
            lasting = lasting and any(ratio > rule.factor / 2 for ratio in ratios)
    return due


figure = st.one_of(st.floats(0, 2), st.just(math.nan))


@given(
    st.integers(1, 3).flatmap(
        lambda n: st.lists(
            st.tuples(st.lists(figure, min_size=n, max_size=n), st.lists(figure, min_size=n, max_size=n)), max_size=40
        )
    ),
    st.floats(1.1, 6),
    st.integers(1, 4),
    st.sampled_from([None, 0.001, 0.3]),
    st.sampled_from(["cosine", "mass_in_mask"]),
)
def test_alerts_are_due_where_looking_at_the_whole_past_says_so(
    rows: list[tuple[list[float], list[float]]], factor: float, min_history: int, at_least: float | None, measure: str
) -> None:
    rule = DriftAlert(measure=measure, factor=factor, min_history=min_history, at_least=at_least)
    past, due = Past(), []
    for at, (values, errors) in enumerate(rows):
        readings = {
            str(g): Reading(value=value, error=error)
            for g, (value, error) in enumerate(zip(values, errors, strict=True))
        }
        verdict = judge(rule, readings, Past.from_state_dict(past.state_dict()))
        past = verdict.past
        due += [at] if verdict.is_new else []
    assert due == by_hand([values for values, _ in rows], [errors for _, errors in rows], rule)


def test_an_event_is_told_once_and_the_next_one_again() -> None:
    rule = DriftAlert(factor=5)
    assert alerts([*CALM, 0.9, 0.8, 0.3, 0.05, 0.05, 0.05, 0.9, 0.1], rule) == [5, 11]
    # it dips below the factor, but not below half of it: still the same event
    assert alerts([*CALM, 0.9, 0.25, 0.9], rule) == [5]


def test_a_network_that_only_settles_gives_no_alert() -> None:
    assert alerts([0.9 / (1 + n) for n in range(50)], DriftAlert(factor=1.5)) == []


def test_what_is_usual_must_be_known_first() -> None:
    assert alerts([0.01, 0.9], DriftAlert()) == []
    assert alerts([0.01, 0.01, 0.9], DriftAlert()) == []
    assert alerts([0.01, 0.01, 0.01, 0.9], DriftAlert()) == [3]
    assert alerts([0.02, 0.9], DriftAlert(min_history=1)) == [1]


def test_a_level_that_stays_becomes_usual() -> None:
    assert alerts([*CALM, *[0.8] * 5, 0.05, 0.05, 0.8], DriftAlert()) == [5]
    # a mask is compared with more of the past
    rule = DriftAlert(measure="mass_in_mask")
    assert alerts([*CALM, *[0.8] * 4, 0.05, 0.05, 0.8], rule) == [5, 11]
    assert alerts([*CALM, *[0.8] * 6, 0.05, 0.05, 0.8], rule) == [5]


def test_what_was_long_ago_does_not_hide_a_rise() -> None:
    assert alerts([*[0.9] * 6, *[0.05] * 5, 0.4], DriftAlert()) == [11]
    assert alerts([*[0.9] * 6, *[0.05] * 5, 0.4], DriftAlert(measure="mass_in_mask")) == []


def test_drift_within_its_error_is_none() -> None:
    assert alerts([*CALM, 0.9], DriftAlert(), error=0.25) == []
    assert alerts([*CALM, 0.9], DriftAlert(), error=0.22) == [5]
    assert alerts([*CALM, 0.9], DriftAlert(), error=math.nan) == [5]


def test_the_last_digits_of_a_network_at_rest_are_no_alarm() -> None:
    still = [1e-7] * 6
    assert alerts([*still, 0.079], DriftAlert()) == []
    assert alerts([*still, 0.081], DriftAlert()) == [6]
    assert alerts([*still, 1e-3], DriftAlert(at_least=1e-4)) == [6]


def test_figures_of_another_measure_are_forgotten() -> None:
    past = judge(DriftAlert(), {"": Reading(value=0.5, error=0.0)}, Past()).past
    assert past.figures == {"": (0.5,)}
    again = judge(DriftAlert(measure="spearman"), {"": Reading(value=0.1, error=0.0)}, past).past
    assert again == Past(measure="spearman", figures={"": (0.1,)})


def test_the_furthest_group_comes_first_and_others_are_left_out() -> None:
    past = Past(measure="cosine", figures=dict.fromkeys("012", (0.02, 0.02, 0.02)))
    readings = {c: Reading(value=value, error=0.0) for c, value in (("0", 0.3), ("1", 0.05), ("2", 0.9))}
    assert list(judge(DriftAlert(), readings, past).excesses) == ["2", "0"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"measure": "cosinus"}, r"measure='cosinus'; expected one of \['cosine', .*'mass_in_mask'\]"),
        ({"factor": 1}, "factor=1; expected a number above 1"),
        ({"factor": math.nan}, "factor=nan"),
        ({"factor": math.inf}, "factor=inf"),
        ({"min_history": 0}, "min_history=0; expected at least 1"),
        ({"at_least": 0.0}, "at_least=0.0; expected a number above 0"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(options: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        DriftAlert(**options)


def test_an_alert_says_class_samples_and_step_and_cannot_be_changed() -> None:
    excesses = tuple(Excess(group=f"class {c}", value=0.4, usual=0.02, error=0.05) for c in "abcdefg")
    alert = Alert(
        monitor="a", method="IG", measure="cosine", step=629, epoch=5, excesses=excesses, samples=(4, 1), indices=(9, 7)
    )
    words = str(alert)
    assert "step 629, in epoch 5, by IG: cosine distance" in words
    assert "class a 0.4 (8.0 times the usual 0.02, error 0.05)" in words
    assert "class e" in words and "class f" not in words and "and 2 more" in words
    assert "samples 4, 1 of the probe (in its data set 9, 7)" in words
    with pytest.raises(FrozenInstanceError):
        alert.step = 1  # type: ignore[misc]
