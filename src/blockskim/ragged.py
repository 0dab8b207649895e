"""The skimming forward pass: packed tokens, blocks dropped right after attention, each sample keeping its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.attention import AttentionRows, Bias, attend_packed
from blockskim.blocks import BlockLayout, surviving_blocks, token_indices
from blockskim.encoders import EncoderAdapter
from blockskim.inputs import LayerView
from blockskim.predictor import keep_probabilities
from blockskim.question import question_tokens


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What a predictor did in one layer.

    Attributes:
        judged: the blocks it judged, as indices into the layout's flattened blocks. Shape: (judged,)
        probabilities: their keep probabilities. Shape: (judged,)
        kept: which of them stayed. Shape: (judged,)
        samples: the sample of each. Shape: (judged,)
        left: tokens of each sample after the layer. Shape: (batch,)
    """

    judged: Tensor
    probabilities: Tensor
    kept: Tensor
    samples: Tensor
    left: Tensor


@dataclass(frozen=True, slots=True)
class RaggedResult:
    """Surviving tokens and how they came to survive.

    Attributes:
        hidden: states leaving the last layer. Shape: (survivors, hidden)
        origins: where each survivor stood, as an index into the flattened input. Shape: (survivors,)
        lengths: real tokens of each sample before skimming. Shape: (batch,)
        questions: question tokens of each sample, as far as predictors compared blocks with them. Shape: (batch,)
        records: by layer number, of the layers in which a predictor was asked.
    """

    hidden: Tensor
    origins: Tensor
    lengths: Tensor
    questions: Tensor
    records: Mapping[int, LayerRecord]


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Packed tokens on their way through the layers. Shapes: (tokens,) but where said."""

    hidden: Tensor  # (tokens, hidden)
    positions: Tensor
    origins: Tensor
    samples: Tensor
    blocks: Tensor  # index into _Blocks, -1 for tokens that can't be dropped


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Judged blocks that are still there. Shapes: (blocks,)."""

    starts: Tensor  # packed index of the first token
    lengths: Tensor
    samples: Tensor
    indices: Tensor  # into the layout's flattened blocks


def encode_ragged(
    encoder: PreTrainedModel,
    adapter: EncoderAdapter,
    predictors: Mapping[int, nn.Module],
    thresholds: Mapping[int, float],
    input_ids: Tensor,
    attention_mask: Tensor,
    token_type_ids: Tensor | None,
    context_mask: Tensor,
    layout: BlockLayout,
    documents: Tensor,
) -> RaggedResult:
    """Run the layers on what is left of every sample.

    Args:
        encoder: the transformers encoder, in evaluation mode.
        adapter: of its family.
        predictors: by layer number; those without a threshold are not asked.
        thresholds: by layer number; blocks with a lower keep probability are dropped after the layer's attention.
        input_ids: Shape: (batch, tokens)
        attention_mask: 1 on real tokens. Shape: (batch, tokens)
        token_type_ids: Shape: (batch, tokens)
        context_mask: 1 on context tokens. Shape: (batch, tokens)
        layout: the blocks.
        documents: the document of each sample, numbered from 0. At least one block of a document always survives; a
            sample that loses all its blocks to other samples of its document leaves the computation whole.
            Shape: (batch,)

    Returns:
        The survivors of the last layer.
    """
    mask = attention_mask.bool()
    tokens, blocks = _pack(input_ids, mask, layout)
    tokens = _embed(encoder, adapter, tokens, input_ids, token_type_ids)
    lengths = mask.sum(-1)
    question, question_exists = _packed_question(input_ids, mask, context_mask, lengths)
    questions = question_exists.sum(-1)
    counts = lengths.tolist()
    num_documents = int(documents.max()) + 1 if len(documents) else 0
    biases, row_bias = _biases(encoder, adapter, tokens.positions, counts)
    records: dict[int, LayerRecord] = {}
    for number, layer in enumerate(adapter.layers(encoder), start=1):
        query, key, value = adapter.project(layer, tokens.hidden)
        context, log_sum_exp = attend_packed(query, key, value, adapter.scale(layer), counts, biases)
        context = context.flatten(1)
        if number in thresholds and len(blocks.starts):
            rows = AttentionRows(query, key, log_sum_exp, adapter.scale(layer), row_bias)
            indices, exists = token_indices(blocks.starts, blocks.lengths, layout.block_size)
            view = LayerView(rows, tokens.hidden, context, indices, exists, blocks.samples, question, question_exists)
            probabilities = keep_probabilities(predictors[number](view))
            kept = surviving_blocks(probabilities, thresholds[number], documents[blocks.samples], num_documents)
            left = torch.tensor(counts, device=lengths.device)
            if not bool(kept.all()):
                stays = _staying_tokens(tokens, blocks, kept, len(counts))
                places = stays.cumsum(0) - 1
                chosen = stays.nonzero(as_tuple=True)[0]
                context = context.index_select(0, chosen)
                before = blocks
                tokens, blocks = _select(tokens, before, kept, chosen, places)
                question = places[question].clamp_min(0)
                left = torch.bincount(tokens.samples, minlength=len(counts))
                counts = left.tolist()
                biases, row_bias = _biases(encoder, adapter, tokens.positions, counts)
                records[number] = LayerRecord(before.indices, probabilities, kept, before.samples, left)
            else:
                records[number] = LayerRecord(blocks.indices, probabilities, kept, blocks.samples, left)
        tokens = _with_hidden(tokens, adapter.finish(layer, context, tokens.hidden))
    return RaggedResult(tokens.hidden, tokens.origins, lengths, questions, records)


