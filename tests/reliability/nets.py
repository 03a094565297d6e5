"""A network that leaves something behind wherever it can, in the variants of the matrix."""

import random
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from tests.models import Mapped, digits

EPS = 1e-4
"""Of AdamW; its default is zero in 16-bit numbers."""


class Restless(nn.Module):
    """Hands its input on; leaves traces in streams, buffers, attributes, metrics and switches."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))
        self.register_buffer("through_data", torch.zeros(2), persistent=False)
        self.register_buffer("replaced", torch.zeros(1))
        self.gain = nn.Parameter(torch.ones(1))
        self.mean = MeanMetric()
        self.loose = torch.zeros(2)
        self.calls = 0
        self.shapes: list[Any] = []
        self.table: dict[str, Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        draws = random.random() + float(np.random.rand()) + float(torch.rand(1))
        self.calls += 1
        self.shapes.append(tuple(x.shape))
        self.table[f"call {self.calls % 3}"] = draws
        self.seen += 1
        self.through_data.data.add_(1)
        self.replaced = self.replaced + 1
        self.loose += 1
        self.mean.update(x.detach().float().mean())
        self.gain.requires_grad_(self.training)
        return x * (1 + 0.01 * draws) * self.gain if self.training else x


class Late(nn.Module):
    """Makes what it needs in its first forward pass: a tensor, or a module."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.scale: Tensor | None = None
        self.by_size: dict[int, Tensor] = {}
        self.mixer: nn.Module | None = None
        # the network's own kind of numbers, which under autocast is not that of what comes in
        self.register_buffer("anchor", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "modules":
            if self.mixer is None:
                self.mixer = nn.Linear(x.shape[1], x.shape[1]).to(self.anchor.dtype)
            return self.mixer(x)
        if self.kind != "tensors" and self.training:
            # what was made under inference mode cannot be trained with; only evaluation uses it
            return x
        if self.scale is None:
            self.scale = torch.full((x.shape[1],), 1.5, dtype=x.dtype) + 0.01 * torch.rand(1)
        shift = self.by_size.setdefault(x.shape[1], torch.full((x.shape[1],), 0.25, dtype=x.dtype))
        return x * self.scale.to(x.dtype) + shift


def padded_block(*, norm_first: bool) -> nn.TransformerEncoderLayer:
    """Make a transformer layer that runs fused in validation as long as nobody puts a hook on it."""
    return nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=norm_first)


def off_by_a_little(graph: Any, inputs: Any) -> Callable[..., Any]:
    """Compile as a backend that rounds differently does: whatever is compiled gives other numbers than what is not."""
    del inputs
    return lambda *args: tuple(part * 1.001 if torch.is_floating_point(part) else part for part in graph(*args))


def _compiled(body: nn.Module, compiled: str) -> Any:
    if compiled == "nothing":
        return body
    if compiled == "in place":
        # modules of torch alone, which the compiler leaves as they are unless somebody puts a hook on one
        body.compile(backend=off_by_a_little)
        return body
    return torch.compile(body, backend=compiled)


