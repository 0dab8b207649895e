"""Tokens of texts and where their characters lie, kept between runs if asked, and what goes around them in a window.

Texts are read with a copy of the caller's tokenizer, a ``FrozenTokenizer``. A tokenizer holds settings that every call
of it may change, such as truncation. So the caller's own is never changed here, and what a caller does with it, in
whatever thread, changes no tokens here.
"""

import copy
import hashlib
import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from blockskim.atomic import open_whole
from blockskim.checks import is_list, is_whole, listing
from blockskim.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

Ints = NDArray[np.int32]
CACHE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Texts:
    """Tokens of many texts, one behind the other.

    Attributes:
        ids: Shape: (tokens,)
        offsets: first and one past the last character of each token. Shape: (tokens, 2)
        bounds: where each text begins in ``ids``; one more for the end. Shape: (texts + 1,)
    """

    ids: Ints
    offsets: Ints
    bounds: NDArray[np.int64]

    def ids_of(self, text: int) -> Ints:
        """Token ids of one text."""
        return self.ids[self.bounds[text] : self.bounds[text + 1]]

    def offsets_of(self, text: int) -> Ints:
        """Character spans of one text's tokens."""
        return self.offsets[self.bounds[text] : self.bounds[text + 1]]


@dataclass(frozen=True, slots=True)
class PairTemplate:
    """The special tokens that a tokenizer puts around a question and a context, and its token types.

    Attributes:
        before: token ids before the question.
        between: between question and context.
        after: behind the context.
        types: token type of the question part and of the context part, or None if the tokenizer has none.
        pad_id: what padding is filled with.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int] | None
    pad_id: int

    @property
    def special_tokens(self) -> int:
        """Number of special tokens around a pair."""
        return len(self.before) + len(self.between) + len(self.after)

    def to_json(self) -> dict[str, Any]:
        """The template as JSON has it: lists and whole numbers by the names of the attributes."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: object) -> "PairTemplate":
        """The template that ``to_json`` wrote.

        Raises:
            ModelError: something of it is missing, unknown or impossible; the message names it.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or set(values) != set(names):
            raise ModelError(f"the template is {values!r:.80}; it must have {listing(names)} and nothing else")
        before, between, after = (_numbers(name, values[name]) for name in ("before", "between", "after"))
        types = None if values["types"] is None else _numbers("types", values["types"])
        if types is not None and len(types) != 2:
            raise ModelError(f"the template's types is {values['types']!r:.80}; it must be two types or none")
        (pad_id,) = _numbers("pad_id", [values["pad_id"]])
        return cls(before, between, after, None if types is None else (types[0], types[1]), pad_id)


@dataclass(frozen=True, slots=True)
class FrozenTokenizer:
    """A copy of a fast tokenizer that nobody changes; any number of threads may read with it.

    Attributes:
        backend: the tokenizer of the ``tokenizers`` library, which neither cuts nor pads.
        template: what goes around a question and a context.
    """

    backend: Any
    template: PairTemplate

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied with the setting of its backend that a copy of that has not got."""
        return _restored, (self.backend, self.template, self.backend.encode_special_tokens)

    def definition(self) -> str:
        """All that decides tokens, for a digest: its file, and whether special tokens in texts count as text."""
        return f"{self.backend.encode_special_tokens} {self.backend.to_str()}"


def freeze_tokenizer(tokenizer: "PreTrainedTokenizerBase | FrozenTokenizer") -> FrozenTokenizer:
    """Copy a fast tokenizer, which takes some hundredths of a second; what is a copy already is given back.

    Raises:
        ConfigError: the tokenizer is slow (it can't tell characters), has no padding token, or can't be copied.
    """
    if isinstance(tokenizer, FrozenTokenizer):
        return tokenizer
    _check_fast(tokenizer)
    backend = _copy_backend(tokenizer)
    return FrozenTokenizer(backend, _template(tokenizer, backend.encode("a", "a")))


def _restored(backend: Any, template: PairTemplate, encode_special_tokens: bool) -> FrozenTokenizer:
    backend.encode_special_tokens = encode_special_tokens
    return FrozenTokenizer(backend, template)


def read_frozen_tokenizer(path: str | Path, template: PairTemplate) -> FrozenTokenizer:
    """Read a ``tokenizer.json`` with the ``tokenizers`` library alone; it neither cuts nor pads.

    Args:
        path: the file, as ``FrozenTokenizer.backend`` saves it.
        template: what goes around a question and a context.

    Raises:
        ModelError: there is no such file, or it is damaged.
    """
    try:
        backend = Tokenizer.from_file(str(path))
    # The parser raises a bare Exception, and where it panics not even that.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{path} can't be read as a tokenizer: {' '.join(str(error).split())}") from error
    backend.no_truncation()
    backend.no_padding()
    return FrozenTokenizer(backend, template)


