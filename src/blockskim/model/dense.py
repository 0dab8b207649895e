"""The dense forward pass: every layer runs on every token. Differentiable, for training.

Every predictor scores every block, unless the pass is told to drop blocks as inference does. What is dropped is then
hidden from the layers that follow and has no part in the result, which is the same as if it were not there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from blockskim.encoders.backbone import Backbone
from blockskim.encoders.position_table import first_position
from blockskim.encoders.positions import Positions, depends_on_positions
from blockskim.errors import ModelError
from blockskim.kernels.attention_probabilities import AttentionRows
from blockskim.kernels.padded_attention import attend_padded, attend_padded_with_sums
from blockskim.method.block_spans import surviving_blocks
from blockskim.method.blocks import BlockLayout, token_indices
from blockskim.method.layer_view import LayerView
from blockskim.method.predictors.predictor import SkimPredictor, keep_probabilities
from blockskim.method.question import question_tokens


@dataclass(frozen=True, slots=True)
class DenseResult:
    """Hidden states of the last layer and what predictors said.

    Attributes:
        hidden: Shape: (batch, tokens, hidden)
        skim_logits: logits of each layer's predictor for the blocks that were there, in the order of the True entries
            of ``present``; by layer number. Shape: (blocks, 2) each
        present: which of the droppable blocks, in the order of ``layout.droppable``'s True entries, each layer's
            predictor saw; by layer number. Shape: (droppable,) each
        mask: True on real tokens that were not dropped. Shape: (batch, tokens)
        states: hidden states that entered the first layer, then those that left each; empty when not asked for.
            Shape: (batch, tokens, hidden) each
        attended: what attention gave in each layer, heads joined, before the output projection; empty when not asked
            for. Shape: (batch, tokens, heads * head_dim) each
    """

    hidden: Tensor
    skim_logits: Mapping[int, Tensor]
    present: Mapping[int, Tensor]
    mask: Tensor
    states: tuple[Tensor, ...] = ()
    attended: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class Dropping:
    """What a training pass is to drop.

    Attributes:
        thresholds: by layer number; blocks with a lower keep probability are dropped after the layer's attention.
        protected: droppable blocks that stay whatever their predictors say, in the order of ``layout.droppable``'s True
            entries. Shape: (droppable,)
    """

    thresholds: Mapping[int, float]
    protected: Tensor


@dataclass(frozen=True, slots=True)
class PaddedInputs:
    """A padded batch as the model's callers give it.

    Attributes:
        ids: None where there are embeddings. Shape: (batch, tokens)
        attention_mask: 1 on real tokens. Shape: (batch, tokens)
        types: token types; None for a model that has none. Shape: (batch, tokens)
        context_mask: 1 on context tokens; None where no predictor is to be asked. Shape: (batch, tokens)
        positions: as transformers counts them in the family; None for those of the real tokens in their order.
            Shape: (batch or 1, tokens)
        embeddings: in place of ids. Shape: (batch, tokens, width)
    """

    ids: Tensor | None
    attention_mask: Tensor
    types: Tensor | None
    context_mask: Tensor | None
    positions: Tensor | None = None
    embeddings: Tensor | None = None


def encode_dense(
    backbone: Backbone,
    predictors: Mapping[int, SkimPredictor],
    inputs: PaddedInputs,
    layout: BlockLayout | None,
    dropping: Dropping | None = None,
    head_masks: Mapping[int, Tensor] | None = None,
    keep_states: bool = False,
    checkpoint: Callable[..., Any] | None = None,
) -> DenseResult:
    """Run all layers on all tokens of a padded batch.

    Args:
        backbone: the encoder.
        predictors: by layer number; they are asked only when a layout is given.
        inputs: the batch.
        layout: the blocks to score; None to score none.
        dropping: what to drop; None for nothing.
        head_masks: factors on what each head gives, by layer number. Shape: (batch or 1, heads) each
        keep_states: whether the result is to have the states of every layer.
        checkpoint: (function, arguments) -> its result, to be computed once more for gradients instead of being kept;
            None to keep everything.

    Returns:
        Hidden states and predictor logits.
    """
    adapter, head_masks = backbone.adapter, head_masks or {}
    mask = inputs.attention_mask.bool()
    batch, tokens = mask.shape
    token_positions = (mask.long().cumsum(-1) - 1).clamp_min(0)
    if inputs.positions is not None:
        token_positions = _given_positions(backbone, inputs.positions, mask)
    hidden = adapter.embed(backbone.encoder, inputs.ids, inputs.types, token_positions, inputs.embeddings)
    positions = _positions(backbone, batch, tokens)
    blocks = None
    if (
        layout is not None
        and inputs.context_mask is not None
        and inputs.ids is not None
        and bool(layout.droppable.any())
    ):
        blocks = _find_blocks(inputs.ids, inputs.attention_mask, inputs.context_mask, layout)
    logits: dict[int, Tensor] = {}
    present: dict[int, Tensor] = {}
    states, attended = [hidden], []
    run = _call if checkpoint is None else checkpoint
    for number, layer in enumerate(backbone.layers, start=1):
        query, key, value = run(partial(adapter.project, layer), hidden)
        bias, row_bias, scale = None, None, adapter.scale(layer)
        if positions is not None:
            heads = backbone.heads.get(number)
            placed = positions.apply(layer, query.flatten(0, 1), key.flatten(0, 1), scale, heads)
            query, key = (part.unflatten(0, (batch, tokens)) for part in (placed.query, placed.key))
            bias, row_bias = None if placed.biases is None else placed.biases[0], placed.bias_between
        dropout = adapter.attention_dropout(layer) if layer.training else 0.0
        rows = None
        if blocks is not None and number in predictors and predictors[number].wants_attention:
            attn_output, log_sum_exp = attend_padded_with_sums(query, key, value, scale, mask, bias, dropout)
            rows = AttentionRows(query.flatten(0, 1), key.flatten(0, 1), log_sum_exp.flatten(0, 1), scale, row_bias)
        else:
            attn_output = run(partial(_attend, scale=scale, mask=mask, bias=bias, dropout=dropout), query, key, value)
        if number in head_masks:
            attn_output = attn_output * head_masks[number].to(attn_output.dtype)[:, None, :, None]
        joined = attn_output.reshape(batch, tokens, -1)
        if blocks is not None and number in predictors:
            present[number] = blocks.present
            logits[number] = predictors[number](_view(rows, hidden.flatten(0, 1), joined.flatten(0, 1), blocks))
            if dropping is not None and dropping.thresholds.get(number, 0.0) > 0:
                dropped = _dropped(logits[number], dropping.thresholds[number], dropping.protected, blocks)
                mask = mask & ~_tokens_of(blocks, dropped, batch * tokens).view(batch, tokens)
                blocks = replace(blocks, present=blocks.present & ~dropped)
        hidden = run(partial(adapter.finish, layer), joined, hidden)
        if keep_states:
            states.append(hidden)
            attended.append(joined)
    final = hidden if adapter.final_norm is None else adapter.final_norm(backbone.encoder, hidden)
    return DenseResult(final, logits, present, mask, tuple(states) if keep_states else (), tuple(attended))


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The droppable blocks and the questions of a batch, tokens as flat indices; names as in ``LayerView``.

    Attributes:
        present: which of the blocks were not dropped so far. Shape: (droppable,)
    """

    present: Tensor
    samples: Tensor
    block_numbers: Tensor
    tokens: Tensor
    exists: Tensor
    question: Tensor
    question_exists: Tensor