class Net(pl.LightningModule):
    """A convnet on digits.

    Args:
        optimisation: `"automatic"`, or `"two optimizers"` for a network and a critic in turns, by hand.
        accumulate: Batches a step, and
        clip: how gradients are clipped, under manual optimisation.
        frozen: Whether the first layers are frozen in eval mode.
        lazy: What is made in the first forward pass.
        compiled: Backend for the body, or `"nothing"`.
        checkpointing: Whether the body is run again in the backward pass.
        block: A transformer layer beside the network, given rows of images and a padding mask: `"nothing"`,
            `"padded"`, or `"padded, norm first"`.
    """

    def __init__(
        self,
        *,
        optimisation: str,
        accumulate: int,
        clip: str,
        frozen: str,
        lazy: str,
        compiled: str,
        checkpointing: str,
        block: str = "nothing",
    ) -> None:
        super().__init__()
        self.automatic_optimization = optimisation == "automatic"
        self.accumulate, self.clip, self.checkpointing = accumulate, clip, checkpointing
        self.restless = Restless()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        body = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.body: Callable[..., Any] = _compiled(body, compiled)
        self.late = nn.Identity() if lazy in ("nothing", "layers") else Late(lazy)
        first = nn.LazyLinear(12) if lazy == "layers" else nn.Linear(96, 12)
        self.head = nn.Sequential(first, nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 10))
        self.critic = nn.Linear(10, 1)
        self.accuracy = MulticlassAccuracy(10)
        self.head[1].register_forward_hook(self._count)
        self.counted = 0
        if block != "nothing":
            self.block = padded_block(norm_first=block.endswith("norm first"))
        if frozen != "nothing":
            self.stem.requires_grad_(requires_grad=False)
            self.stem.eval()

    def _count(self, *_: Any) -> None:
        self.counted += 1

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(self.restless(x))
        again = self.checkpointing == "body" and self.training
        h = checkpoint(self.body, h, use_reentrant=False) if again else self.body(h)
        self.log("passes", float(self.counted))
        return self.head(self.late(h))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        scores = self(batch[0])
        self.accuracy.update(scores, batch[1])
        loss = functional.cross_entropy(scores, batch[1]) + self._beside(batch[0])
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("train_accuracy", self.accuracy)
        if self.automatic_optimization:
            return loss
        self._take_turns(loss, scores, batch_idx)
        return None

    def _beside(self, x: Tensor) -> Any:
        """Return a number that the transformer layer makes of the rows of images, some of which are padding."""
        if "block" not in self._modules:
            return 0.0
        rows = x.squeeze(1).to(self.block.linear1.weight.dtype)
        ends = 3 + torch.arange(len(rows)) % 5
        mask = torch.arange(rows.shape[1])[None] > ends[:, None]
        return self.block(rows, src_key_padding_mask=mask).masked_fill(mask[..., None], 0.0).pow(3).mean()

    def _take_turns(self, loss: Tensor, scores: Tensor, batch_idx: int) -> None:
        network, critic = self.optimizers()  # type: ignore[misc]
        self._step(network, loss - 0.1 * self.critic(scores).mean(), batch_idx)
        self._step(critic, (self.critic(scores.detach()) ** 2).mean(), batch_idx)

    def _step(self, optimizer: Any, loss: Tensor, batch_idx: int) -> None:
        self.toggle_optimizer(optimizer)
        self.manual_backward(loss / self.accumulate)
        if (batch_idx + 1) % self.accumulate == 0:
            if self.clip != "nothing":
                self.clip_gradients(optimizer, gradient_clip_val=0.1, gradient_clip_algorithm=self.clip)
            optimizer.step()
            optimizer.zero_grad()
        self.untoggle_optimizer(optimizer)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self(batch[0])
        self.log("val_loss", functional.cross_entropy(scores, batch[1]))
        # on its own: the last bits of it would be lost in a sum
        self.log("val_beside", float(self._beside(batch[0])))

    def configure_optimizers(self) -> Any:
        critic = list(self.critic.parameters())
        rest = [p for p in self.parameters() if p.requires_grad and all(p is not own for own in critic)]
        if self.automatic_optimization:
            return torch.optim.AdamW([*rest, *critic], lr=5e-3, eps=EPS)
        return [torch.optim.AdamW(rest, lr=5e-3, eps=EPS), torch.optim.SGD(critic, lr=1e-2)]


def _augmented(item: Any) -> Any:
    image, label = item
    return image * (1 + 0.1 * random.random() + 0.1 * float(np.random.rand())) + 0.05 * torch.rand(1), label


class Data(pl.LightningDataModule):
    """Shuffled digits whose items draw random numbers, in this process or in workers."""

    def __init__(self, *, workers: int) -> None:
        super().__init__()
        train, self.val = digits(48, 20)
        self.train = Mapped(train, _augmented)
        self.workers = workers

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train, batch_size=12, shuffle=True, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Mapped(self.val, _augmented), batch_size=10, num_workers=self.workers)
