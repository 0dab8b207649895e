"""The dense forward pass: nothing is dropped, every predictor judges every block. Differentiable, for training."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from blockskim.attention import AttentionRows, Bias, attend_padded
from blockskim.blocks import BlockLayout, token_indices
from blockskim.encoders import EncoderAdapter
from blockskim.inputs import LayerView
from blockskim.predictor import SkimPredictor
from blockskim.question import question_tokens


@dataclass(frozen=True, slots=True)
class DenseResult:
    """Hidden states of the last layer and what predictors said.

    Attributes:
        hidden: Shape: (batch, tokens, hidden)
        skim_logits: logits of each layer's predictor for the judged blocks, in the order of ``layout.judged``'s True
            entries; by layer number. Shape: (judged, 2) each
    """

    hidden: Tensor
    skim_logits: Mapping[int, Tensor]


def encode_dense(
    encoder: PreTrainedModel,
    adapter: EncoderAdapter,
    predictors: Mapping[int, SkimPredictor],
    input_ids: Tensor,
    attention_mask: Tensor,
    token_type_ids: Tensor | None,
    context_mask: Tensor | None,
    layout: BlockLayout | None,
) -> DenseResult:
    """Run all layers on all tokens of a padded batch.

    Args:
        encoder: the transformers encoder.
        adapter: of its family.
        predictors: by layer number; they are asked only when a layout is given.
        input_ids: Shape: (batch, tokens)
        attention_mask: 1 on real tokens. Shape: (batch, tokens)
        token_type_ids: Shape: (batch, tokens)
        context_mask: 1 on context tokens; needed with a layout. Shape: (batch, tokens)
        layout: the blocks to judge; None to judge none.

    Returns:
        Hidden states and predictor logits.
    """
    mask = attention_mask.bool()
    batch, tokens = input_ids.shape
    positions = (mask.long().cumsum(-1) - 1).clamp_min(0)
    hidden = adapter.embed(encoder, input_ids, token_type_ids, positions)
    bias = None
    row_bias: Bias | None = None
    if adapter.position_bias is not None:
        # Only differences of positions matter, and those are the same in every sample.
        places = torch.arange(tokens, device=input_ids.device)[None]
        bias = adapter.position_bias(encoder, places, places)
        row_bias = _row_bias(encoder, adapter, tokens)
    blocks = None
    if layout is not None and context_mask is not None and bool(layout.judged.any()):
        blocks = _find_blocks(input_ids, attention_mask, context_mask, layout)
    logits = {}
    for number, layer in enumerate(adapter.layers(encoder), start=1):
        query, key, value = adapter.project(layer, hidden)
        dropout = adapter.attention_dropout(layer) if layer.training else 0.0
        rows = None
        if blocks is not None and number in predictors and predictors[number].wants_attention:
            context, log_sum_exp = attend_padded(query, key, value, adapter.scale(layer), mask, bias, dropout)
            rows = AttentionRows(
                query.flatten(0, 1), key.flatten(0, 1), log_sum_exp.flatten(0, 1), adapter.scale(layer), row_bias
            )
        else:
            context = _attend(query, key, value, adapter.scale(layer), mask, bias, dropout)
        joined = context.reshape(batch, tokens, -1)
        if blocks is not None and number in predictors:
            logits[number] = predictors[number](LayerView(rows, hidden.flatten(0, 1), joined.flatten(0, 1), *blocks))
        hidden = adapter.finish(layer, joined, hidden)
    return DenseResult(hidden, logits)


def _find_blocks(
    input_ids: Tensor, attention_mask: Tensor, context_mask: Tensor, layout: BlockLayout
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Flat indices of the tokens of blocks and questions, in the order in which ``LayerView`` takes them."""
    batch, tokens = input_ids.shape
    samples, columns = layout.judged.nonzero(as_tuple=True)
    starts = layout.starts[samples, columns] + samples * tokens
    indices, exists = token_indices(starts, layout.lengths[samples, columns], layout.block_size)
    question, question_exists = question_tokens(input_ids, attention_mask, context_mask)
    question = question + torch.arange(batch, device=question.device)[:, None] * tokens
    return indices, exists, samples, question, question_exists


def _row_bias(encoder: PreTrainedModel, adapter: EncoderAdapter, tokens: int) -> Bias:
    def bias(rows: Tensor, columns: Tensor) -> Tensor:
        assert adapter.position_bias is not None
        return adapter.position_bias(encoder, rows % tokens, columns % tokens)

    return bias


def _attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float, mask: Tensor, bias: Tensor | None, dropout: float
) -> Tensor:
    """Fused attention where no predictor looks. Shapes as in ``attend_padded``."""
    scores_mask = mask[:, None, None, :]
    if bias is not None:
        scores_mask = bias.to(query.dtype).masked_fill(~scores_mask, torch.finfo(query.dtype).min)
    context = F.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=scores_mask,
        dropout_p=dropout,
        scale=scale,
    )
    return context.transpose(1, 2)
