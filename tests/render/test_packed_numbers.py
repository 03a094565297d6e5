"""Numbers of an event: exact in 32 bits, three digits of them in 16."""

import pytest
import torch

from lightning_explain.render import packed_numbers as module
from lightning_explain.render.packed_numbers import packed_numbers
from lightning_explain.report.pictures import packed_values

VALUES = torch.tensor([[0.1999, -7.0, 1e-3], [float("nan"), float("inf"), 3e-9], [0.0, 0.0, 0.0]])


def test_numbers_come_back_as_they_were() -> None:
    found = packed_values(packed_numbers(VALUES), 3)
    assert found is not None
    expected = VALUES.masked_fill(VALUES.isinf(), float("nan"))
    torch.testing.assert_close(torch.tensor(found), expected, equal_nan=True, rtol=0, atol=0)


def test_many_numbers_keep_three_digits_each_sample_in_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SINGLES", 4)
    packed = packed_numbers(VALUES)
    assert packed["values_type"] == "f2" and len(packed["values"]) < len(packed_numbers(VALUES[:1])["values"]) * 3
    found = packed_values(packed, 3)
    assert found is not None
    expected = VALUES.masked_fill(VALUES.isinf(), float("nan"))
    torch.testing.assert_close(torch.tensor(found), expected, equal_nan=True, rtol=6e-4, atol=0)


@pytest.mark.parametrize("wrong", [{}, {"values": 3}, {"values": "!"}, {"values": "AAAA"}, {"values": "AAAAPw=="}])
def test_what_holds_no_such_numbers_is_none(wrong: dict[str, object]) -> None:
    assert packed_values(wrong, 3) is None
