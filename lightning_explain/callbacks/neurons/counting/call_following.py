"""Finding out of the calls of a stage's first step where units are, what follows them, and what is padding."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.neurons.counting.functional_layers import refined, tell_not_followed, tell_unseen
from lightning_explain.callbacks.neurons.counting.stage_counts import StageCounts
from lightning_explain.callbacks.neurons.counting.step_follower import StepFollower
from lightning_explain.capture import Layer, names_inside_compiled
from lightning_explain.isolation import is_whole
from lightning_explain.neurons.forward_trace import ForwardTrace
from lightning_explain.neurons.functional import FunctionalUse
from lightning_explain.neurons.units import check_unit_dims
from lightning_explain.schedule import Stopwatch

MOST_FOLLOWED = 3
"""Steps of a stage that are followed: the first, and others if layers ran in them that did not run before."""


class CallFollowing:
    """Follows the first step of each stage, and tells the counts of that stage what was seen.

    Args:
        question: How the module is called, where the step's own calls cannot be seen.
        guard: For saying what could not be found out.
        stopwatch: For the time spent.
        unit_dims: Names or globs of layers -> the dimension that counts their units.
    """

    def __init__(self, question: Question, *, guard: Guard, stopwatch: Stopwatch, unit_dims: Mapping[str, int]) -> None:
        self._question = question
        self._guard = guard
        self._stopwatch = stopwatch
        self._unit_dims = dict(unit_dims)
        self._default = False
        self._module: nn.Module | None = None
        self._chosen: Sequence[Layer] = ()
        self._n_followed: dict[int, int] = {}
        self._follower: StepFollower | None = None
        self._unseen: FunctionalUse | None = None

    def begin(self, pl_module: nn.Module, chosen: Sequence[Layer], *, default: bool) -> None:
        """Begin anew.

        Args:
            pl_module: The module.
            chosen: The layers that are watched.
            default: True if the user named none, so that layers that feed functions belong to them.

        Raises:
            ConfigurationError: `unit_dims` names no layer that is watched.
        """
        if not default:
            check_unit_dims(self._unit_dims, chosen)
        self._module, self._chosen, self._default = pl_module, tuple(chosen), default
        self._n_followed, self._unseen = {}, None

    def begin_batch(self, counts: StageCounts, others: Sequence[StageCounts], batch: Any) -> None:
        """Follow the calls of a stage's first step, and again where layers turned up that were not in it.

        Args:
            counts: Of the stage.
            others: Of the other stage, which begins with what this one shows.
            batch: As the step gets it.
        """
        n_followed = self._n_followed.get(id(counts), 0)
        module = self._module
        if module is None or (n_followed and not (counts.has_unknown and n_followed < MOST_FOLLOWED)):
            return
        counts.begin_following()

        def receive(trace: ForwardTrace) -> None:
            layers, self._unseen = refined(
                module, self._chosen, trace, default=self._default, unit_dims=self._unit_dims
            )
            counts.end_following()
            for each in (counts, *(other for other in others if not other.is_followed)):
                each.watch(layers)

        self._follower = StepFollower(
            module,
            receive=receive,
            enter=counts.recorder.enter,
            stopwatch=self._stopwatch,
            in_training=n_followed > 0,
            batch=batch,
        )
        if not names_inside_compiled(module):
            self._follower.attach()
        elif is_whole(module):
            self._follower.follow_batch(batch, self._question)

    def pause(self, *, paused: bool) -> None:
        """Follow nothing for a while, or go on."""
        if self._follower is not None:
            self._follower.pause(paused=paused)

    def stop(self) -> None:
        """Follow no more calls of this step."""
        if self._follower is not None:
            self._follower.detach()

    def end_batch(self, counts: StageCounts) -> None:
        """Warn of what the step that was followed left open."""
        follower, self._follower = self._follower, None
        module = self._module
        if follower is None or module is None:
            return
        follower.detach()
        self._n_followed[id(counts)] = self._n_followed.get(id(counts), 0) + 1
        if follower.error is not None and self._default:
            tell_not_followed(module, counts.recorder.layers, follower.error, self._guard)
        if follower.error is None and follower.n_followed:
            counts.check_calls()
        if self._unseen is not None and self._default:
            tell_unseen(self._unseen, self._guard)
        self._tell_masks(module, counts.recorder.layers)
        if is_whole(module):
            counts.end_following()

    def _tell_masks(self, pl_module: nn.Module, layers: Sequence[Layer]) -> None:
        """Warn that padding counts: a mask that compiled code takes cannot be seen."""
        compiled = names_inside_compiled(pl_module)
        inside = {id(module) for name, module in pl_module.named_modules() if name in compiled}
        names = [layer.name for layer in layers if any(u.mask and id(u.mask.module) in inside for u in layer.calls)]
        if names:
            self._guard.note(
                f"{', '.join(names)} take a padding mask inside code that torch.compile made, where it cannot be seen, "
                "so their padding counts as positions. Compile a part that does not take the mask.",
                about="masks in compiled code",
            )
