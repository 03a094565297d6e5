"""The default probe, drawn from the Trainer's validation data, without touching any random stream."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lightning_explain.batches import Inputs, class_labels, describe, input_of, target_of
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.display import Display
from lightning_explain.entity_names import names_in
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import module_preserved
from lightning_explain.probe import Probe
from lightning_explain.randomness import rng_preserved, streams_preserved
from lightning_explain.sampling import Drawing, NotPickableError, collated, draw
from lightning_explain.weights.sharded import sharded_modules

MAX_SCAN = 2048
MAX_SHAPES = 16


def flat_loaders(loaders: Any) -> list[Any]:
    """List the loaders of whatever a user gave: one, or a list or mapping of them, nested; empty for None."""
    if loaders is None:
        return []
    if isinstance(loaders, Mapping):
        loaders = list(cast(Mapping[Any, Any], loaders).values())
    if isinstance(loaders, list | tuple):
        return [loader for part in cast(list[Any], loaders) for loader in flat_loaders(part)]
    return [loaders]


def like_the_trainer(trainer: Any, batch: Any) -> Any:
    """Convert and move a batch as the Trainer does with its own, user hooks included.

    Hooks that change a batch see a validating Trainer and a module in eval mode, so that they do not augment it,
    whichever of the two they ask; what they note in the module is taken back.
    """
    module, stage = trainer.lightning_module, trainer.state.stage
    trainer.validating = True
    try:
        with torch.inference_mode(mode=False), torch.no_grad(), module_preserved(module):
            batch = trainer.precision_plugin.convert_input(batch)
            batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
            return trainer.strategy.batch_to_device(batch, dataloader_idx=0)
    finally:
        trainer.state.stage = stage


def to_device(trainer: Any, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Bring a probe's tensors to the model's device and precision; autograd takes them, wherever this is called."""
    device = trainer.strategy.root_device
    devices = {part.device for part in trainer.lightning_module.parameters()}
    # when training has ended the Trainer moves the model away
    if len(devices) == 1 and device not in devices and not sharded_modules(trainer.lightning_module):
        device = devices.pop()
    with torch.inference_mode(mode=False):
        converted: Any = trainer.precision_plugin.convert_input(parts)
        return tuple(part.to(device) for part in converted)


