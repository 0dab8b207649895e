"""Settings of windows that fit a model and its tokenizer."""

from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from blockskim.checks import check_count
from blockskim.data.tokens import FrozenTokenizer, pair_template
from blockskim.data.windows import WindowSettings
from blockskim.errors import ConfigError
from blockskim.model.modeling import BlockSkimForQuestionAnswering


def position_limit(model: BlockSkimForQuestionAnswering) -> int | None:
    """The most tokens that a model has positions for; None when its positions have no end."""
    embeddings: Any = getattr(model.encoder, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    if not isinstance(table, nn.Embedding):
        return None
    # RoBERTa-like models number positions from behind the padding id.
    padding = getattr(embeddings, "padding_idx", None)
    return table.num_embeddings - (0 if padding is None else padding + 1)


def window_settings(
    model: BlockSkimForQuestionAnswering,
    tokenizer: PreTrainedTokenizerBase | FrozenTokenizer,
    max_length: int = 384,
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
    limit = position_limit(model)
    if limit is not None and max_length > limit:
        raise ConfigError(f"windows of {max_length} tokens are too long: the model reads at most {limit}")
    special = pair_template(tokenizer).special_tokens
    question = max(1, min(max_question_length, (max_length - special) // 2))
    stride = max(0, min(doc_stride, (max_length - special - question) // 2))
    settings = WindowSettings(max_length, stride, question)
    settings.check(special)
    return settings
