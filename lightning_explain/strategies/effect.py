"""How much of a class's score a group of samples owes to what tells it from the others."""

from torch import Tensor

CLEAR = 4.0
"""Standard errors by which the means of a feature differ, so that it counts among those that tell groups apart: of a
thousand features of one cloud hardly any."""


def effect(relevance: Tensor, inside: Tensor) -> float:
    """Return the share of its relevance that a group has more than the others in what tells it from them.

    Attributions are in units of the explained score, and to first order the score owes to a feature what is attributed
    to it. Two groups that lie apart in features that hardly count, or in features where the score gains as much as it
    loses (a stroke further left), are no two ways to decide.

    Args:
        relevance: Attributions of samples [n, features], as they are (not of one length).
        inside: Which belong to the group [n]; at least two of each side.

    Returns:
        Sum over the features whose means differ by 4 standard errors (Welch) of the group's mean less the others',
        divided by the group's mean of summed absolute relevance. 0.3: nearly a third of what speaks for or against the
        class in these samples is what the others do not have. Negative where the others have more.

    Example:
        >>> import torch
        >>> relevance = torch.tensor([[1.0, 3.0], [1.2, 3.0], [1.0, 0.0], [1.2, 0.0]], dtype=torch.double)
        >>> round(effect(relevance, torch.tensor([True, True, False, False])), 3)
        0.732
    """
    a, b = relevance[inside], relevance[~inside]
    apart = a.mean(0) - b.mean(0)
    error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
    tells = apart.abs() > CLEAR * error
    return float(apart[tells].sum() / a.abs().sum(1).mean().clamp_min(1e-300))
