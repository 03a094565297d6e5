"""The explained function of a LightningModule: its call, its inputs and targets in a batch, its scores."""

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.integrated_gradients.passes import in_halves
from lightning_explain.attribution.wrapped_model import WrappedModel
from lightning_explain.batches import Selector, floating_parts, output_of, plain_selector, score_candidates
from lightning_explain.callbacks.base.compatibility import ComparedOptions, in_words
from lightning_explain.callbacks.base.output_choice import likeliest_scores, named_scores
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import isolated

# whose own `forward` only says that there is none; by name, since Lightning has two packages
BASES = ("LightningModule", "Module")


def _ignore(*args: Any, **kwargs: Any) -> None:
    del args, kwargs


@contextmanager
def undisturbed(pl_module: nn.Module) -> Generator[None, None, None]:
    """Isolate the module, and let whatever its forward logs go nowhere meanwhile."""
    with isolated(pl_module):
        for module in pl_module.modules():
            # by name: the class lives in `lightning.pytorch` and in `pytorch_lightning`
            if any(base.__name__ == "LightningModule" for base in type(module).__mro__):
                # instance attributes shadow the methods; the isolation takes them away again
                module.__dict__.update(log=_ignore, log_dict=_ignore)
        yield


def check_strategy(trainer: Any) -> None:
    """Refuse weights that exist nowhere but inside the forward of a wrapper that is not the LightningModule.

    Raises:
        ConfigurationError: The Trainer's strategy wraps modules in `FullyShardedDataParallel`.
    """
    model = trainer.strategy.model
    modules = [] if model is None else model.modules()
    # by name: the class need not be imported to be absent
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in modules):
        raise ConfigurationError(
            "FSDPStrategy flattens the weights into pieces that are put together only inside its own wrapper's "
            "forward, so the LightningModule cannot be called with a probe. Use ModelParallelStrategy with "
            "fully_shard (FSDP2), which explanations can follow, or explain the saved checkpoints afterwards, in one "
            "process."
        )


def takes_positional(forward: Callable[..., Any]) -> bool:
    """Return True if a forward takes inputs by position; `forward(**batch)` does not."""
    by_keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return any(parameter.kind not in by_keyword for parameter in inspect.signature(forward).parameters.values())


@dataclass
class OutputChoice:
    """The place of the scores in an output of several tensors.

    Attributes:
        place: Index or key; None where there is nothing to choose, or there is no evidence.
        is_settled: True once it was looked for.
    """

    place: int | str | None = None
    is_settled: bool = False


