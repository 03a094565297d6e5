"""What is asked of a LightningModule: how to call it, where its scores are, what a batch holds."""

import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.passes import in_halves
from lightning_explain.batches import Selector, output_of, plain_selector
from lightning_explain.callbacks.asked import Asked, in_words
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
    """Say whether a forward takes inputs by position: `forward(**batch)` does not."""
    by_keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return any(parameter.kind not in by_keyword for parameter in inspect.signature(forward).parameters.values())


@dataclass(frozen=True, kw_only=True)
class Question:
    """How the explained function is reached.

    Attributes:
        input: Where a batch holds the input: index, key, attribute, several of them, or a callable; None to find it.
            Where the module's forward takes keywords only, the keys are the keywords.
        target: Where it holds the target; None to find it.
        output: Where the model's output holds the scores; None to find them.
        forward_fn: Called as `forward_fn(module, *inputs)` instead of `module(*inputs)`.
    """

    input: Selector = None
    target: Selector = None
    output: Selector = None
    forward_fn: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        for option in ("input", "target", "output"):
            object.__setattr__(self, option, plain_selector(getattr(self, option)))

    @property
    def asked(self) -> Asked:
        """What is asked, in words: resumed with another question, curves begin anew."""
        return {
            name: in_words(option)
            for name, option in (("input", self.input), ("output", self.output), ("forward_fn", self.forward_fn))
        }

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

    def call(self, pl_module: nn.Module) -> Callable[..., Any]:
        """Return what is called with the inputs: the module, unless that needs keywords or `forward_fn` is given."""
        if self.forward_fn is not None:
            return partial(self.forward_fn, pl_module)
        if takes_positional(pl_module.forward):
            return pl_module
        return lambda *inputs: pl_module(**dict(zip(self._keywords, inputs, strict=True)))

    def scores(self, pl_module: nn.Module) -> Callable[..., Tensor]:
        """Return the explained function: inputs to scores [batch, classes] or [batch]."""

        def forward(*inputs: Tensor) -> Tensor:
            return output_of(call(*inputs), self.output)

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
            if isinstance(answer, Tensor):
                return pl_module, output_of(answer)
        scored = _Scored(pl_module, self)
        return scored, scored(*(part.clone() for part in inputs))


class _Scored(nn.Module):
    """A module whose forward gives the scores themselves; methods that need a module get this.

    It asks the module it holds, so that a copy of it asks the copy. Names of layers are those in the LightningModule,
    whether or not it is wrapped.
    """

    def __init__(self, pl_module: nn.Module, question: Question) -> None:
        super().__init__()
        self.module = pl_module
        self._question = question

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._question.scores(self.module)(*inputs)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Generator[tuple[str, nn.Module], None, None]:
        yield prefix, self
        yield from self.module.named_modules(memo, prefix, remove_duplicate)


def probabilities(scores: Tensor) -> Tensor:
    """Turn scores [batch, classes] into confidences; scores that are probabilities already stay as they are."""
    scores = scores.detach().float()
    sums_to_one = bool(((scores >= 0).all(1) & ((scores.sum(1) - 1).abs() < 1e-3)).all())
    return scores if sums_to_one else torch.softmax(scores, dim=1)
