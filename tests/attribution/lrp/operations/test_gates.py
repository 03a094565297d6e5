"""How products share their relevance among signals, gates and attention weights."""

import pytest
import torch

from lightning_explain.attribution import (
    LRP,
)
from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.attribution.lrp.operations.gates import Rank, shares_of_factors
from lightning_explain.errors import ConfigurationError
from tests.attribution.lrp.operations.applied import RULES, Apply, close, drawn, weights


def test_uniform_gates_share_evenly():
    x, y = drawn(3, 4), drawn(3, 4, seed=1)
    found = LRP(RULES, gates="uniform")(Apply(lambda a, b: a * torch.sigmoid(b)), (x, y))
    for part in found.parts:
        close(part, x * torch.sigmoid(y) * weights(4) / 2)


def test_shares_of_factors_add_up():
    for attention in ("attnlrp", "cp"):
        for gates in ("signal", "uniform"):
            for first in Rank:
                for second in Rank:
                    for is_contraction in (False, True):
                        shares = shares_of_factors(
                            [first, second], Choices(attention, gates), is_contraction=is_contraction
                        )
                        assert abs(sum(shares) - 1) < 1e-12
    with pytest.raises(ConfigurationError, match="attention='lrp'; expected 'attnlrp' or 'cp'"):
        LRP(attention="lrp")
    with pytest.raises(ConfigurationError, match="gates='all'"):
        LRP(gates="all")
