"""Comparisons that a user asks for, beside the previous and the first explanation: checkpoints, and steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
from torch import Tensor

from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.history import History, Kept
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import undisturbed
from lightning_explain.drift import ComparableExplanation
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import is_whole
from lightning_explain.log import tag_part
from lightning_explain.weights.checkpoint_file import UnusableCheckpointError, content_of
from lightning_explain.weights.other_weights import check_fits, put_in
from lightning_explain.weights.sharded import sharded_modules

LONGEST_NAME = 40
MOST_NAMES = 8

NOW = "now"
"""The name of the current explanation beside those that it is compared with."""

ALWAYS = ("previous", "first")
"""What every monitor compares with."""

EXPECTED = "expected names of your own for checkpoints or steps, e.g. {'pretrained': 'before.ckpt', 'warm': 500}"

READING = "Leave it out of compare_with=, or give another checkpoint of this network."

References = Mapping[str, str | int | Path]
"""Checkpoint files, or steps of the run, by names of the user's own."""


@dataclass(frozen=True)
class Reference:
    """A comparison: the other side of a drift.

    Attributes:
        name: The user's name for it.
        source: A checkpoint, or a training step: the first explanation made at it or after it.
    """

    name: str
    source: Path | int

    @property
    def description(self) -> str:
        """Description of the comparison."""
        return f"step {self.source}" if isinstance(self.source, int) else f"checkpoint {self.source}"

    @property
    def tells(self) -> str:
        """Caption of a checkpoint's explanation."""
        return self.description if isinstance(self.source, int) else f"checkpoint {self.source.name}"

    def weights(self, pl_module: pl.LightningModule) -> Mapping[str, Tensor]:
        """Read the weights of a checkpoint; they stay on disk until they are used.

        Raises:
            ConfigurationError: There is no such file, it is no checkpoint, or its weights are not this model's.
        """
        assert isinstance(self.source, Path)
        where = f"compare_with={{{self.name!r}: {str(self.source)!r}}}"
        if not self.source.exists():
            raise ConfigurationError(
                f"{where} names a file that does not exist (looked for {self.source.absolute()}); expected a "
                "checkpoint, as a Trainer or torch.save(model.state_dict(), path) writes it, or a step of this run."
            )
        try:
            weights: Mapping[str, Tensor] = content_of(self.source)["state_dict"]
        except UnusableCheckpointError as error:
            raise ConfigurationError(f"{where} cannot be used: {error}.") from error
        # as Lightning loads checkpoints: a module may save a part of its weights only
        check_fits(pl_module, weights, where, strict=pl_module.strict_loading)
        return weights


def named_references(compare_with: Any) -> list[Reference]:
    """Read the comparisons that a user asks for.

    Args:
        compare_with: `References`, or None for nothing; anything else is refused.

    Raises:
        ConfigurationError: It is no mapping, something in it is neither a file nor a step, or a name would be confused
            with another one in tags.

    Example:
        >>> [reference.description for reference in named_references({"pretrained": "before.ckpt", "warm": 500})]
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
    if len(names) > MOST_NAMES:
        raise ConfigurationError(f"compare_with= has {len(names)} names; expected at most {MOST_NAMES}.")
    parts = [tag_part(str(name)).lower() for name in names]
    for name, part in zip(names, parts, strict=True):
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            raise ConfigurationError(f"compare_with= has the name {name!r}; expected 1 to {LONGEST_NAME} letters.")
        if part in (*ALWAYS, NOW) or part.endswith("_error") or parts.count(part) > 1:
            raise ConfigurationError(
                f"compare_with= cannot have the name {name!r}: it would be taken for another one (previous, first, "
                "now, what ends with _error, or a name of the same letters). Choose another name."
            )


Explain = Callable[[str], Explanation | None]


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """Makes the explanations that a run's own are compared with.

    Attributes:
        references: What is compared with.
        guard: What fails is reported once.
    """

    references: list[Reference]
    guard: Guard

    @property
    def checkpoints(self) -> list[Reference]:
        """The references that are checkpoints."""
        return [reference for reference in self.references if isinstance(reference.source, Path)]

    @property
    def words(self) -> dict[str, str]:
        """Descriptions of the comparisons, which go on "how far the explanation is from"."""
        return {reference.name: f"that of {reference.tells}" for reference in self.references}

    def check(self, pl_module: pl.LightningModule, *, history: History, full_names: Mapping[str, str]) -> None:
        """Try to read every checkpoint whose explanation is not known yet.

        Args:
            pl_module: The module.
            history: What is remembered.
            full_names: Full name of each method, under which it is remembered.

        Raises:
            ConfigurationError: One cannot be used, or the model's weights are sharded over several processes.
        """
        unknown = [one for one in self.checkpoints if not history.knows(one.name, full_names.values())]
        if unknown and sharded_modules(pl_module):
            raise ConfigurationError(
                "compare_with= puts a checkpoint's weights in the place of the model's own, and fully_shard (FSDP2) "
                "spreads these over several processes. Compare with steps of the run instead, or explain both "
                "checkpoints afterwards, in one process: lightning-explain replay."
            )
        if is_whole(pl_module):  # the shapes of lazy layers are not known yet
            for reference in unknown:
                reference.weights(pl_module)

    def keep(self, history: History) -> None:
        """Forget comparisons that are no longer wanted, or of another checkpoint or step."""
        wanted = {reference.name: reference.description for reference in self.references}
        for memory in history.memories.values():
            memory.named = {name: one for name, one in memory.named.items() if wanted.get(name) == one.description}

    def explain_checkpoints(
        self,
        pl_module: pl.LightningModule,
        explain: Explain,
        *,
        history: History,
        full_names: Mapping[str, str],
        ranks: Ranks,
    ) -> None:
        """Explain the probe by every checkpoint whose explanation is not known yet, each tried once.

        In a distributed run every process must call it.

        Args:
            pl_module: The module; it holds the checkpoint's weights meanwhile and is left as found.
            explain: Explains the probe by the module as it is then; called with what that is, in words.
            history: Where the explanations are kept.
            full_names: Full name of each method, under which it is remembered.
            ranks: The processes of the run.

        Cost: an explanation for each checkpoint, and as much memory as its weights take; once a run.
        """
        for reference in self.checkpoints:
            if history.knows(reference.name, full_names.values()) or reference.name in history.attempted:
                continue
            history.attempted.add(reference.name)
            subject = f"the probe by the {reference.tells}"
            with self.guard.doing(f"explaining {subject}", cure=READING):
                weights = ranks.agreed(partial(reference.weights, pl_module))
                with undisturbed(pl_module):
                    # where it fails in one process, the others must not wait for it
                    ranks.agreed(partial(put_in, pl_module, weights))
                    explanation = explain(subject)
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
            kept = Kept(
                description=reference.description, words=words, explanation=ComparableExplanation.of(attribution)
            )
            history.of(full_names[method]).named.setdefault(reference.name, kept)
