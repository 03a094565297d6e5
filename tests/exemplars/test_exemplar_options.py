"""Options of exemplars."""

from typing import Any

import pytest

from lightning_explain.errors import ConfigurationError
from lightning_explain.exemplars import Exemplars


def test_a_number_is_how_many_are_kept() -> None:
    assert Exemplars.of(5) == Exemplars(k=5) and Exemplars.of(0).k == 0
    given = Exemplars(by="relevance")
    assert Exemplars.of(given) is given


@pytest.mark.parametrize("given", [-1, True, "8", 2.5, None])
def test_what_is_no_number_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="exemplars"):
        Exemplars.of(given)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="shown=-1"):
        Exemplars(shown=-1)