def _pack(input_ids: Tensor, mask: Tensor, layout: BlockLayout) -> tuple[_Tokens, _Blocks]:
    """Lay the real tokens of all samples side by side and find the judged blocks among them."""
    width = input_ids.shape[1]
    origins = mask.flatten().nonzero(as_tuple=True)[0]
    samples = origins // width
    places = mask.flatten().long().cumsum(0) - 1
    positions = (mask.long().cumsum(-1) - 1).flatten()[origins]
    block_samples, columns = layout.judged.nonzero(as_tuple=True)
    starts = places[layout.starts[block_samples, columns] + block_samples * width]
    lengths = layout.lengths[block_samples, columns]
    indices, exists = token_indices(starts, lengths, layout.block_size)
    blocks = torch.full_like(origins, -1)
    numbers = torch.arange(len(starts), device=origins.device)[:, None].expand_as(indices)
    blocks[indices[exists]] = numbers[exists]
    flat = block_samples * layout.judged.shape[1] + columns
    empty = origins.new_empty((0, 0), dtype=torch.float32)
    return _Tokens(empty, positions, origins, samples, blocks), _Blocks(starts, lengths, block_samples, flat)


def _embed(
    encoder: PreTrainedModel, adapter: EncoderAdapter, tokens: _Tokens, input_ids: Tensor, types: Tensor | None
) -> _Tokens:
    packed_types = None if types is None else types.flatten()[tokens.origins][None]
    packed_ids = input_ids.flatten()[tokens.origins][None]
    return _with_hidden(tokens, adapter.embed(encoder, packed_ids, packed_types, tokens.positions[None])[0])


def _with_hidden(tokens: _Tokens, hidden: Tensor) -> _Tokens:
    return _Tokens(hidden, tokens.positions, tokens.origins, tokens.samples, tokens.blocks)


def _packed_question(input_ids: Tensor, mask: Tensor, context_mask: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Question tokens as packed indices. Shapes: (batch, question), (batch, question)."""
    question, exists = question_tokens(input_ids, mask, context_mask)
    first_real = mask.long().argmax(-1)
    first_packed = lengths.cumsum(0) - lengths
    packed = (question - first_real[:, None]).clamp_min(0) + first_packed[:, None]
    # Entries that don't exist may lie beyond the end; any valid index does for them.
    return torch.where(exists, packed, 0), exists


def _staying_tokens(tokens: _Tokens, blocks: _Blocks, kept: Tensor, batch: int) -> Tensor:
    """True for tokens outside of dropped blocks and of samples that lost all their blocks. Shape: (tokens,)."""
    stays = torch.where(tokens.blocks >= 0, kept[tokens.blocks.clamp_min(0)], True)
    had = torch.zeros(batch, dtype=torch.bool, device=kept.device)
    had[blocks.samples] = True
    has = torch.zeros_like(had)
    has[blocks.samples[kept]] = True
    return stays & ~(had & ~has)[tokens.samples]


def _select(tokens: _Tokens, blocks: _Blocks, kept: Tensor, chosen: Tensor, places: Tensor) -> tuple[_Tokens, _Blocks]:
    """What stays, with all packed indices brought up to date."""
    numbers = kept.long().cumsum(0) - 1
    old = tokens.blocks[chosen]
    remaining = _Tokens(
        tokens.hidden.index_select(0, chosen),
        tokens.positions[chosen],
        tokens.origins[chosen],
        tokens.samples[chosen],
        torch.where(old >= 0, numbers[old.clamp_min(0)], -1),
    )
    survivors = _Blocks(places[blocks.starts[kept]], blocks.lengths[kept], blocks.samples[kept], blocks.indices[kept])
    return remaining, survivors


def _biases(
    encoder: PreTrainedModel, adapter: EncoderAdapter, positions: Tensor, counts: Sequence[int]
) -> tuple[list[Tensor] | None, Bias | None]:
    """Position biases of each sequence, and between any packed tokens, for families that have them."""
    position_bias = adapter.position_bias
    if position_bias is None:
        return None, None

    def between(rows: Tensor, columns: Tensor) -> Tensor:
        return position_bias(encoder, positions[rows], positions[columns])

    return [position_bias(encoder, part, part) for part in positions.split(list(counts))], between
