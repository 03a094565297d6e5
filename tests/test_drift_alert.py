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


def expected_by_hand(known: list[float], least: float, measure: str) -> float:
    """Return what a figure may be after those known, with numpy."""
    lately = np.sort(known[1:] if len(known) == 5 else known[-5:])
    usual = lately[-2] if len(lately) > 1 and measure != "mass_in_mask" else lately[-1]
    if len(known) > 2:
        floored = np.maximum(known[-3:], least)
        ratios = floored[1:] / floored[:-1]
        if (ratios > 1).all():
            usual = max(usual, known[-1] * min(ratios.min(), 4))
    if measure == "mass_in_mask":
        usual = min(usual, 2 * max(np.median(known[-20:]), least))
    return float(max(usual, least))


def by_hand(
    table: list[list[float]], errors: list[list[float]], sizes: list[int | None], rule: DriftAlert
) -> list[int]:
    """The same for several groups, the first of them all samples, by looking at the whole past at every step."""
    due, lasting = [], False
    factor = rule.factor or (1.3 if rule.measure == "mass_in_mask" else 2.5)
    for at, row in enumerate(table):
        shares = []
        for group, value in enumerate(row):
            known = [earlier[group] for earlier in table[:at] if not math.isnan(earlier[group])]
            if len(known) >= rule.min_history and not math.isnan(value):
                usual = expected_by_hand(known, rule.at_least or 0.01, rule.measure)
                limit = factor if group == 0 else factor * max(len(row) - 1, 1) ** 0.25
                size = sizes[group]
                limit = limit if size is None else limit * (size + 1) / size
                shares.append(value / float(np.nanmax([usual, errors[at][group]])) / limit)
        if any(share > 1 for share in shares):
            due += [] if lasting else [at]
            lasting = True
        else:
            lasting = lasting and any(share > 1 / 2 for share in shares)
    return due


figure = st.one_of(st.floats(0, 2), st.just(math.nan))


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.tuples(st.lists(figure, min_size=n, max_size=n), st.lists(figure, min_size=n, max_size=n)), max_size=40
        )
    ),
    st.lists(st.sampled_from([None, 1, 4, 40]), min_size=4, max_size=4),
    st.one_of(st.floats(1.1, 6), st.none()),
    st.integers(1, 4),
    st.sampled_from([None, 0.001, 0.3]),
    st.sampled_from(["cosine", "mass_in_mask"]),
)
def test_alerts_are_due_where_looking_at_the_whole_past_says_so(
    rows: list[tuple[list[float], list[float]]],
    sizes: list[int | None],
    factor: float | None,
    min_history: int,
    at_least: float | None,
    measure: str,
) -> None:
    rule = DriftAlert(measure=measure, factor=factor, min_history=min_history, at_least=at_least)
    past, due = Past(), []
    for at, (values, errors) in enumerate(rows):
        readings = {
            str(g or ""): Reading(value=value, error=error, n_samples=sizes[g])
            for g, (value, error) in enumerate(zip(values, errors, strict=True))
        }
        verdict = judge(rule, readings, Past.from_state_dict(past.state_dict()))
        past = verdict.past
        due += [at] if verdict.is_new else []
    assert due == by_hand([values for values, _ in rows], [errors for _, errors in rows], sizes, rule)


def test_an_event_is_reported_once_and_the_next_one_again() -> None:
    rule = DriftAlert(factor=5)
    assert alerts([*CALM, 0.9, 0.8, 0.3, 0.05, 0.05, 0.05, 0.9, 0.1], rule) == [5]
    assert alerts([*CALM, 0.9, 0.3, 0.05, 0.05, 0.05, 0.05, 0.9, 0.1], rule) == [5, 11]
    # it dips below the factor, but not below half of it: still the same event
    assert alerts([*CALM, 0.9, 0.29, 0.9], DriftAlert(factor=2)) == [5]


def test_a_network_that_only_settles_gives_no_alert() -> None:
    assert alerts([0.9 / (1 + n) for n in range(50)], DriftAlert(factor=1.5)) == []


def test_what_is_usual_must_be_known_first() -> None:
    assert alerts([0.01, 0.9], DriftAlert()) == []
    assert alerts([0.01, 0.01, 0.9], DriftAlert()) == []
    assert alerts([0.01, 0.01, 0.01, 0.9], DriftAlert()) == [3]
    assert alerts([0.02, 0.9], DriftAlert(min_history=1)) == [1]


def test_a_learning_rate_that_is_warmed_up_is_no_alarm() -> None:
    warmed_up = [0.0, 0.02, 0.06, 0.2, 0.5, 0.3, 0.1, 0.02]
    assert alerts(warmed_up, DriftAlert()) == []
    # a rise that nothing had announced is one, and so is one that is faster than the growth before
    assert alerts([0.06, 0.02, 0.06, 0.2], DriftAlert()) == [3]
    assert alerts([0.02, 0.03, 0.045, 0.3], DriftAlert()) == [3]
    # nor does growth excuse whatever comes
    assert alerts([1e-6, 0.01, 0.2, 0.9, 0.9 * 40], DriftAlert(at_least=1e-6)) == [4]


def test_a_learning_rate_that_restarts_is_no_alarm() -> None:
    cycle = [0.06, 0.1, 0.04, 0.006]
    assert alerts([0.9, 0.1, 0.03, 0.004, *cycle, *cycle, *cycle], DriftAlert()) == []


