"""What a user wants explanations compared with, beside the previous and the first: checkpoints, and steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from lightning_explain.callbacks.explanation import Explanation
from lightning_explain.callbacks.guard import CALLING, Guard
from lightning_explain.callbacks.history import History, Kept
from lightning_explain.callbacks.question import undisturbed
from lightning_explain.callbacks.ranks import Ranks
from lightning_explain.checkpoint_file import UnusableCheckpointError, content_of
from lightning_explain.drift import ComparableExplanation
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import is_whole
from lightning_explain.log import tag_part
from lightning_explain.other_weights import check_fits, put_in
from lightning_explain.sharded import sharded_modules

LONGEST_NAME = 40

ALWAYS = ("previous", "first")
"""What every monitor compares with."""

EXPECTED = "expected names of your own for checkpoints or steps, e.g. {'pretrained': 'before.ckpt', 'warm': 500}"

References = Mapping[str, str | int | Path]
"""Checkpoint files, or steps of the run, by names of the user's own."""


@dataclass(frozen=True)
class Reference:
    """What an explanation is compared with.

    Attributes:
        name: The user's name for it.
        source: A checkpoint, or a training step: the first explanation made at it or after it.
    """

    name: str
    source: Path | int

    @property
    def asked(self) -> str:
        """What was asked for, in words."""
        return f"step {self.source}" if isinstance(self.source, int) else f"checkpoint {self.source}"

    @property
    def tells(self) -> str:
        """What is said of a checkpoint where its explanation is shown."""
        return self.asked if isinstance(self.source, int) else f"checkpoint {self.source.name}"

    def weights(self, model: nn.Module) -> Mapping[str, Tensor]:
        """Read the weights of a checkpoint; they stay on disk until they are used.

        Raises:
            ConfigurationError: There is no such file, it is no checkpoint, or its weights are not this model's.
        """
        where = f"compare_with={{{self.name!r}: {str(self.source)!r}}}"
        path = Path(self.source if isinstance(self.source, Path) else "")
        if not path.exists():
            raise ConfigurationError(f"{where} names a file that does not exist (looked for {path.absolute()}).")
        try:
            weights: Mapping[str, Tensor] = content_of(path)["state_dict"]
        except UnusableCheckpointError as error:
            raise ConfigurationError(f"{where} cannot be used: {error}.") from error
        check_fits(model, weights, where)
        return weights


def named_references(compare_with: Any) -> list[Reference]:
    """Take what a user wants to compare with.

    Args:
        compare_with: `References`, or None for nothing; anything else is refused.

    Raises:
        ConfigurationError: It is no mapping, something in it is neither a file nor a step, or a name would be confused
            with another one in tags.

    Example:
        >>> [reference.asked for reference in named_references({"pretrained": "before.ckpt", "warm": 500})]
        ['checkpoint before.ckpt', 'step 500']
    """
    if compare_with is None:
        return []
    if not isinstance(compare_with, Mapping):
        raise ConfigurationError(f"compare_with={compare_with!r}; {EXPECTED}.")
    given = cast(Mapping[Any, Any], compare_with)
    _check_names(list(given))
    return [Reference(name, _source(name, source)) for name, source in given.items()]


def _source(name: Any, source: Any) -> Path | int:
    if isinstance(source, int) and not isinstance(source, bool) and source >= 0:
        return source
    if isinstance(source, str | Path) and str(source):
        return Path(source).expanduser()
    raise ConfigurationError(f"compare_with={{{name!r}: {source!r}}}; {EXPECTED}.")


def _check_names(names: list[Any]) -> None:
    parts = [tag_part(str(name)).lower() for name in names]
    for name, part in zip(names, parts, strict=True):
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise ConfigurationError(f"compare_with= has the name {name!r}; expected 1 to {LONGEST_NAME} letters.")
        if part in ALWAYS or part.endswith("_error") or parts.count(part) > 1:
            raise ConfigurationError(
                f"compare_with= cannot have the name {name!r}: in tags it would be taken for another one (previous, "
                "first, what ends with _error, or a name of the same letters). Choose another name."
            )


Explain = Callable[[], "Explanation | None"]


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """Makes the explanations that a run's own are compared with.

    Attributes:
        references: What is compared with.
        guard: What fails is told once.
    """

    references: list[Reference]
    guard: Guard

    @property
    def checkpoints(self) -> list[Reference]:
        """The references that are checkpoints."""
        return [reference for reference in self.references if isinstance(reference.source, Path)]

    @property
    def words(self) -> dict[str, str]:
        """What each reference is going to be, in words that go on "how far the explanation is from"."""
        return {reference.name: f"that of {reference.tells}" for reference in self.references}

    def check(self, pl_module: nn.Module) -> None:
        """Try to read every checkpoint.

        Raises:
            ConfigurationError: One cannot be used, or the model's weights are spread over several processes.
        """
        if self.checkpoints and sharded_modules(pl_module):
            raise ConfigurationError(
                "compare_with= puts a checkpoint's weights in the place of the model's own, and fully_shard (FSDP2) "
                "spreads these over several processes. Compare with steps of the run instead, or explain both "
                "checkpoints afterwards, in one process: lightning-explain replay."
            )
        if is_whole(pl_module):  # the shapes of lazy layers are not known yet
            for reference in self.checkpoints:
                reference.weights(pl_module)

    def keep(self, history: History, methods: list[str]) -> None:
        """Forget what is no longer asked for, or is of another checkpoint or step; methods by their full names."""
        asked = {reference.name: reference.asked for reference in self.references}
        for method in methods:
            kept = history.of(method).named
            history.of(method).named = {name: one for name, one in kept.items() if asked.get(name) == one.asked}

    def explain_checkpoints(
        self, pl_module: nn.Module, explain: Explain, *, history: History, full_names: Mapping[str, str], ranks: Ranks
    ) -> None:
        """Explain the probe by every checkpoint whose explanation is not known yet, each tried once.

        In a distributed run every process must call it.

        Args:
            pl_module: The module; it holds the checkpoint's weights meanwhile and is left as found.
            explain: Explains the probe by the module as it is then.
            history: Where the explanations are kept.
            full_names: Full name of each method, under which it is remembered.
            ranks: The processes of the run.

        Cost: an explanation for each checkpoint, and as much memory as its weights take; once a run.
        """
        for reference in self.checkpoints:
            known = all(reference.name in history.of(full).named for full in full_names.values())
            if known or reference.name in history.attempted:
                continue
            history.attempted.add(reference.name)
            with self.guard.doing(f"explaining the {reference.tells}", cure=CALLING):
                weights = ranks.agreed(partial(reference.weights, pl_module))
                with undisturbed(pl_module):
                    put_in(pl_module, weights)
                    explanation = explain()
                if explanation is not None:
                    self._remember(reference, explanation, history, full_names, words=reference.tells)

    def remember_steps(self, explanation: Explanation, *, history: History, full_names: Mapping[str, str]) -> None:
        """Keep an explanation of the run if it is the first one at a step that is asked for, or after it."""
        for reference in self.references:
            if isinstance(reference.source, int) and explanation.step >= reference.source:
                self._remember(reference, explanation, history, full_names, words=f"step {explanation.step:,}")

    def _remember(
        self,
        reference: Reference,
        explanation: Explanation,
        history: History,
        full_names: Mapping[str, str],
        *,
        words: str,
    ) -> None:
        for method, attribution in explanation.attributions.items():
            kept = Kept(asked=reference.asked, words=words, explanation=ComparableExplanation.of(attribution))
            history.of(full_names[method]).named.setdefault(reference.name, kept)
