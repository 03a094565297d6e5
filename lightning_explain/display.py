"""Display of samples: the meaning of their numbers before they were made ready for the network."""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from lightning_explain.errors import ConfigurationError, doubt

_FOLDER = Path(__file__).parent / "render" / "modalities"
FORMS = tuple(sorted(file.name for file in pkgutil.iter_modules([str(_FOLDER)])))
"""The kinds of input that can be drawn: a file each in `render/modalities`."""

PerChannel = float | Sequence[float] | None

NAMING = ("convert_ids_to_tokens", "id_to_token", "id_to_piece", "lookup_token")
"""What tokenizers and vocabularies call the way from an id to its word."""

TOKENS_EXPECTED = "expected a tokenizer, a list of words, a mapping between ids and words, or a callable id -> word"


@dataclass(frozen=True, kw_only=True, eq=False)
class Display:
    """Display of a probe's samples. It changes pictures, texts and records only, never an explanation.

    Attributes:
        mean: What was subtracted from each channel of an image, in units of the picture (0 to 1, or 0 to 255).
        std: What each channel was divided by afterwards.
        tokens: What a token id stands for: a tokenizer (with `convert_ids_to_tokens` or `id_to_token`), the words in
            order of their ids, a mapping between ids and words, or a callable from id to word. An id that has no word
            is shown as a number.
        padding: Token id that fills up short texts; it is not shown. Tokens are also left out where another input of
            the probe is a mask, shaped like the ids, that is 0 there.
        input_names: Name of each input, where a sample has several.
        form: The kind of input: `"image"`, `"signal"` (time series and audio, [batch, channels, time] or [batch,
            time]), `"table"`, `"tokens"` or `"entities"` (sets and graphs, [batch, entities, features]); a list with
            one for each input; None to choose by the shape. Integers [batch, tokens] are tokens; images have two sides
            of similar length; [batch, channels, time] is a signal if one side is at least four times the other and
            that has at most 16 entries. Entities have no shape of their own, so they must be declared.
        entity: What an entity is called that has no name of its own: `"atom"` makes `"atom 3"`.
        entity_names: Names of the entities, for `form="entities"`: the index, key or attribute of a batch that holds
            them, a callable that takes the batch and returns them, or the names themselves. They are a list for each
            sample, or ids [batch, entities] that `tokens` names; a single list given here is for all samples.
        edges: For `form="entities"`, which input says what is connected: its index among the inputs. It is an
            adjacency matrix [batch, entities, entities]; where it is real-valued and explained, its attributions are
            those of edges.
        multi_label: Whether classes do not exclude each other: captions then say how sure the network is of the
            explained class (sigmoid) instead of which class it prefers (softmax).

    Raises:
        ConfigurationError: An unknown form, or `mean` and `std` that do not belong together.

    Example:
        >>> Display(mean=0.5, std=0.5).as_seen(torch.tensor([[[[-1.0, 1.0]]]]))
        tensor([[[[0., 1.]]]])
        >>> Display(tokens=["<pad>", "good", "film"], padding=0).word(1)
        'good'
    """

    mean: PerChannel = None
    std: PerChannel = None
    tokens: Any = None
    padding: int | None = None
    input_names: Sequence[str] = ()
    form: str | Sequence[str | None] | None = None
    entity: str = "entity"
    entity_names: Any = None
    edges: int | None = None
    multi_label: bool = False

    def __post_init__(self) -> None:
        for form in self._forms:
            if form is not None and form not in FORMS:
                raise ConfigurationError(f"form={self.form!r}; expected {', '.join(FORMS)}, or a list of them.")
        if isinstance(self.tokens, str):
            raise ConfigurationError(f"tokens= is a single string; {TOKENS_EXPECTED}.")
        object.__setattr__(self, "_word_of", _word_of(self.tokens))
        spread = [] if self.std is None else [self.std] if isinstance(self.std, int | float) else list(self.std)
        if any(part <= 0 for part in spread):
            raise ConfigurationError(f"std={self.std!r}; expected positive numbers, as given to the normalisation.")

    @property
    def _forms(self) -> list[str | None]:
        return [self.form] if self.form is None or isinstance(self.form, str) else list(self.form)

    @property
    def is_normalised(self) -> bool:
        """True if the normalisation of images is known."""
        return self.mean is not None or self.std is not None

    def as_seen(self, images: Tensor) -> Tensor:
        """Undo the normalisation of images [batch, channels, height, width] (or [batch, height, width]).

        Raises:
            ConfigurationError: `mean` or `std` have another number of channels.
        """
        if not self.is_normalised:
            return images
        channels = images.shape[1] if images.ndim == 4 else 1
        std, mean = (_by_channel(part, name, channels) for part, name in ((self.std, "std"), (self.mean, "mean")))
        shape = (-1, 1, 1) if images.ndim == 4 else (1, 1)
        images = images.float()
        images = images if std is None else images * std.reshape(shape)
        return images if mean is None else images + mean.reshape(shape)

    def declared_form(self, index: int = 0) -> str | None:
        """Return the kind that an input was declared to be, by its place; None where evidence decides."""
        if index == self.edges:
            return "entities"
        forms = self._forms
        return forms[0] if isinstance(self.form, str) else forms[index] if index < len(forms) else None

    def check_channels(self, inputs: Tensor, index: int = 0) -> None:
        """Refuse a normalisation of another number of channels than an input that may be images has.

        Raises:
            ConfigurationError: `mean` or `std` have another number of channels.
        """
        declared = self.declared_form(index)
        if declared == "image" or (declared is None and inputs.ndim == 4 and min(inputs.shape[-2:]) > 1):
            self.as_seen(inputs[:1])

    def word(self, token: int) -> str:
        """Name a token; its id where there is no name for it."""
        word_of: Callable[[int], Any] = self.__dict__["_word_of"]
        try:
            found = word_of(token)
        except Exception as error:  # noqa: BLE001 - a word that is missing must not cost an explanation
            doubt(f"Display(tokens=...) names no token ({type(error).__name__}: {error}); {TOKENS_EXPECTED}.")
            found = None
        return str(token) if found is None else str(found)

    def input_name(self, index: int) -> str:
        """Name an input."""
        return str(self.input_names[index]) if index < len(self.input_names) else f"input {index + 1}"


