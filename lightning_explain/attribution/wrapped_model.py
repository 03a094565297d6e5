"""A module around another one that keeps the names of its layers."""

from collections.abc import Generator
from typing import Generic, TypeVar

from torch import nn

from lightning_explain.attribution.result import Forward

M = TypeVar("M", bound=Forward)


class WrappedModel(nn.Module, Generic[M]):
    """A module that calls another model; names of layers are those of that model, if it is a module.

    A copy of it holds a copy of that model.

    Args:
        model: A module or any callable.

    Example:
        >>> [name for name, _ in WrappedModel(nn.Sequential(nn.ReLU())).named_modules()]
        ['', '', '0']
    """

    def __init__(self, model: M) -> None:
        super().__init__()
        self.model: M = model

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Generator[tuple[str, nn.Module], None, None]:
        """Yield this module, and the modules of the model by their names in it."""
        yield prefix, self
        if isinstance(self.model, nn.Module):
            yield from self.model.named_modules(memo, prefix, remove_duplicate)
