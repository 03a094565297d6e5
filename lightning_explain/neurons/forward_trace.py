"""Record of a traced forward pass: calls of modules and functions, samples, padding masks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from lightning_explain.capture import MaskSource
from lightning_explain.capture.watched_layers import REORDERED
from lightning_explain.neurons.axes import Axis, Choice, Dim, Dims, Factor, has_units, only_units, size_of, sources


@dataclass(frozen=True, eq=False)
class ModuleCall:
    """One call of a module.

    Attributes:
        took: Dimensions of the first tensor that it was given; None where it does not depend on the inputs.
        gave: Dimensions of the tensor that it returned, the first of several.
        countable: Whether that is a tensor of activations.
    """

    took: Dims | None
    gave: Dims | None
    countable: bool


@dataclass(frozen=True, eq=False)
class FunctionCall:
    """One call of a function.

    Attributes:
        name: The function's name.
        function: The function.
        args: Its positional arguments after the first; `options` those by name.
        options: Keyword arguments.
        inside: The modules whose forwards it was called in, the innermost last.
        call: Which call of the innermost one.
        source: The module that gave its argument, and which of its calls; None where none did.
        gave: Its result.
    """

    name: str
    function: Any
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    inside: tuple[nn.Module, ...]
    call: int
    source: tuple[nn.Module, int] | None
    gave: Dims


@dataclass
class ForwardTrace:
    """Record of traced forward passes.

    Attributes:
        calls: Module -> its calls in the order in which they ended.
        functions: Recorded calls of functions.
        masks: Axis of tokens -> where its padding mask is seen.
        samples: Axes along which samples lie.
    """

    calls: dict[nn.Module, list[ModuleCall]] = field(default_factory=dict[nn.Module, list[ModuleCall]])
    functions: list[FunctionCall] = field(default_factory=list[FunctionCall])
    masks: list[tuple[Axis, MaskSource]] = field(default_factory=list[tuple[Axis, MaskSource]])
    samples: list[Axis] = field(default_factory=list[Axis])

    def roles(self, dims: Dims, unit_dim: int | None = None) -> tuple[str, ...] | None:
        """Return the letters of `CallUse.layout`; None if neither samples nor units are known.

        Where the order of samples was changed it is looked at, for which a GPU waits.

        Args:
            dims: Dimensions of a tensor.
            unit_dim: Which of them counts units, if that was said.
        """
        if unit_dim is not None and -len(dims) <= unit_dim < len(dims):
            dims = only_units(dims, unit_dim)
        samples = frozenset(axis.root for axis in self.samples)
        tokens = frozenset(axis.root for axis, _ in self.masks)
        letters = ["".join(_letter(factor, samples, tokens) for factor in dim) or "p" for dim in dims]
        if any(REORDERED in letter for letter in letters):
            return tuple(letters)
        if not any("b" in letter for letter in letters) and _may_hold_samples(dims[0]):
            letters[0] = "b"
        known = any("b" in letter for letter in letters) and (has_units(dims) or len(dims) == 2)
        return tuple(letters) if known else None

    def mask_of(self, dims: Dims) -> MaskSource | None:
        """Return the source of the padding mask for a tensor's tokens."""
        roots = {axis for dim in dims for f in dim if not f.units for axis in (f.axis.root, *sources((f,)))}
        return next((source for axis, source in self.masks if axis.root in roots), None)


def _letter(factor: Factor, samples: frozenset[Axis], tokens: frozenset[Axis]) -> str:
    """Return the letter of a factor; where its entries were chosen, those of the dimension that they come from."""
    root = factor.axis.root
    if root.packed is not None:
        batch = "".join(_letter(each, samples, tokens) for each in root.packed[0])
        return REORDERED if REORDERED in batch else "p"
    if root in samples or root.origin == "batch":
        return "b"
    if factor.units:
        return "u"
    if root.choice is None or root in tokens:
        return "t" if root in tokens else "p"
    return _letter_of_choice(root.choice, factor.size, samples, tokens)


def _letter_of_choice(choice: Choice, size: int, samples: frozenset[Axis], tokens: frozenset[Axis]) -> str:
    letters = "".join(_letter(each, samples, tokens) for each in choice.of)
    if "b" in letters or REORDERED in letters:
        return letters if choice.is_whole else REORDERED
    return letters if size == size_of(choice.of) else "p"


def _may_hold_samples(dim: Dim) -> bool:
    """Return True if a dimension is of one sample, or of unknown origin: by convention samples come first."""
    return not dim or all(factor.axis.root.origin == "lost" for factor in dim) or size_of(dim) == 1
