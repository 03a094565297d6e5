"""LRP of models that are no timm family, in gradient passes: `python benchmarks/lrp_models.py [GROUP or MODEL ...]`.

Groups: `torch` (its own attention and recurrent layers), `tabular`, `transformers` (small random configurations, by
`inputs_embeds` or `pixel_values`; left out with a message where the library is missing). The columns are those of
`lrp_families.py`, whose command also takes `torchvision/...`.
"""

import argparse
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lrp_families import HEADING, row_of
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

WIDTH, TOKENS, BATCH = 256, 64, 8
IMAGE = 128


class Scored(nn.Module):
    """A body, the mean of what it gives over tokens, and a linear head."""

    def __init__(self, body: nn.Module, call: Callable[[nn.Module, Tensor], Tensor], width: int = WIDTH) -> None:
        super().__init__()
        self.body, self.call, self.head = body, call, nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores [batch, 10]."""
        return self.head(self.call(self.body, x).mean(1))


class FeatureTokens(nn.Module):
    """The FT-Transformer: a token for each number of a row, a class token and an encoder."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_features, WIDTH) * 0.3)
        self.bias = nn.Parameter(torch.randn(n_features, WIDTH) * 0.3)
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.3)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, batch_first=True, norm_first=True, activation="gelu")
        self.encoder, self.head = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Read the class token."""
        tokens = x[:, :, None] * self.weight + self.bias
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)
        return self.head(self.encoder(tokens)[:, 0])


class GatedFeatures(nn.Module):
    """Gated stages that select features, in the manner of GANDALF."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.masks = nn.Parameter(torch.randn(3, n_features))
        self.gates = nn.ModuleList(nn.Linear(2 * n_features, 2 * n_features) for _ in range(3))
        self.news = nn.ModuleList(nn.Linear(2 * n_features, n_features) for _ in range(3))
        self.head = nn.Linear(n_features, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Go through the stages."""
        h = x
        for mask, gate, new in zip(self.masks, self.gates, self.news, strict=True):
            chosen = mask.softmax(0) * x
            update, reset = torch.sigmoid(gate(torch.cat([chosen, h], 1))).chunk(2, 1)
            candidate = torch.tanh(new(torch.cat([reset * h, chosen], 1)))
            h = (1 - update) * h + update * candidate
        return self.head(h)


class SequentialAttention(nn.Module):
    """Steps that attend to features by sparsemax, with gated linear units, in the manner of TabNet."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_features)
        self.steps = nn.ModuleList(nn.Linear(n_features, 2 * WIDTH) for _ in range(3))
        self.attending = nn.ModuleList(nn.Linear(WIDTH, n_features) for _ in range(3))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Add up what the steps decide."""
        x = self.norm(x)
        chosen, decided = x, 0
        for step, attending in zip(self.steps, self.attending, strict=True):
            hidden = functional.glu(step(chosen))
            decided = decided + hidden.relu()
            scores = attending(hidden)
            ordered = scores.sort(1, descending=True).values
            place = torch.arange(1, x.shape[1] + 1, device=x.device)
            above = 1 + place * ordered.detach() > ordered.detach().cumsum(1)
            n = above.sum(1, keepdim=True)
            chosen = x * (scores - ((ordered * above).sum(1, keepdim=True) - 1) / n).relu()
        return self.head(decided)


def encoder(*, norm_first: bool, activation: str) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        WIDTH, 4, 2 * WIDTH, activation=activation, norm_first=norm_first, batch_first=True
    )
    return Scored(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), lambda body, x: body(x))


def attention(**options: Any) -> nn.Module:
    return Scored(nn.MultiheadAttention(WIDTH, 4, batch_first=True), lambda body, x: body(x, x, x, **options)[0])


def recurrent(kind: type[nn.Module], **options: Any) -> nn.Module:
    width = WIDTH * (2 if options.get("bidirectional") else 1)
    return Scored(kind(WIDTH, WIDTH, 2, batch_first=True, **options), lambda body, x: body(x)[0], width)


def packed(kind: type[nn.Module]) -> nn.Module:
    def call(body: nn.Module, x: Tensor) -> Tensor:
        lengths = torch.linspace(TOKENS, TOKENS // 2, len(x)).long()
        return body(pack_padded_sequence(x, lengths, batch_first=True))[0].data[None].expand(len(x), -1, -1)

    return Scored(kind(WIDTH, WIDTH, batch_first=True), call)


CAUSAL = torch.ones(TOKENS, TOKENS).triu(1).bool()
OWN: dict[str, Callable[[], nn.Module]] = {
    "TransformerEncoder, norm last, ReLU": lambda: encoder(norm_first=False, activation="relu"),
    "TransformerEncoder, norm first, GELU": lambda: encoder(norm_first=True, activation="gelu"),
    "MultiheadAttention": lambda: attention(need_weights=False),
    "MultiheadAttention, causal": lambda: attention(attn_mask=CAUSAL, is_causal=True, need_weights=False),
    "MultiheadAttention, weights asked for": attention,
    "LSTM, bidirectional": lambda: recurrent(nn.LSTM, bidirectional=True),
    "GRU, bidirectional": lambda: recurrent(nn.GRU, bidirectional=True),
    "RNN": lambda: recurrent(nn.RNN),
}
TABULAR: dict[str, Callable[[], nn.Module]] = {
    "FT-Transformer": lambda: FeatureTokens(TOKENS),
    "in the manner of GANDALF": lambda: GatedFeatures(TOKENS),
    "in the manner of TabNet": lambda: SequentialAttention(TOKENS),
}

COMMON = {"hidden_size": WIDTH, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 2 * WIDTH}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GROUPED = {**COMMON, **SPECIAL, "num_key_value_heads": 2}
T5 = {"d_model": WIDTH, "d_kv": 16, "d_ff": 2 * WIDTH, "num_layers": 3, "num_heads": 4}
BART = {
    "d_model": WIDTH, "encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 2 * WIDTH, "decoder_ffn_dim": 2 * WIDTH,
}  # fmt: skip
PATCHES = {**COMMON, "image_size": IMAGE, "patch_size": 8}
HEADS = {"num_attention_heads": [1, 2, 4, 4]}
STAGES = {"depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 32, 64]}


@dataclass(frozen=True)
class Entry:
    """A model of the transformers library.

    Attributes:
        model: Its class; its configuration's has the same name with `Config` at the end.
        options: Of the configuration.
        is_image: Whether it takes images.
        in_double: Whether it runs in 64 bits.
        config: Name of the configuration's class where that is another.
        part: The part to explain, empty for all.
    """

    model: str
    options: dict[str, Any]
    is_image: bool = False
    in_double: bool = True
    config: str = ""
    part: str = ""


TRANSFORMERS: dict[str, Entry] = {
    "BERT": Entry("BertModel", COMMON),
    "DistilBERT": Entry("DistilBertModel", {"dim": WIDTH, "n_layers": 3, "n_heads": 4, "hidden_dim": 2 * WIDTH}),
    "RoBERTa": Entry("RobertaModel", COMMON),
    "ModernBERT": Entry("ModernBertModel", {**COMMON, **SPECIAL, "cls_token_id": 1, "sep_token_id": 2}),
    "DeBERTa-v2": Entry("DebertaV2Model", {**COMMON, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "ELECTRA": Entry("ElectraModel", {**COMMON, "embedding_size": WIDTH}),
    "ALBERT": Entry("AlbertModel", {**COMMON, "embedding_size": WIDTH}),
    "MPNet": Entry("MPNetModel", COMMON),
    "ESM": Entry("EsmModel", {**COMMON, "pad_token_id": 1, "position_embedding_type": "rotary"}),
    "RoFormer": Entry("RoFormerModel", COMMON),
    "ConvBERT": Entry("ConvBertModel", {**COMMON, "embedding_size": WIDTH, "conv_kernel_size": 3}),
    "SqueezeBERT": Entry("SqueezeBertModel", {**COMMON, "embedding_size": WIDTH}),
    "Funnel": Entry(
        "FunnelBaseModel", {"d_model": WIDTH, "n_head": 4, "d_head": 16, "d_inner": 2 * WIDTH, "block_sizes": [1, 1]},
        config="FunnelConfig",
    ),
    "Longformer": Entry("LongformerModel", {**COMMON, "attention_window": 8}),
    "BigBird": Entry("BigBirdModel", {**COMMON, "attention_type": "original_full"}),
    "Nystromformer": Entry("NystromformerModel", {**COMMON, "segment_means_seq_len": TOKENS, "num_landmarks": 8}),
    "FNet": Entry("FNetModel", {k: v for k, v in COMMON.items() if "heads" not in k}),
    "XLNet": Entry("XLNetModel", {"d_model": WIDTH, "n_layer": 3, "n_head": 4, "d_inner": 2 * WIDTH}),
    "BART encoder": Entry("BartModel", BART, part="encoder"),
    "T5 encoder": Entry("T5EncoderModel", T5, config="T5Config"),
    "T5 encoder, gated": Entry("T5EncoderModel", {**T5, "feed_forward_proj": "gated-gelu"}, config="T5Config"),
    "GPT-2": Entry("GPT2Model", {"n_embd": WIDTH, "n_layer": 3, "n_head": 4}),
    "GPT-NeoX": Entry("GPTNeoXModel", COMMON),
    "OPT": Entry("OPTModel", {**{k: v for k, v in COMMON.items() if "inter" not in k}, "ffn_dim": 2 * WIDTH,
                              "word_embed_proj_dim": WIDTH}),
    "Llama": Entry("LlamaModel", GROUPED),
    "Mistral": Entry("MistralModel", GROUPED),
    "Mixtral": Entry("MixtralModel", {**GROUPED, "num_local_experts": 4}, in_double=False),
    "Qwen3": Entry("Qwen3Model", {**GROUPED, "head_dim": 16}),
    "Gemma": Entry("GemmaModel", {**GROUPED, "head_dim": 16}),
    "Gemma 3": Entry("Gemma3TextModel", {**GROUPED, "head_dim": 16}, config="Gemma3TextConfig"),
    "gpt-oss": Entry(
        "GptOssModel", {**GROUPED, "head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2}, in_double=False
    ),
    "Phi": Entry("PhiModel", COMMON),
    "Phi-3": Entry("Phi3Model", GROUPED),
    "Cohere": Entry("CohereModel", GROUPED),
    "OLMo 2": Entry("Olmo2Model", GROUPED),
    "Mamba": Entry("MambaModel", {"hidden_size": WIDTH, "num_hidden_layers": 2, "state_size": 4}),
    "Mamba 2": Entry(
        "Mamba2Model",
        {"hidden_size": WIDTH, "num_hidden_layers": 2, "state_size": 8, "num_heads": 8, "head_dim": WIDTH // 4,
         "n_groups": 1},
    ),
    "ViT": Entry("ViTModel", PATCHES, is_image=True),
    "CLIP vision": Entry("CLIPVisionModel", PATCHES, is_image=True),
    "SigLIP vision": Entry("SiglipVisionModel", PATCHES, is_image=True),
    "DINOv2": Entry("Dinov2Model", PATCHES, is_image=True),
    "BEiT": Entry("BeitModel", {**PATCHES, "use_relative_position_bias": True}, is_image=True),
    "Swin": Entry("SwinForImageClassification", {"image_size": IMAGE, "embed_dim": 32, "depths": [1, 1],
                                                 "num_heads": [2, 4], "window_size": 4}, is_image=True),
    "ConvNeXt": Entry("ConvNextForImageClassification", STAGES, is_image=True),
    "SegFormer": Entry("SegformerForImageClassification", {**STAGES, **HEADS}, is_image=True),
    "PVT": Entry("PvtForImageClassification", {**STAGES, **HEADS, "image_size": IMAGE}, is_image=True),
}  # fmt: skip


class OfLibrary(nn.Module):
    """A model of the transformers library as one from embedded tokens, or images, to ten numbers."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        library: Any = importlib.import_module("transformers")
        name = entry.config or entry.model.replace("ForImageClassification", "Model").removesuffix("Model") + "Config"
        options = {**entry.options, **({"num_labels": 10} if entry.is_image else {"vocab_size": 60})}
        net: Any = getattr(library, entry.model)(getattr(library, name)(**options))
        self.net = getattr(net, entry.part) if entry.part else net
        self.is_image = entry.is_image

    def forward(self, x: Tensor) -> Tensor:
        """Return ten scores."""
        found = self.net(pixel_values=x) if self.is_image else self.net(inputs_embeds=x)
        if hasattr(found, "logits"):
            return found.logits
        return found.last_hidden_state.mean(1)[:, :10]


def rows(names: list[str], repeats: int) -> None:
    """Print the rows of the groups or models that were asked for, or of all."""
    targets, tokens = torch.arange(BATCH) % 10, torch.randn(BATCH, TOKENS, WIDTH)
    images, numbers = torch.randn(BATCH, 3, IMAGE, IMAGE), torch.randn(BATCH, TOKENS)
    for group, models, x in (("torch", OWN, tokens), ("tabular", TABULAR, numbers)):
        for name, build in models.items():
            if not names or group in names or name in names:
                torch.manual_seed(0)
                print(row_of(name, build().eval(), x, targets, repeats), flush=True)
    asked = [name for name in TRANSFORMERS if not names or "transformers" in names or name in names]
    if asked and importlib.util.find_spec("transformers") is None:
        print(f"left out, since transformers is not installed (pip install transformers): {', '.join(asked)}")
        return
    for name in asked:
        torch.manual_seed(0)
        entry = TRANSFORMERS[name]
        x = images if entry.is_image else tokens
        net = OfLibrary(entry).eval()
        print(row_of(name, net, x, targets, repeats, beside_autolrp=False, in_double=entry.in_double), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="groups or models")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    print(f"{HEADING}\n|{'---|' * 8}")
    rows(arguments.names, arguments.repeats)


if __name__ == "__main__":
    main()
