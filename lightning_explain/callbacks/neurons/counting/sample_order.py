"""The order of a batch's samples in what a step passes on of it."""

from collections.abc import Iterable

import torch
from torch import Tensor


def is_reordered(given: Tensor, batch: Iterable[Tensor]) -> bool:
    """Return True if a tensor holds the rows of one of the batch's tensors in another order, as after a sort.

    Args:
        given: What a module is given, [samples, ...].
        batch: The tensors of the batch.

    Cost: nothing where the step passes on the batch's own tensors; else one look at the values, for which a GPU waits.

    Example:
        >>> x = torch.arange(6.0).view(3, 2)
        >>> is_reordered(x.flip(0), [x]), is_reordered(x.clone(), [x]), is_reordered(x + 1, [x])
        (True, False, False)
    """
    alike = [part for part in batch if part.shape == given.shape and part.dtype == given.dtype]
    if not alike or given.is_meta or given.ndim == 0 or len(given) < 2:
        return False
    if any(part.data_ptr() == given.data_ptr() or torch.equal(part, given) for part in alike):
        return False
    rows = given.flatten(1) if given.ndim > 1 else given[:, None]
    return any(torch.equal(part.reshape(rows.shape).unique(dim=0), rows.unique(dim=0)) for part in alike)
