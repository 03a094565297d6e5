"""The one number per sample that is explained, and its gradient at the inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.result import Target, parts_of
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError, ExplanationError

Scores = Callable[..., Any]


def target_tensor(target: Target, n_samples: int, device: torch.device) -> Tensor | None:
    """Return the target as LongTensor [batch].

    Raises:
        ConfigurationError: It is neither an int nor one integer per sample.
    """
    if target is None:
        return None
    if isinstance(target, int):
        return torch.full((n_samples,), target, dtype=torch.long, device=device)
    if target.shape != (n_samples,) or target.is_floating_point() or target.dtype == torch.bool:
        raise ConfigurationError(
            f"target has shape {list(target.shape)} and dtype {target.dtype}; expected one class index per sample, "
            f"a LongTensor [{n_samples}], or a single int, or None for a model with one output."
        )
    # a clone: autograd keeps the indices, and refuses to keep a tensor made under inference mode
    return target.to(device=device, dtype=torch.long).clone()


def check_target(target: Tensor | None, n_outputs: int) -> None:
    """Refuse class indices that the output does not have.

    Raises:
        ConfigurationError: Some index is negative or too large.
    """
    if target is None or target.numel() == 0:
        return
    low, high = int(target.min()), int(target.max())
    if low < 0 or high >= n_outputs:
        wrong = low if low < 0 else high
        raise ConfigurationError(
            f"target contains class index {wrong}, but the model's output has {n_outputs} columns "
            f"(classes 0 to {n_outputs - 1}). Check the labels of the probe; give samples without a class a negative "
            f"label, e.g. target=lambda batch: batch[1].masked_fill(batch[1] == {wrong}, -100), and classes that begin "
            "at 1 as target=lambda batch: batch[1] - 1; or choose one number for each sample, e.g. output=lambda out: "
            "out.sum(1) for thresholds of ordered classes, with target=lambda batch: None."
        )


def explained_score(output: Any, target: Tensor | None) -> Tensor:
    """Pick the explained output of each sample: [batch].

    Args:
        output: Scores [batch, classes], or [batch] or [batch, 1] for a scalar output.
        target: Index per sample [batch], or None for a scalar output.

    Raises:
        ConfigurationError: The output is no such tensor, or has several columns and no target was given.

    Example:
        >>> explained_score(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
        tensor([2., 3.])
    """
    if not isinstance(output, Tensor) or output.ndim == 0:
        raise ConfigurationError(
            f"The model returned {type(output).__name__}; expected scores as a tensor [batch, classes] or [batch]. "
            "Use output= (callbacks) or wrap the model in a function that returns the scores."
        )
    if target is None:
        if output.numel() != len(output):
            raise ConfigurationError(
                f"The model's output has shape {list(output.shape)}, so it must be said which output is explained: "
                "give target= an index, or one index per sample as a LongTensor [batch]."
            )
        return output.reshape(len(output))
    if output.ndim == 1:
        output = output[:, None]
    if output.ndim != 2:
        raise ConfigurationError(
            f"The model's output has shape {list(output.shape)}; expected [batch, classes]. Choose a scalar per sample "
            "with output= (e.g. output=lambda out: out.mean(dim=(2, 3)))."
        )
    check_target(target, output.shape[1])
    return output.gather(1, target[:, None]).squeeze(1)


AT_EMBEDDING = (
    "Explain token ids at their embedding: AtEmbedding(IntegratedGradients()), from lightning_explain.attribution, "
    "does so with any gradient method."
)
FLOATS = (
    "Give floats: a monitor draws them by input=lambda batch: batch[0].float(), or batch['image'].float() of mappings, "
    "and takes them by probe=Probe(inputs=images.float()), which leaves the run as it is; the run gets "
    "them as well where the data set or on_after_batch_transfer converts them."
)


LABELS = (
    "One integer a sample looks like its label: say where batches hold the inputs and the labels, for (labels, inputs) "
    "with input=1, target=0."
)


def look_like_tokens(inputs: Sequence[Tensor]) -> bool:
    """Return True if inputs may be token ids: integers [batch, tokens], neither bytes nor truth values.

    Example:
        >>> look_like_tokens([torch.tensor([[3, 7]])]), look_like_tokens([torch.zeros(1, 1, 2, 2, dtype=torch.uint8)])
        (True, False)
    """
    return all(
        part.ndim == 2 and not part.is_floating_point() and part.dtype not in (torch.uint8, torch.bool)
        for part in inputs
    )


def check_differentiable(inputs: tuple[Tensor, ...], *, tokens: str = AT_EMBEDDING) -> None:
    """Refuse inputs of which none has a gradient: token ids have none, nor have pixels in bytes.

    Args:
        inputs: Each [batch, ...].
        tokens: Remedy named in the message where they look like token ids.

    Raises:
        ConfigurationError: No input is of floating-point type.
    """
    if any(part.is_floating_point() for part in inputs):
        return
    dtypes = ", ".join(str(part.dtype) for part in inputs)
    remedy = LABELS if all(part.ndim == 1 for part in inputs) else tokens if look_like_tokens(inputs) else FLOATS
    raise ConfigurationError(f"The input has dtype {dtypes}, which has no gradient. {remedy}")


def attached_score(forward: Scores, inputs: tuple[Tensor, ...], target: Tensor | None) -> Tensor:
    """Compute the explained score of each sample with its graph: [batch].

    Raises:
        ExplanationError: The output does not depend on the inputs in a differentiable way.
    """
    score = explained_score(forward(*inputs), target)
    if not score.requires_grad:
        raise ExplanationError(
            "The model's output does not depend on its input through differentiable operations (was it detached, "
            "computed with no_grad, or rounded?), so no gradient can be taken. "
            "Give forward_fn= a function that returns the scores with their graph."
        )
    return score


def score_gradients(
    forward: Scores, inputs: tuple[Tensor, ...], target: Tensor | None
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Differentiate the explained score at the inputs.

    Args:
        forward: Inputs to scores.
        inputs: Each [batch, ...]; leaves that require grad, or what is only carried along (token ids, masks).
        target: Explained output per sample, or None.

    Returns:
        The gradient at each input, zeros where it is only carried along, and the explained scores [batch], detached.

    Raises:
        ExplanationError: The output does not depend on the inputs in a differentiable way.

    Cost: one forward and one backward pass, without parameter gradients.
    """
    score = attached_score(forward, inputs, target)
    leaves = [part for part in inputs if part.requires_grad]
    found = iter(torch.autograd.grad(score.sum(), leaves, materialize_grads=True))
    gradients = (next(found) if part.requires_grad else torch.zeros(part.shape, device=part.device) for part in inputs)
    return tuple(gradients), score.detach()


def check_finite(values: tuple[Tensor, ...], score: Tensor, inputs: Sequence[Tensor] = ()) -> None:
    """Refuse explanations that contain NaN or infinity, naming the samples.

    Args:
        values: By sample [batch, ...].
        score: Explained score of each sample [batch].
        inputs: The explained inputs, whose own NaN and infinity are named as the cause.

    Raises:
        ExplanationError: Some value or some explained score is not finite.
    """
    # a sum is quick, and finite only where everything in it is; where it is not, it may only have grown too large
    if all(bool(part.sum().isfinite()) for part in (*values, score)):
        return
    bad = ~score.isfinite() | _not_finite(values, score)
    if bool(bad.any()):
        samples = bad.nonzero().flatten().tolist()
        missing = _not_finite(inputs, score).nonzero().flatten().tolist()
        if missing:
            raise ExplanationError(
                f"The inputs of {len(missing)} of {len(bad)} samples themselves hold NaN or infinity (first: sample "
                f"{missing[0]}), and what such a feature contributes is no number. If they stand for missing values, "
                "let the data set fill them in and give the model a mask beside them, or explain samples without them: "
                "probe=Probe(inputs=..., targets=...)."
            )
        raise ExplanationError(
            f"The gradients or scores of {len(samples)} of {len(bad)} samples are NaN or infinite (first: sample "
            f"{samples[0]}). Usual causes: training has diverged, a sqrt or log at zero, or 16-bit overflow. "
            "Look at the loss, lower the learning rate, or clip gradients."
        )


def _not_finite(parts: Sequence[Tensor], score: Tensor) -> Tensor:
    """Mark the samples that hold NaN or infinity: boolean [batch]."""
    bad = torch.zeros_like(score, dtype=torch.bool)
    for part in parts:
        finite = part.detach().isfinite()
        bad = bad | ~(finite.flatten(1).all(1) if part.ndim > 1 else finite)
    return bad


def prepared(inputs: Inputs, target: Target) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Clone the inputs and bring the target to one index per sample; call it inside `explaining`.

    The clones are needed because tensors made under inference mode cannot take part in autograd.

    Raises:
        ConfigurationError: No samples, no input of floating-point type, or a target that is no index per sample.
    """
    parts = tuple(part.detach().clone() for part in parts_of(inputs))
    if any(part.ndim and not len(part) for part in parts):
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise ConfigurationError(f"The inputs have shape {shapes}: there is no sample to explain. Give at least one.")
    check_differentiable(parts)
    return parts, target_tensor(target, len(parts[0]), parts[0].device)


def check_counts(**counts: int | None) -> None:
    """Refuse options that count something and are below 1; None stands for a default.

    Raises:
        ConfigurationError: Names the option and its value.

    Example:
        >>> check_counts(n_steps=3, chunk_size=None)
    """
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ConfigurationError(f"{name}={count}; expected at least 1.")
