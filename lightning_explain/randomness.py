"""Preservation of the random states of a run."""

import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def rng_preserved() -> Generator[None, None, None]:
    """Restore the random states of python, numpy, torch and every initialised CUDA device at the end.

    Example:
        >>> with rng_preserved():
        ...     a = torch.rand(1)
        >>> bool(a == torch.rand(1))
        True
    """
    python_state, torch_state = random.getstate(), torch.get_rng_state()
    numpy_state = np.random.get_state()  # noqa: NPY002 - the legacy stream is the one that user code shares
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