TRIED = 8
"""Samples of the forward pass that shows what a module returns."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """The options that define the explained function.

    Attributes:
        input: Where a batch holds the input: index, key, attribute, several of them, or a callable; None to find it.
            Where the module's forward takes keywords only, the keys are the keywords.
        target: Where it holds the target; None to find it.
        output: Where the model's output holds the scores; None to find them.
        forward_fn: Called as `forward_fn(module, *inputs)` instead of `module(*inputs)`.
        choice: The place that `settle` chose, where the output has several tensors and `output` is None.
    """

    input: Selector = None
    target: Selector = None
    output: Selector = None
    forward_fn: Callable[..., Any] | None = None
    choice: OutputChoice = field(default_factory=OutputChoice, compare=False, repr=False)

    def __post_init__(self) -> None:
        for option in ("input", "target", "output"):
            object.__setattr__(self, option, plain_selector(getattr(self, option)))

    @property
    def description(self) -> ComparedOptions:
        """These options in words: resumed with others, curves start anew."""
        return {
            name: in_words(option)
            for name, option in (("input", self.input), ("output", self.output), ("forward_fn", self.forward_fn))
        }

    def begin_run(self) -> None:
        """Begin a run, in which the scores are looked for again."""
        self.choice.is_settled = False

    def check(self, pl_module: nn.Module) -> None:
        """Refuse a module that cannot be called.

        Raises:
            ConfigurationError: It defines no `forward` and no `forward_fn` is given, or nothing says by which keywords.
        """
        kinds = type(pl_module).__mro__
        defines_forward = any("forward" in vars(kind) and kind.__name__ not in BASES for kind in kinds)
        if self.forward_fn is None and not defines_forward:
            raise ConfigurationError(
                f"{type(pl_module).__name__} defines no forward(), so there is nothing to call with the probe. Define "
                "it, or give forward_fn=, e.g. forward_fn=lambda module, x: module.net(x)."
            )
        if self.forward_fn is None and not self._keywords and not takes_positional(pl_module.forward):
            raise ConfigurationError(
                f"{type(pl_module).__name__}.forward takes its inputs by keyword only, and nothing says by which. Give "
                "the key under which a batch holds it, e.g. input='pixel_values' or input=['input_ids', "
                "'attention_mask'], or forward_fn=lambda module, x: module(pixel_values=x)."
            )

    @property
    def _keywords(self) -> tuple[str, ...]:
        named = self.input if isinstance(self.input, list | tuple) else (self.input,)
        return tuple(name for name in named if isinstance(name, str))

    @property
    def chosen(self) -> Selector:
        """The place of the scores: as given by the user, or as `settle` chose."""
        return self.choice.place if self.output is None else self.output

    def settle(self, pl_module: nn.Module, inputs: tuple[Tensor, ...], n_classes: int | None) -> str:
        """Find out which tensor holds the scores where the module returns several; return what is to be said of it.

        Without evidence, asking for the scores is refused with the cure. The module is left as found.

        Args:
            pl_module: The module.
            inputs: Some samples on its device.
            n_classes: How many classes there are; None where there are no class labels.

        Cost: a forward pass of 8 samples.
        """
        self.choice.place, self.choice.is_settled = None, True
        if self.output is not None:
            return ""
        with undisturbed(pl_module):
            few = tuple(with_graph(part[:TRIED]) for part in inputs)
            output = self.call(pl_module)(*few)
            candidates = score_candidates(output)
            named = next(iter(candidates)) if len(candidates) == 1 else None
            if len(candidates) > 1:
                self.choice.place = likeliest_scores(candidates, len(few[0]), n_classes)
            elif named is not None:
                candidates = floating_parts(output)
                place = named_scores(named, candidates, len(few[0]), n_classes)
                self.choice.place = None if place == named else place
        if self.choice.place is None:
            return ""
        return (
            f"the module returns {len(candidates)} tensors; the one at {self.choice.place!r} is taken for the scores, "
            f"since {_reason(named, n_classes)}. If another is meant, say so with output=."
        )

    def call(self, pl_module: nn.Module) -> Callable[..., Any]:
        """Return the callable for the inputs: the module, unless that needs keywords or `forward_fn` is given."""
        if self.forward_fn is not None:
            return partial(self.forward_fn, pl_module)
        if takes_positional(pl_module.forward):
            return pl_module
        return lambda *inputs: pl_module(**dict(zip(self._keywords, inputs, strict=True)))

    def scores(self, pl_module: nn.Module) -> Callable[..., Tensor]:
        """Return the explained function: inputs to scores [batch, classes] or [batch]."""

        def forward(*inputs: Tensor) -> Tensor:
            return output_of(call(*inputs), self.chosen)

        call = self.call(pl_module)
        return forward

    def module(self, pl_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[nn.Module, Tensor]:
        """Return a module from inputs to scores, and the scores; one forward pass, or several where memory runs out.

        It is the LightningModule itself where that returns its scores as they are, so that layer names given to a
        method are its own.
        """
        pieces = in_halves(len(inputs[0]), lambda rows: self._module(pl_module, tuple(part[rows] for part in inputs)))
        return pieces[0][0], torch.cat([scores for _, scores in pieces])

    def _module(self, pl_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[nn.Module, Tensor]:
        if self.call(pl_module) is pl_module and self.output is None:
            # clones: a forward that works in place must not reach the probe
            answer = pl_module(*(part.clone() for part in inputs))
            if isinstance(answer, Tensor) and output_of(answer) is answer:
                return pl_module, answer
        scored = _Scored(pl_module, self)
        return scored, scored(*(part.clone() for part in inputs))


def _reason(named: int | str | None, n_classes: int | None) -> str:
    if named is not None:
        return f"that at {named!r}, the usual name, holds its probabilities or does not fit the classes"
    which = "no other can hold them" if n_classes is None else f"it alone fits the {n_classes} classes"
    return f"{which} and nothing but its probabilities is computed from it"


def with_graph(part: Tensor) -> Tensor:
    """Clone an input so that what is computed from it has a graph; no leaf, which could not be changed in place."""
    part = part.detach().clone()
    return part.requires_grad_().clone() if part.is_floating_point() else part


class _Scored(WrappedModel[nn.Module]):
    """A module whose forward gives the scores themselves; methods that need a module get this.

    It asks the module it holds, so that a copy of it asks the copy. Names of layers are those in the LightningModule,
    whether or not it is wrapped.
    """

    def __init__(self, pl_module: nn.Module, question: Question) -> None:
        super().__init__(pl_module)
        self._question = question

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._question.scores(self.model)(*inputs)


def probabilities(scores: Tensor) -> Tensor:
    """Turn scores [batch, classes] into confidences; scores that are probabilities already stay as they are."""
    scores = scores.detach().float()
    sums_to_one = bool(((scores >= 0).all(1) & ((scores.sum(1) - 1).abs() < 1e-3)).all())
    return scores if sums_to_one else torch.softmax(scores, dim=1)