def _find_blocks(input_ids: Tensor, attention_mask: Tensor, context_mask: Tensor, layout: BlockLayout) -> _Blocks:
    batch, tokens = input_ids.shape
    samples, columns = layout.droppable.nonzero(as_tuple=True)
    starts = layout.starts[samples, columns] + samples * tokens
    indices, exists = token_indices(starts, layout.lengths[samples, columns], layout.block_size)
    question, question_exists = question_tokens(input_ids, attention_mask, context_mask)
    question = question + torch.arange(batch, device=question.device)[:, None] * tokens
    return _Blocks(
        present=torch.ones_like(samples, dtype=torch.bool),
        samples=samples,
        block_numbers=columns,
        tokens=indices,
        exists=exists,
        question=question,
        question_exists=question_exists,
    )


def _view(attention: AttentionRows | None, hidden: Tensor, attn_output: Tensor, blocks: _Blocks) -> LayerView:
    """A layer as its predictor sees it: with the blocks that are still there."""
    there = blocks.present
    return LayerView(
        attention=attention,
        hidden=hidden,
        attn_output=attn_output,
        tokens=blocks.tokens[there],
        exists=blocks.exists[there],
        samples=blocks.samples[there],
        question=blocks.question,
        question_exists=blocks.question_exists,
        block_numbers=blocks.block_numbers[there],
    )