def test_one_figure_that_was_an_event_hides_no_other() -> None:
    assert alerts([*CALM, 0.9, 0.04, 0.04, 0.04, 0.9], DriftAlert()) == [5, 9]
    # two of them are what may be expected
    assert alerts([*CALM, 0.9, 0.9, 0.04, 0.04, 0.9], DriftAlert()) == [5]


def test_the_first_figure_is_forgotten_once_there_are_four_others() -> None:
    assert alerts([0.9, 0.1, 0.03, 0.03, 0.03, 0.15], DriftAlert()) == [5]
    assert alerts([0.9, 0.1, 0.03, 0.03, 0.15], DriftAlert()) == []


def test_what_was_long_ago_does_not_hide_a_rise() -> None:
    for measure in ("cosine", "mass_in_mask"):
        assert alerts([*[0.9] * 6, *[0.05] * 5, 0.4], DriftAlert(measure=measure)) == [11]


def test_a_mask_that_is_looked_at_ever_more_is_noticed_however_slowly() -> None:
    slowly = [0.07 * 1.15**n for n in range(20)]
    found = alerts(slowly, DriftAlert(measure="mass_in_mask"))
    assert len(found) == 1
    due = found[0]
    assert slowly[due] > 2 * 1.3 * np.median(slowly[:due]) >= slowly[due - 1]
    assert alerts(slowly, DriftAlert()) == []


def test_a_mask_is_steady_so_that_less_is_unusual() -> None:
    steady = [0.19, 0.2, 0.18, 0.19]
    assert alerts([*steady, 0.27], DriftAlert(measure="mass_in_mask")) == [4]
    assert alerts([*steady, 0.25], DriftAlert(measure="mass_in_mask")) == []
    assert alerts([*steady, 0.45], DriftAlert()) == []


def test_of_many_classes_and_of_few_samples_more_is_expected() -> None:
    rule = DriftAlert()
    calm = Past(measure="cosine", figures=dict.fromkeys(["", *map(str, range(100))], (0.1, 0.1, 0.1)))

    def limit(n_classes: int, n_samples: int | None, group: str = "0") -> float:
        """Find by bisection how many times the usual is unusual."""
        low, high = 1.0, 100.0
        while high - low > 1e-6:
            middle = (low + high) / 2
            readings = {str(c): Reading(value=0.1, error=0.0) for c in range(n_classes)} | {
                group: Reading(value=0.1 * middle, error=0.0, n_samples=n_samples)
            }
            low, high = (low, middle) if judge(rule, readings, calm).is_new else (middle, high)
        return low

    assert limit(1, None) == pytest.approx(2.5, rel=1e-4)
    assert limit(1, 1) == pytest.approx(5, rel=1e-4)
    assert limit(16, 4) == pytest.approx(2.5 * 2 * 1.25, rel=1e-4)
    assert limit(81, 2) == pytest.approx(2.5 * 3 * 1.5, rel=1e-4)
    # the whole probe is one group, however many classes it has
    assert limit(81, 40, group="") == pytest.approx(2.5 * 41 / 40, rel=1e-4)


def test_drift_within_its_error_is_none() -> None:
    assert alerts([*CALM, 0.9], DriftAlert(), error=0.37) == []
    assert alerts([*CALM, 0.9], DriftAlert(), error=0.35) == [5]
    assert alerts([*CALM, 0.9], DriftAlert(), error=math.nan) == [5]


def test_the_last_digits_of_a_network_at_rest_are_no_alarm() -> None:
    still = [1e-7] * 6
    assert alerts([*still, 0.024], DriftAlert()) == []
    assert alerts([*still, 0.026], DriftAlert()) == [6]
    assert alerts([*still, 1e-3], DriftAlert(at_least=1e-4)) == [6]
    # what grows from nothing to little has not grown for long
    assert alerts([*still, 1e-5, 1e-3, 0.1], DriftAlert()) == [8]


def test_what_earlier_versions_remembered_is_still_known() -> None:
    past = Past.from_state_dict({"measure": "cosine", "figures": {"": [0.1, 0.05, 0.04]}, "lasting": False})
    assert judge(DriftAlert(), {"": Reading(value=0.5, error=0.0, n_samples=40)}, past).is_new


def test_figures_of_another_measure_are_forgotten() -> None:
    past = judge(DriftAlert(), {"": Reading(value=0.5, error=0.0)}, Past()).past
    assert past.figures == {"": (0.5,)}
    again = judge(DriftAlert(measure="spearman"), {"": Reading(value=0.1, error=0.0)}, past).past
    assert again == Past(measure="spearman", figures={"": (0.1,)})


def test_the_furthest_group_comes_first_and_others_are_left_out() -> None:
    past = Past(measure="cosine", figures=dict.fromkeys(["0", "1", "2", ""], (0.02, 0.02, 0.02)))
    readings = {c: Reading(value=value, error=0.0) for c, value in (("0", 0.3), ("1", 0.05), ("2", 0.9), ("", 0.4))}
    assert list(judge(DriftAlert(), readings, past).excesses) == ["2", "", "0"]
    # the furthest is what is furthest beyond its own limit: all samples need less than one class of few
    readings |= {"2": Reading(value=0.9, error=0.0, n_samples=1)}
    assert list(judge(DriftAlert(), readings, past).excesses) == ["", "2", "0"]


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
