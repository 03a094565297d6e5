"""The probe: fixed, held-out samples whose explanations are compared over the whole run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from lightning_explain.batches import Inputs, Selector, class_labels, input_of, target_of
from lightning_explain.display import Display
from lightning_explain.entity_names import Names, as_names, is_looked_up, names_in
from lightning_explain.errors import ConfigurationError
from lightning_explain.options.value_types import check_fields
from lightning_explain.sampling import Collate, collated, draw, seeded


def _frozen(tensor: Tensor) -> Tensor:
    # a clone: the user's tensor, or the dataset behind it, may change later; and one that autograd takes, though
    # `trainer.validate` draws its probe under inference mode
    with torch.inference_mode(mode=False):
        return tensor.detach().to("cpu", copy=True)


def _full_rank(mask: Tensor, like: Tensor) -> Tensor:
    """Expand a mask to the input's number of dimensions: [1 or batch, 1 or channels, ...].

    Raises:
        ConfigurationError: It does not fit.
    """
    given = list(mask.shape)
    # a batch as large as its samples have channels: nothing indicates which of the two a mask's first dimension is
    if mask.ndim == like.ndim - 1 > 1 and mask.shape[0] > 1 and mask.shape == like.shape[1:] and len(like) == given[0]:
        raise ConfigurationError(
            f"masks has shape {given}, which could be one for each sample or one for each channel; give "
            f"{[given[0], 1, *given[1:]]} or {[1, *given]}."
        )
    if mask.ndim < like.ndim and mask.shape == like.shape[like.ndim - mask.ndim :]:
        mask = mask.reshape((1,) * (like.ndim - mask.ndim) + mask.shape)  # one for all samples
    elif mask.ndim == like.ndim - 1:
        mask = mask.unsqueeze(1)  # one for each, alike for all channels
    fits = mask.ndim == like.ndim and all(m in (1, n) for m, n in zip(mask.shape, like.shape, strict=True))
    if not fits:
        raise ConfigurationError(
            f"masks has shape {given}; expected {list(like.shape)} like the inputs, the same without the channels, or "
            f"one mask for all samples, {list(like.shape[1:])} or {list(like.shape[2:] or like.shape[1:])}."
        )
    return mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """Held-out samples that are explained repeatedly, so that only the network changes.

    Attributes:
        inputs: Tensor [batch, ...], or a tuple of them that are explained together.
        targets: Class index per sample (LongTensor [batch]), or real values [batch] for regression, or None.
        class_names: Name of each class, for tags and pictures.
        feature_names: Name of each feature of tabular inputs.
        masks: Regions of interest, 1 inside and 0 outside: one for all samples ([height, width], [features]) or one
            each ([batch, height, width], [batch, features]), with or without a channel dimension. The share of
            attribution inside them is logged.
        indices: Where the samples stand in the data set they were drawn from; empty when given directly.
        display: How the samples are shown: normalisation undone, words of tokens, names of several inputs. It belongs
            here rather than to one monitor, since it says what the numbers of these samples are, and every monitor
            draws them; it is no part of the question, so neither of the fingerprint nor of checkpoints.
        entity_names: For sets and graphs: names of the entities of each sample; by default those that `display` gives.

    Raises:
        ConfigurationError: The probe is empty, or its parts do not fit together.

    Example:
        >>> probe = Probe(inputs=torch.rand(4, 1, 8, 8), targets=torch.tensor([0, 0, 1, 1]))
        >>> len(probe), probe.class_name(1)
        (4, '1')
    """

    inputs: Inputs
    targets: Tensor | None = None
    class_names: Sequence[str] = ()
    feature_names: Sequence[str] = ()
    masks: Tensor | None = None
    indices: Sequence[int] = field(default=())
    display: Display | None = None
    entity_names: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        check_fields(self, Probe, dict.fromkeys(("inputs", "targets", "masks"), "torch.as_tensor(...) makes a tensor."))
        parts = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        frozen = tuple(_frozen(part) for part in parts)
        object.__setattr__(self, "inputs", frozen if isinstance(self.inputs, tuple) else frozen[0])
        object.__setattr__(self, "class_names", tuple(str(name) for name in self.class_names))
        object.__setattr__(self, "feature_names", tuple(str(name) for name in self.feature_names))
        object.__setattr__(self, "indices", tuple(int(index) for index in self.indices))
        object.__setattr__(self, "entity_names", self._names())
        if self.masks is not None:
            object.__setattr__(self, "masks", _full_rank(_frozen(self.masks).float(), self.parts[0]))
        if self.targets is not None:
            labels = class_labels(self.targets)
            object.__setattr__(self, "targets", _frozen(self.targets if labels is None else labels))
        self._check()

    def _names(self) -> Names:
        display = self.display or Display()
        given = self.entity_names or (() if is_looked_up(display.entity_names) else display.entity_names or ())
        return as_names(given, replace(display, entity_names=given), len(self)) if given else ()

    def _check(self) -> None:
        sizes = {len(part) if part.ndim else 0 for part in self.parts}
        if not self.parts or sizes == {0}:
            raise ConfigurationError(
                "The probe is empty: there is nothing to explain. Give Probe(inputs=...) at least one sample, or check "
                "that the data set behind Probe.from_dataset holds any."
            )
        if len(sizes) > 1:
            raise ConfigurationError(f"The probe's inputs have different numbers of samples: {sorted(sizes)}.")
        if self.targets is not None and (self.targets.ndim == 0 or len(self.targets) != len(self)):
            raise ConfigurationError(
                f"The probe has {len(self)} inputs but {len(self.targets) if self.targets.ndim else 'no list of'} "
                "targets; expected one each."
            )
        labels = self.labels
        if labels is not None and int(labels.min()) < 0:
            raise ConfigurationError(
                f"The probe's targets contain class index {int(labels.min())}; expected 0 or more."
            )
        if labels is not None and self.class_names and int(labels.max()) >= len(self.class_names):
            raise ConfigurationError(
                f"The probe's targets contain class index {int(labels.max())}, but class_names has only "
                f"{len(self.class_names)} names: {', '.join(self.class_names)}."
            )
        self._check_features()
        for index, part in enumerate(self.parts):
            if self.display is not None:
                self.display.check_channels(part, index)

    def _check_features(self) -> None:
        n_features = [part[0].numel() for part in self.parts]
        if self.feature_names and len(self.feature_names) not in n_features:
            raise ConfigurationError(
                f"feature_names has {len(self.feature_names)} names, but a probe sample has "
                f"{' and '.join(str(n) for n in n_features)} features."
            )

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The inputs as a tuple, whether they are one tensor or several."""
        return self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)

    @property
    def labels(self) -> Tensor | None:
        """The targets as class indices [batch]; None for regression."""
        return class_labels(self.targets)

    def class_name(self, index: int) -> str:
        """Name a class: its given name, or its index."""
        return self.class_names[index] if index < len(self.class_names) else str(index)

    @property
    def fingerprint(self) -> str:
        """A digest of the samples: two probes with the same one ask the same question."""
        digest = hashlib.sha256()
        for part in (*self.parts, *([] if self.targets is None else [self.targets])):
            digest.update(f"{part.dtype}{list(part.shape)}".encode())
            digest.update(part.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def state_dict(self) -> dict[str, Any]:
        """Return the probe as plain tensors, lists and strings, which `torch.load(weights_only=True)` accepts."""
        return {
            "inputs": list(self.parts),
            "single": not isinstance(self.inputs, tuple),
            "targets": self.targets,
            "class_names": list(self.class_names),
            "feature_names": list(self.feature_names),
            "masks": self.masks,
            "indices": list(self.indices),
            "entity_names": [list(names) for names in self.entity_names],
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "Probe":
        """Rebuild a probe from `state_dict`."""
        parts = tuple(state["inputs"])
        return cls(
            inputs=parts[0] if state["single"] else parts,
            targets=state["targets"],
            class_names=state["class_names"],
            feature_names=state["feature_names"],
            masks=state["masks"],
            indices=state["indices"],
            entity_names=state.get("entity_names", ()),  # checkpoints of before there were entities have none
        )

    @classmethod
    def from_dataset(
        cls,
        dataset: Dataset[Any] | Sequence[Any],
        *,
        per_class: int | None = None,
        seed: int = 0,
        max_samples: int | None = None,
        max_scan: int = 2048,
        collate_fn: Collate = default_collate,
        input: Selector = None,  # noqa: A002 - the name every callback uses for it
        target: Selector = None,
        class_names: Sequence[str] = (),
        feature_names: Sequence[str] = (),
        display: Display | None = None,
    ) -> "Probe":
        """Draw a class-balanced probe from a data set, the same one for the same seed.

        The data set is walked in a seeded random order until every class seen has its part and no new one turns up, or
        `max_scan` items were read. By default 40 samples are shared out evenly among up to ten classes (20 of each of
        two, 4 of each of ten), and of more classes four of each are taken, 64 in all; what a class is short of goes to
        the others. Without class labels the first `max_samples` of that order are taken, by default 64. The global
        random streams end as they began, also where reading an item draws from them.

        Args:
            dataset: Map-style, or iterable (then its first items are read in their own order).
            per_class: Most samples of each class; by default as many as there is room for.
            seed: Seed of the order, and of whatever random transforms the data set applies.
            max_samples: Most samples in all, shared out evenly; with many classes each gets fewer than `per_class`. By
                default 64 with `per_class`, and as said above without.
            max_scan: Most items read while looking for the classes.
            collate_fn: How items become a batch; the DataLoader's own.
            input: Where the input is in a batch (index, key, attribute or callable).
            target: Where the target is.
            class_names: Names of the classes.
            feature_names: Names of the features of tabular inputs.
            display: How the samples are shown.

        Raises:
            ConfigurationError: The data set is empty, or no input is recognised in its batches.

        Example:
            >>> data = torch.utils.data.TensorDataset(torch.rand(30, 5), torch.arange(30) % 3)
            >>> Probe.from_dataset(data, per_class=2).targets
            tensor([0, 0, 1, 1, 2, 2])
        """
        if (per_class is not None and per_class < 1) or (max_samples is not None and max_samples < 1):
            raise ConfigurationError(
                f"per_class={per_class} and max_samples={max_samples}; expected at least 1 of each."
            )
        picked = draw(
            dataset,
            per_class=per_class,
            seed=seed,
            max_samples=max_samples,
            max_scan=max_scan,
            collate_fn=collate_fn,
            target=target,
        )
        if not picked:
            raise ConfigurationError(
                f"{type(dataset).__name__} gave no samples, so the probe would be empty. "
                "Check the data set, or give Probe(inputs=..., targets=...)."
            )
        with seeded(seed, collate_fn):
            batch = collated(collate_fn, [item for _, item in picked])
        return cls(
            inputs=input_of(batch, input),
            targets=target_of(batch, target),
            class_names=class_names,
            feature_names=feature_names,
            indices=[index for index, _ in picked],
            display=display,
            entity_names=names_in(display, batch, len(picked)),
        )