def _word_of(tokens: Any) -> Callable[[int], Any]:
    """Return the function that names a token id; it may return None or raise.

    Raises:
        ConfigurationError: Nothing in it says what an id stands for.
    """
    # before `callable`: tokenizers are called with texts
    by_name = next((getattr(tokens, name) for name in NAMING if callable(getattr(tokens, name, None))), None)
    if by_name is not None:
        return by_name
    if isinstance(tokens, Mapping):
        return _by_id(cast(Mapping[Any, Any], tokens)).get
    if tokens is None or callable(tokens):
        return tokens or _no_word
    if not isinstance(tokens, Sequence):
        raise ConfigurationError(f"tokens= is a {type(tokens).__name__}; {TOKENS_EXPECTED}.")
    return partial(_at, cast(Sequence[Any], tokens))


# no lambdas: callbacks are pickled where processes are spawned
def _no_word(_: int) -> None:
    return None


def _at(words: Sequence[Any], token: int) -> Any:
    return words[token] if 0 <= token < len(words) else None


def _by_id(mapping: Mapping[Any, Any]) -> dict[int, Any]:
    """Return words by their ids; vocabularies of tokenizers go from words to ids."""
    if mapping and all(isinstance(key, str) and isinstance(value, int) for key, value in mapping.items()):
        return {index: word for word, index in mapping.items()}
    return dict(mapping)


def _by_channel(given: PerChannel, name: str, n_channels: int) -> Tensor | None:
    if given is None:
        return None
    values = torch.tensor([given] if isinstance(given, int | float) else list(given), dtype=torch.float32)
    if len(values) not in (1, n_channels):
        raise ConfigurationError(
            f"{name}={given!r} has {len(values)} numbers, but the images have {n_channels} channels; give one for "
            "each, or one for all."
        )
    return values


def is_mask(part: Tensor) -> bool:
    """Return True if an input is carried along only: booleans, or integers that are 0 or 1."""
    return part.dtype == torch.bool or (not part.is_floating_point() and bool(((part == 0) | (part == 1)).all()))
