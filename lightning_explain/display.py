"""How samples are shown: what their numbers stood for before they were made ready for the network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from lightning_explain.errors import ConfigurationError, doubt

Form = Literal["image", "signal", "table", "tokens"]
"""How an input is drawn."""

FORMS: tuple[str, ...] = get_args(Form)

PerChannel = float | Sequence[float] | None

NAMING = ("convert_ids_to_tokens", "id_to_token", "id_to_piece", "lookup_token")
"""What tokenizers and vocabularies call the way from an id to its word."""

TOKENS_EXPECTED = "expected a tokenizer, a list of words, a mapping between ids and words, or a callable id -> word"

FEW_LANES, LONG = 16, 4
"""A [batch, a, b] input whose shorter side has at most so many entries, and whose longer one has so many times more,
is a time series; others are grey images."""

SHORTEST_SIGNAL = 32
"""A single row [batch, 1, n] of fewer numbers is a table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Display:
    """How the samples of a probe are shown. It changes pictures, texts and records only, never an explanation.

    Attributes:
        mean: What was subtracted from each channel of an image, in units of the picture (0 to 1, or 0 to 255).
        std: What each channel was divided by afterwards.
        tokens: What a token id stands for: a tokenizer (with `convert_ids_to_tokens` or `id_to_token`), the words in
            order of their ids, a mapping between ids and words, or a callable from id to word. An id that has no word
            is shown as a number.
        padding: Token id that fills up short texts; it is not shown. Tokens are also left out where another input of
            the probe is a mask, shaped like the ids, that is 0 there.
        input_names: Name of each input, where a sample has several.
        form: `"image"`, `"signal"` (time series and audio, [batch, channels, time] or [batch, time]), `"table"` or
            `"tokens"`: how the input is drawn, or a list with one for each input; None to tell by its shape. Integers
            [batch, tokens] are tokens; images have two sides of similar length; [batch, channels, time] is a signal if
            one side is at least four times the other and that has at most 16 entries.
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
        """Whether it is known how pictures were normalised."""
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

    def form_of(self, inputs: Tensor, index: int = 0) -> Form | None:
        """Say how an input [batch, ...] is drawn; None where there is no picture for its form."""
        forms = self._forms
        asked: Any = forms[0] if isinstance(self.form, str) else forms[index] if index < len(forms) else None
        return form_by_shape(inputs) if asked is None else asked

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
    """Return what names a token id; it may return None or raise.

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
        return tokens or (lambda _: None)
    if not isinstance(tokens, Sequence):
        raise ConfigurationError(f"tokens= is a {type(tokens).__name__}; {TOKENS_EXPECTED}.")
    words = cast(Sequence[Any], tokens)
    return lambda token: words[token] if 0 <= token < len(words) else None


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


def form_by_shape(inputs: Tensor) -> Form | None:
    """Tell by its shape and type how an input is drawn; None where there is no picture for its form.

    Example:
        >>> form_by_shape(torch.zeros(2, 28, 28)), form_by_shape(torch.zeros(2, 1, 8000))
        ('image', 'signal')
        >>> form_by_shape(torch.zeros(2, 12)), form_by_shape(torch.zeros(2, 12, dtype=torch.long))
        ('table', 'tokens')
    """
    if inputs.ndim == 2 and not inputs.is_floating_point():
        return "tokens"
    if inputs.ndim == 3:
        short, long = sorted(inputs.shape[1:])
        is_row = short == 1 and inputs.shape[1] == 1 and long >= SHORTEST_SIGNAL
        if is_row or (1 < short <= FEW_LANES and long >= max(SHORTEST_SIGNAL, LONG * short)):
            return "signal"
    if inputs.ndim in (3, 4) and min(inputs.shape[-2:]) > 1:
        return "image"
    if inputs.ndim == 2 or (inputs.ndim > 2 and inputs[0].numel() == max(inputs.shape[1:])):
        return "table"
    return None


def is_mask(part: Tensor) -> bool:
    """Say whether an input is carried along only: booleans, or integers that are 0 or 1."""
    return part.dtype == torch.bool or (not part.is_floating_point() and bool(((part == 0) | (part == 1)).all()))