def pair_template(tokenizer: "PreTrainedTokenizerBase | FrozenTokenizer") -> PairTemplate:
    """Find out what a fast tokenizer puts around a question and a context.

    Raises:
        ConfigError: the tokenizer is slow (it can't tell characters) or has no padding token.
    """
    if isinstance(tokenizer, FrozenTokenizer):
        return tokenizer.template
    _check_fast(tokenizer)
    backend = tokenizer.backend_tokenizer
    pair = backend.encode("a", "a") if _is_plain(backend) else None
    # Looked at twice, as another thread may use the tokenizer, too.
    if pair is None or not _is_plain(backend):
        pair = _copy_backend(tokenizer).encode("a", "a")
    return _template(tokenizer, pair)


def tokenize(tokenizer: FrozenTokenizer, texts: Sequence[str]) -> Texts:
    """Tokenise texts in one batch, without special tokens."""
    if not texts:
        return Texts(np.zeros(0, np.int32), np.zeros((0, 2), np.int32), np.zeros(1, np.int64))
    encodings = tokenizer.backend.encode_batch(list(texts), add_special_tokens=False)
    bounds = np.cumsum([0, *(len(encoding.ids) for encoding in encodings)]).astype(np.int64)
    ids = np.concatenate([np.array(encoding.ids, dtype=np.int32) for encoding in encodings])
    offsets = np.concatenate([np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2) for encoding in encodings])
    return Texts(ids, offsets, bounds)


def tokenize_cached(tokenizer: FrozenTokenizer, texts: Sequence[Sequence[str]], cache_dir: Path | None) -> list[Texts]:
    """Tokenise some lists of texts, or read what an earlier run kept.

    Args:
        tokenizer: the tokenizer.
        texts: questions and contexts.
        cache_dir: where tokens are kept. Their file's name is a digest of every text, the tokenizer's whole definition
            and the library's format, so that a stale file can't be read. None: nothing is kept.
    """
    if cache_dir is None:
        return [tokenize(tokenizer, part) for part in texts]
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, texts]).encode())
    digest.update(tokenizer.definition().encode())
    path = cache_dir / f"tokens-{digest.hexdigest()[:32]}.npz"
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return [Texts(*(stored[f"{name}{i}"] for name in ("ids", "offsets", "bounds"))) for i in (0, 1)]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            logger.warning("%s can't be read (%s); tokenising again", path, error)
    result = [tokenize(tokenizer, part) for part in texts]
    cache_dir.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{name}{i}": getattr(part, name) for i, part in enumerate(result) for name in ("ids", "offsets", "bounds")
    }
    with open_whole(path) as file:
        np.savez(file, **arrays)
    return result


def covering_tokens(offsets: Ints, start: int, end: int) -> tuple[int, int]:
    """First and last token that hold any of the characters from ``start`` to ``end``; first > last if none does.

    Args:
        offsets: character span of each token. Shape: (tokens, 2)
        start: first character.
        end: one past the last.
    """
    first = int(np.searchsorted(offsets[:, 1], start, side="right"))
    return first, int(np.searchsorted(offsets[:, 0], end, side="left")) - 1


def _numbers(name: str, value: object) -> tuple[int, ...]:
    """Token ids or types of a stored template.

    Raises:
        ModelError: they are none.
    """
    if not is_list(value) or not all(is_whole(item) and item >= 0 for item in value):
        raise ModelError(f"the template's {name} is {value!r:.80}; it must be whole numbers of at least 0")
    return tuple(int(item) for item in value)


def _check_fast(tokenizer: "PreTrainedTokenizerBase") -> None:
    if not tokenizer.is_fast:
        raise ConfigError(
            f"{type(tokenizer).__name__} is a slow tokenizer and can't tell which characters a token covers; "
            "use a fast one (a model directory with tokenizer.json)"
        )
    if tokenizer.pad_token_id is None:
        raise ConfigError(f"{type(tokenizer).__name__} has no padding token")


def _is_plain(backend: Any) -> bool:
    """Whether a backend neither cuts nor pads at the moment."""
    return backend.truncation is None and backend.padding is None


def _copy_backend(tokenizer: "PreTrainedTokenizerBase") -> Any:
    try:
        backend = copy.deepcopy(tokenizer.backend_tokenizer)
    # What a part that is written in Python raises is a bare Exception.
    except Exception as error:
        raise ConfigError(f"{type(tokenizer).__name__} can't be copied: {error}") from error
    backend.no_truncation()
    backend.no_padding()
    # A copy has not got this one; the tokenizer's own setting counts, not what a call of it asked for.
    backend.encode_special_tokens = bool(getattr(tokenizer, "split_special_tokens", False))
    return backend


def _template(tokenizer: "PreTrainedTokenizerBase", pair: Any) -> PairTemplate:
    """The special tokens and types around the parts of an encoded pair."""
    sequence, ids, types = pair.sequence_ids, pair.ids, pair.type_ids
    first, last = sequence.index(0), len(sequence) - 1 - sequence[::-1].index(0)
    second, final = sequence.index(1), len(sequence) - 1 - sequence[::-1].index(1)
    has_types = "token_type_ids" in tokenizer.model_input_names
    return PairTemplate(
        before=tuple(ids[:first]),
        between=tuple(ids[last + 1 : second]),
        after=tuple(ids[final + 1 :]),
        types=(types[first], types[second]) if has_types else None,
        pad_id=int(tokenizer.pad_token_id),
    )