def _dropped(logits: Tensor, threshold: float, protected: Tensor, blocks: _Blocks) -> Tensor:
    """Blocks that a layer scored and drops; a sample's likeliest stays even if none passes. Shape: (droppable,)."""
    probabilities = keep_probabilities(logits.detach()).cpu().numpy()
    there = blocks.present
    samples = blocks.samples[there].cpu().numpy()
    # Protected blocks are sure to pass, so that they are what survives where nothing else does.
    probabilities = np.where(protected[there].cpu().numpy(), np.float32(1.0), probabilities)
    kept = surviving_blocks(probabilities, threshold, samples, len(blocks.question))
    dropped = torch.zeros_like(there)
    dropped[there] = torch.from_numpy(~kept).to(there.device)
    return dropped


def _tokens_of(blocks: _Blocks, chosen: Tensor, count: int) -> Tensor:
    """True for the tokens of some blocks. Shape: (count,)."""
    marked = torch.zeros(count, dtype=torch.bool, device=chosen.device)
    marked[blocks.tokens[chosen][blocks.exists[chosen]]] = True
    return marked


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def _given_positions(backbone: Backbone, positions: Tensor, mask: Tensor) -> Tensor:
    """Positions that a caller gave, counted from 0 as adapters do. Shape: (batch, tokens).

    Raises:
        ModelError: they have another shape, or gaps in a family in which they turn queries and keys.
    """
    if positions.dim() != 2 or positions.shape[0] not in (1, len(mask)) or positions.shape[1] != mask.shape[1]:
        raise ModelError(f"position_ids has the shape {tuple(positions.shape)}; it must be that of the input")
    placed = positions.expand_as(mask)
    if backbone.adapter.rotary_base is not None:
        away = placed - torch.arange(mask.shape[1], device=placed.device)
        first = away.gather(1, mask.long().argmax(1, keepdim=True))
        if bool(((away != first) & mask).any()):
            raise ModelError("position_ids must rise by one from token to token in a model with rotary positions")
    return placed - first_position(backbone.encoder)


def _positions(backbone: Backbone, batch: int, tokens: int) -> Positions | None:
    """Where the tokens of a padded batch stand; None for a family whose attention ignores positions."""
    adapter, device = backbone.adapter, backbone.device
    if not depends_on_positions(adapter):
        return None
    # Only differences of positions matter to attention, and those are the same in every sample.
    places = torch.arange(tokens, device=device)
    sequences = places[None]
    if adapter.relative is not None:  # it needs the content of every sample, too
        sequences = torch.arange(batch * tokens, device=device).view(batch, tokens)
    return Positions(backbone.encoder, adapter, places.repeat(batch), [sequences], tokens - 1)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float, mask: Tensor, bias: Tensor | None, dropout: float
) -> Tensor:
    """Attention where no predictor looks. Shapes as in ``attend_padded``."""
    learning = any(part.requires_grad for part in (query, key, value))
    if learning and query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # The backward pass of the CPU's fused attention takes over twice as long as that of plain products.
        return attend_padded(query, key, value, scale, mask, bias, dropout)
    scores_mask = mask[:, None, None, :]
    if bias is not None:
        scores_mask = bias.to(query.dtype).masked_fill(~scores_mask, torch.finfo(query.dtype).min)
    attended = F.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=scores_mask,
        dropout_p=dropout,
        scale=scale,
    )
    return attended.transpose(1, 2)
