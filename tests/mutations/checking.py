"""Parts that several checks share."""

import torch
from torch import Tensor


def close(a: Tensor, b: Tensor | list[float]) -> None:
    wanted = b if isinstance(b, Tensor) else torch.tensor(b, dtype=a.dtype)
    torch.testing.assert_close(a.reshape(wanted.shape), wanted, rtol=1e-6, atol=1e-9)


AT, FROM = torch.tensor([[2.0, 3.0]]).double(), torch.tensor([[0.5, -1.0]]).double()


# (x0 - b0) (x1 + b1) / 2, and the other way round
PRODUCT = [(2 - 0.5) * (3 - 1) / 2, (3 + 1) * (2 + 0.5) / 2]
