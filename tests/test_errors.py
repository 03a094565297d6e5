"""Who hears of a result that cannot be trusted."""

import warnings

import pytest

from lightning_explain.errors import (
    ConfigurationError,
    ExplanationError,
    ExplanationWarning,
    LoggerError,
    doubt,
    doubts_reported_to,
)


def test_without_a_listener_a_doubt_is_a_warning_that_points_at_the_caller() -> None:
    def asking() -> None:
        doubt("not converged")

    with pytest.warns(ExplanationWarning, match="not converged") as heard:
        asking()
    assert heard[0].filename == __file__  # not the line in which the warning is made


def test_a_listener_hears_doubts_instead_of_the_user() -> None:
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with doubts_reported_to(told.append):
            doubt("one")
            with doubts_reported_to(lambda _: None):
                doubt("inner")
            doubt("two")
    assert told == ["one", "two"]


def test_a_failure_inside_leaves_no_listener() -> None:
    told: list[str] = []
    with pytest.raises(KeyError), doubts_reported_to(told.append):
        raise KeyError
    with pytest.warns(ExplanationWarning, match="later"):
        doubt("later")
    assert told == []


def test_what_is_raised_can_be_caught_as_what_it_is_a_kind_of() -> None:
    assert issubclass(ConfigurationError, ValueError) and issubclass(ExplanationWarning, UserWarning)
    assert issubclass(LoggerError, ExplanationError) and issubclass(ExplanationError, RuntimeError)