def probe_from_loader(
    trainer: Any,
    loader: Any,
    question: Question,
    *,
    seed: int = 0,
    per_class: int | None = None,
    max_samples: int | None = None,
    max_scan: int = MAX_SCAN,
    display: Display | None = None,
) -> Probe:
    """Draw a probe from a loader's data set, by index: the default one from the validation loader.

    Items are picked by index rather than by iterating over the loader, whose iterator would draw from the global
    random stream. Hooks that change a batch see a validating Trainer, so that they do not augment it.

    Args:
        trainer: The Trainer, for converting batches.
        loader: One loader.
        question: Where batches hold input and target.
        seed: Seed of the choice.
        per_class: Most samples of each class.
        max_samples: Most samples in all; see `Probe.from_dataset`.
        max_scan: Most items read while looking for the classes.
        display: Tells where a batch holds the names of entities.

    Returns:
        The probe.

    Raises:
        NotPickableError: Samples cannot be picked by index (an iterable data set, a loader that is no DataLoader or
            makes its batches in its own way, a data set that gives whole batches, a collate function that drops items,
            samples of different sizes): then they must be kept as they pass.
        ConfigurationError: No input is recognised in a batch, or the data set is empty.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        raise NotPickableError
    if loader.batch_sampler is None:
        raise NotPickableError
    with rng_preserved(), streams_preserved(loader.collate_fn):
        picked = draw(
            loader.dataset,
            per_class=per_class,
            seed=seed,
            max_samples=max_samples,
            max_scan=max_scan,
            collate_fn=loader.collate_fn,
            target=question.target,
        )
        if not picked:
            raise ConfigurationError(
                f"The validation data set ({type(loader.dataset).__name__}) is empty, so there is nothing to explain. "
                "Give probe=Probe.from_dataset(...) another data set."
            )
        torch.manual_seed(seed)
        batch = like_the_trainer(trainer, collated(loader.collate_fn, [item for _, item in picked]))
    inputs, targets = input_of(batch, question.input), target_of(batch, question.target)
    check_one_each(batch, inputs, targets)
    if _n_samples(inputs) != len(picked):
        raise NotPickableError(f"The collate function makes {_n_samples(inputs)} samples of {len(picked)} items.")
    return Probe(
        inputs=inputs,
        targets=targets,
        indices=[index for index, _ in picked],
        entity_names=names_in(display, batch, len(picked)),
    )


def _n_samples(inputs: Inputs) -> int:
    part = inputs[0] if isinstance(inputs, tuple) else inputs
    return len(part) if part.ndim else 0


def check_one_each(batch: Any, inputs: Inputs, targets: Tensor | None) -> None:
    """Refuse a batch whose input is a list of samples, or has no target for each sample.

    Raises:
        ConfigurationError: As said.
    """
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    if targets is None or targets.ndim == 0 or {_n_samples(part) for part in parts} == {len(targets)}:
        return
    if isinstance(inputs, tuple) and len(inputs) == len(targets):
        raise ConfigurationError(
            f"A validation batch holds a list of {len(inputs)} samples, each a tensor of its own, as input: "
            f"{describe(batch)[:200]}. Samples are explained together, so they must be of one size. Give "
            "probe=Probe(inputs=..., targets=...) as tensors, and forward_fn=lambda module, x: module(list(x)) if the "
            "module takes a list."
        )
    time_first = any(part.ndim > 1 and part.shape[1] == len(targets) for part in parts)
    raise ConfigurationError(
        f"A validation batch has {[_n_samples(part) for part in parts]} rows of input but {len(targets)} targets: "
        f"{describe(batch)[:200]}. Say with input= and target= where one of each sample is, or give "
        f"probe=Probe(inputs=..., targets=...).{TIME_FIRST if time_first else ''}"
    )


TIME_FIRST = (
    " If samples lie along the second dimension (time first), give input=lambda batch: batch[0].transpose(0, 1) and "
    "forward_fn=lambda module, x: module(x.transpose(0, 1))."
)


class PassingProbe:
    """Collects the default probe from validation batches as they pass, where samples cannot be picked by index.

    Args:
        question: Where batches hold input and target.
        display: Tells where a batch holds the names of entities.
    """

    def __init__(self, question: Question, display: Display | None = None) -> None:
        self._question = question
        self._display = display
        self._by_shape: dict[tuple[torch.Size, ...], Drawing] = {}
        self._counts: Counter[tuple[torch.Size, ...]] = Counter()
        self._single = True
        self._seen = 0

    def add(self, batch: Any) -> None:
        """Keep clones of the samples of a batch that are still wanted.

        Raises:
            ConfigurationError: No input is recognised in the batch, or it is a list of samples.
        """
        inputs = input_of(batch, self._question.input)
        targets = target_of(batch, self._question.target)
        check_one_each(batch, inputs, targets)
        labels = class_labels(targets)
        names = names_in(self._display, batch, _n_samples(inputs))
        self._single = not isinstance(inputs, tuple)
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        shape = tuple(part.shape[1:] for part in parts)
        drawing = self._of_shape(shape)
        self._counts[shape] += len(parts[0])
        for row in range(len(parts[0])):
            # where a batch holds no labels, single samples of it may look as if they did
            own = class_labels(None if targets is None else targets[row : row + 1]) if labels is None else labels[row]
            label = None if own is None else int(own)
            sample = tuple(part[row] for part in parts)
            target = None if targets is None else targets[row]
            drawing.offer(label, self._seen, partial(_cloned, sample, target, names[row] if names else ()))
            self._seen += 1

    def _of_shape(self, shape: tuple[torch.Size, ...]) -> Drawing:
        if shape not in self._by_shape and len(self._by_shape) == MAX_SHAPES:
            return Drawing()  # samples of the shapes met first are enough
        return self._by_shape.setdefault(shape, Drawing())

    @property
    def shapes(self) -> list[str]:
        """Shapes of the samples that passed, the commonest first."""
        return [" and ".join(str(list(part)) for part in shape) for shape, _ in self._counts.most_common()]

    def probe(self) -> Probe | None:
        """Return the probe, of samples of the commonest shape; None while no sample has passed."""
        commonest = max(self._by_shape, key=lambda shape: self._counts[shape], default=None)
        picked = [] if commonest is None else self._by_shape[commonest].picked()
        if not picked:
            return None
        samples = [item for _, item in picked]
        parts = tuple(torch.stack(column) for column in zip(*(inputs for inputs, _, _ in samples), strict=True))
        targets = [target for _, target, _ in samples if target is not None]
        return Probe(
            inputs=parts[0] if self._single else parts,
            targets=torch.stack(targets) if targets else None,
            indices=[index for index, _ in picked],
            entity_names=[names for _, _, names in samples] if any(names for _, _, names in samples) else (),
        )


def _cloned(
    inputs: tuple[Tensor, ...], target: Tensor | None, names: tuple[str, ...]
) -> tuple[tuple[Tensor, ...], Tensor | None, tuple[str, ...]]:
    with torch.inference_mode(mode=False):
        parts = tuple(part.detach().cpu().clone() for part in inputs)
        return parts, None if target is None else target.cpu().clone(), names
