"""LRP by family of network, in gradient passes: `python benchmarks/lrp_families.py [FAMILY ...] [--batch 8]`.

Needs timm, or torchvision for families named `torchvision/...`. Random weights, processor time of one thread, medians
of interleaved runs. For each family: what `LRP()` costs in time and in peak memory, whether its relevance adds up with
`attention="cp"` and all offsets zero (in 64 bits, without epsilon), which parts of the output offsets take and
softmaxes lose as the network comes (medians of the samples), and, where autolrp is installed, what that costs with the
same rules (z+ in convolutions, epsilon elsewhere), and the time of `LRP()` over it.
"""

import argparse
import importlib
import importlib.util
import statistics
import warnings
from typing import Any

import torch
from measuring import peak_megabytes, seconds
from torch import Tensor, nn

from lightning_explain.attribution import LRP, Epsilon

FAMILIES = (
    "resnet18", "vgg11", "densenet121", "mobilenetv3_small_100", "mobilenetv4_conv_small", "efficientnet_b0",
    "convnext_atto", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224",
    "maxvit_rmlp_pico_rw_256", "regnetx_002", "mixer_s32_224", "resnext50_32x4d", "coatnet_pico_rw_224",
    "tf_efficientnetv2_b0", "ghostnet_100", "edgenext_xx_small", "poolformer_s12", "xcit_nano_12_p16_224", "hgnetv2_b0",
    "fastvit_t8", "repvgg_a0", "inception_next_tiny", "resmlp_12_224", "eva02_tiny_patch14_224",
)  # fmt: skip
OFFSETS = (
    "bias", "pos_embed", "cls_token", "class_token", "reg_token", "dist_token", "position", "token_projection",
    "token_type", "wpe", "embed_positions", "class_embedding", "seg_embed", "in_proj_bias", "beta", "sinks", "conv_dim",
)  # fmt: skip
HEADING = (
    "| network | gradient passes | memory | off without offsets | offsets absorb | softmaxes lose | autolrp | "
    "ours : autolrp |"
)


def without_offsets(net: nn.Module) -> nn.Module:
    """Set everything that is added, and does not depend on the input, to zero."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if any(offset in name for offset in OFFSETS) and "relative_position" not in name:
                parameter.zero_()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.zero_()
    return net


def by_autolrp(net: nn.Module, x: Tensor, y: Tensor) -> Tensor | None:
    """Explain by autolrp with z+ in convolutions; None where it is not installed or does not run."""
    if importlib.util.find_spec("autolrp") is None:
        return None
    autolrp: Any = importlib.import_module("autolrp")
    try:
        carried = autolrp.tensor(x.clone())
        score = net(carried).gather(1, y[:, None]).sum()
        score.lrp(config=autolrp.LRPConfig.composite())
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError, NotImplementedError) as error:
        print(f"autolrp: {type(error).__name__} {str(error).splitlines()[0][:80]}")
        return None
    return carried.relevance


def network_of(family: str) -> tuple[nn.Module, int]:
    """Make a network with random weights; the size of its images."""
    if family.startswith("torchvision/"):
        models: Any = importlib.import_module("torchvision.models")
        return models.get_model(family.removeprefix("torchvision/"), weights=None).eval(), 224
    timm: Any = importlib.import_module("timm")
    net = timm.create_model(family, pretrained=False, num_classes=10).eval()
    head = net.get_classifier()
    if isinstance(head, nn.Linear):
        # some begin with a head of zeros, which explains nothing
        nn.init.normal_(head.weight, std=0.05)
    return net, net.pretrained_cfg["input_size"][-1]


def percent(shares: Tensor | None) -> str:
    """Return the median of the samples' shares."""
    return "" if shares is None else f"{float(shares.nanmedian()):.0%}"


def row_of(
    name: str,
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    repeats: int,
    *,
    beside_autolrp: bool = True,
    in_double: bool = True,
) -> str:
    """Measure one network, which is changed: its offsets are set to zero.

    Args:
        name: The network's name.
        net: Takes `x` and returns scores [batch, outputs].
        x: Its input.
        y: The outputs to explain.
        repeats: Interleaved runs to take the medians of.
        beside_autolrp: Whether to run autolrp too.
        in_double: Whether the network runs in 64 bits.
    """

    def gradient_pass() -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(net(leaf).gather(1, y[:, None]).sum(), leaf)[0]

    def explained() -> Any:
        return LRP()(net, x, y)

    found = explained()
    memory = peak_megabytes(explained) / peak_megabytes(gradient_pass)
    times = [(seconds(gradient_pass), seconds(explained)) for _ in range(repeats)]
    base, taken = (statistics.median(column) for column in zip(*times, strict=True))
    peer = "| |"
    if beside_autolrp and by_autolrp(net, x, y) is not None:
        theirs = statistics.median(seconds(lambda: by_autolrp(net, x, y)) for _ in range(min(repeats, 2)))
        peer = f"| {theirs / base:.2f} | {taken / theirs:.2f} |"
    exact_net, exact_x = without_offsets(net), x[:1]
    if in_double:
        exact_net, exact_x = exact_net.double(), exact_x.double()
    exact = LRP(Epsilon(0.0), attention="cp")(exact_net, exact_x, y[:1])
    score = exact.values.flatten(1).sum(1) - exact.convergence_delta
    off = float((exact.convergence_delta / score).abs().max())
    shares = f"{percent(found.absorbed_share)} | {percent(found.softmax_share)}"
    return f"| {name} | {taken / base:.2f} | {memory:.2f} | {off:.0e} | {shares} {peer}"


def family_row(family: str, batch: int, repeats: int) -> str:
    """Measure one family."""
    torch.manual_seed(0)
    net, size = network_of(family)
    return row_of(family, net, torch.randn(batch, 3, size, size), torch.arange(batch) % 10, repeats)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"{HEADING}\n|{'---|' * 8}")
    for family in arguments.families or FAMILIES:
        if importlib.util.find_spec(family.partition("/")[0] if "/" in family else "timm") is None:
            print(f"{family}: left out, its library is not installed (pip install timm torchvision)")
            continue
        print(family_row(family, arguments.batch, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
