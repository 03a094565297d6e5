"""Is the explanation about the right thing?"""

import torch
from torch import Tensor


def mass_in_mask(values: Tensor, mask: Tensor) -> Tensor:
    """Return the share of |attribution| that lies inside a mask.

    Args:
        values: Attributions [batch, ...].
        mask: 1 inside, 0 outside; broadcasts to `values`.

    Returns:
        Share per sample [batch], 0 to 1; NaN where a sample's attribution is all zero.

    Example:
        >>> mass_in_mask(torch.tensor([[3.0, -1.0]]), torch.tensor([[1.0, 0.0]]))
        tensor([0.7500])
    """
    size = values.abs().flatten(1)
    inside = (values.abs() * mask.to(values)).flatten(1)
    return inside.sum(1) / torch.where(size.sum(1) > 0, size.sum(1), torch.nan)
