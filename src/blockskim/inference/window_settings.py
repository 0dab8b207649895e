"""Settings of windows that fit a model and its tokenizer."""

from typing import TYPE_CHECKING

from blockskim.checks import check_count
from blockskim.data.tokens import FrozenTokenizer, pair_template
from blockskim.data.windows import WindowSettings
from blockskim.errors import ConfigError
from blockskim.inference.backend import Backend

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


USUAL_LENGTH = 384
"""Tokens of a window where nobody says another number."""


def window_settings(
    model: Backend,
    tokenizer: "PreTrainedTokenizerBase | FrozenTokenizer",
    max_length: int = USUAL_LENGTH,
    doc_stride: int = 128,
    max_question_length: int = 64,
) -> WindowSettings:
    """Settings of windows that fit a model.

    A question takes ``max_question_length`` tokens at most, but no more than half of a window; windows overlap by
    ``doc_stride`` tokens, but by no more than half of the context that surely fits beside a question. So short windows
    need no other settings.

    Raises:
        ConfigError: the model has no positions for such long windows, or they leave no room for a context.
    """
    max_length = check_count("max_length", max_length)
    doc_stride = check_count("doc_stride", doc_stride, least=0)
    max_question_length = check_count("max_question_length", max_question_length)
    limit = model.position_limit
    if limit is not None and max_length > limit:
        raise ConfigError(f"windows of {max_length} tokens are too long: the model reads at most {limit}")
    special = pair_template(tokenizer).special_tokens
    question = max(1, min(max_question_length, (max_length - special) // 2))
    stride = max(0, min(doc_stride, (max_length - special - question) // 2))
    settings = WindowSettings(max_length, stride, question)
    settings.check(special)
    return settings


def usual_window_settings(model: Backend, tokenizer: "PreTrainedTokenizerBase | FrozenTokenizer") -> WindowSettings:
    """Settings of windows of the usual length, or as long as the model reads where that is less.

    Raises:
        ConfigError: the model reads so little that there is no room for a context.
    """
    limit = model.position_limit
    return window_settings(model, tokenizer, USUAL_LENGTH if limit is None else min(USUAL_LENGTH, limit))
