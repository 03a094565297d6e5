"""Products of several activations: which of them gets how much of the relevance."""

from collections.abc import Sequence
from enum import IntEnum

from lightning_explain.attribution.lrp.choices import Choices


class Rank(IntEnum):
    """Rank of a tensor as a gate: in a product the factor of the lowest rank is the signal."""

    SIGNAL = 0
    ACTIVATED = 1
    """The output of an activation that is not bounded, as the gate of a SwiGLU."""
    SQUASHED = 2
    """The output of a tanh or another bounded function of both signs."""
    GATE = 3
    """The output of a sigmoid or another function from 0 to 1."""
    WEIGHTS = 4
    """The output of a softmax."""
    STATISTIC = 5
    """One over something, as in a normalisation: never explained."""


def _by_attention(ranks: Sequence[int], choices: Choices) -> list[float]:
    """Share the relevance of a weighted sum between its weights and the summands."""
    if choices.attention == "cp":
        n_values = sum(rank != Rank.WEIGHTS for rank in ranks)
        return [0.0 if rank == Rank.WEIGHTS else 1 / n_values for rank in ranks]
    return [1 / len(ranks)] * len(ranks)


def shares_of_factors(ranks: Sequence[int], choices: Choices, *, is_contraction: bool) -> list[float]:
    """Return each factor's share of the relevance of their product; they add up to 1.

    Args:
        ranks: Of the factors that depend on the explained inputs.
        choices: The rules of attention and gates.
        is_contraction: Whether products are summed, as in a matrix product; with a softmax among the factors it is an
            attention.

    Source: Arras et al. (2017, 2019), signal takes all; Achtibat et al. (2024), Eq. 8 (uniform) and Prop. 3.2 and 3.3
    (attention); Ali et al. (2022), XAI for Transformers (attention weights as constants).

    Example:
        >>> shares_of_factors([Rank.SIGNAL, Rank.GATE], Choices(), is_contraction=False)
        [1.0, 0.0]
        >>> shares_of_factors([Rank.WEIGHTS, Rank.SIGNAL], Choices("attnlrp"), is_contraction=True)
        [0.5, 0.5]
    """
    explained = [rank for rank in ranks if rank != Rank.STATISTIC]
    if not explained:
        return [1 / len(ranks)] * len(ranks)
    if len(explained) < len(ranks):
        found = iter(shares_of_factors(explained, choices, is_contraction=is_contraction))
        return [0.0 if rank == Rank.STATISTIC else next(found) for rank in ranks]
    if is_contraction and Rank.WEIGHTS in ranks and min(ranks) < Rank.WEIGHTS:
        return _by_attention(ranks, choices)
    if choices.gates == "uniform":
        return [1 / len(ranks)] * len(ranks)
    signals = [rank == min(ranks) for rank in ranks]
    return [1 / sum(signals) if is_signal else 0.0 for is_signal in signals]
