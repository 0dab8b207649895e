"""The batch-aligned scheme: every sample of a padded batch keeps as many blocks as the neediest of them.

So works the code that was released with the paper; this is an implementation of the scheme, not of that code. Layers
with a predictor compute the full attention matrix, and blocks are dropped at the end of the layer. Three things are
kinder to it than the original: question and special tokens stay (so that answers can be compared), layers without a
predictor use fused attention, and a batch is only as wide as its widest sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from blockskim.encoders import EncoderAdapter
from blockskim.encoders.positions import Positions, depends_on_positions
from blockskim.method.blocks import token_indices
from blockskim.method.layer_view import Attention, LayerView
from blockskim.method.predictors.predictor import keep_probabilities, predictor_cost
from blockskim.method.question import question_tokens
from blockskim.model.flops import LayerCost
from blockskim.model.modeling import BlockSkimForQuestionAnswering


@dataclass(frozen=True, slots=True)
class AlignedResult:
    """What the batch-aligned scheme gives.

    Attributes:
        start_logits: in input coordinates, -inf where a token was dropped or is padding. Shape: (batch, tokens)
        end_logits: likewise. Shape: (batch, tokens)
        widths: tokens of each sample in each layer, padding included.
        kept: blocks there after each layer with a predictor, by layer number; added up over the batch.
        droppable: the blocks of each sample that each predictor droppable, by layer number. Shape: (batch,) each
        questions: question tokens of each sample. Shape: (batch,)
    """

    start_logits: Tensor
    end_logits: Tensor
    widths: tuple[int, ...]
    kept: Mapping[int, int]
    droppable: Mapping[int, Tensor]
    questions: Tensor


@dataclass(frozen=True, slots=True)
class _MatrixRows:
    """Attention probabilities between chosen tokens, read off the full matrix.

    Attributes:
        matrix: Shape: (batch, heads, tokens, tokens)
    """

    matrix: Tensor

    def probabilities(self, rows: Tensor, columns: Tensor, exists: Tensor | None = None) -> Tensor:
        """Attention of tokens ``rows`` to ``columns``, flat indices into (batch, tokens), as ``AttentionRows`` does.

        Shapes: (groups, rows), (groups, columns), (groups, rows, columns) to (groups, heads, rows, columns)
        """
        heads, tokens = self.matrix.shape[1:3]
        samples = rows[:, 0].div(tokens, rounding_mode="floor")
        chosen = self.matrix[
            samples[:, None, None, None],
            torch.arange(heads, device=rows.device)[None, :, None, None],
            (rows % tokens)[:, None, :, None],
            (columns % tokens)[:, None, None, :],
        ]
        return chosen if exists is None else chosen * exists[:, None]


@dataclass(frozen=True, slots=True)
class _Batch:
    """A padded batch on its way through the layers. Shapes: (batch, tokens) but where said."""

    hidden: Tensor  # (batch, tokens, hidden)
    mask: Tensor  # True on real tokens
    positions: Tensor
    origins: Tensor  # place in the input
    blocks: Tensor  # the droppable block a token is in, -1 for none
    starts: Tensor  # first token of each block; (batch, blocks)
    alive: Tensor  # which blocks are droppable and still there; (batch, blocks)
    question: Tensor  # places of question tokens; (batch, question)


@torch.inference_mode()
def skim_aligned(
    model: BlockSkimForQuestionAnswering,
    thresholds: Mapping[int, float],
    input_ids: Tensor,
    attention_mask: Tensor,
    context_mask: Tensor,
    token_type_ids: Tensor | None = None,
) -> AlignedResult:
    """Run a model on a padded batch, dropping the same number of blocks from every sample as far as it has them.

    Args:
        model: whose encoder, predictors and skim settings are used.
        thresholds: by layer number; layers without one, or with 0, judge nothing.
        input_ids: Shape: (batch, tokens)
        attention_mask: 1 on real tokens. Shape: (batch, tokens)
        context_mask: 1 on context tokens. Shape: (batch, tokens)
        token_type_ids: Shape: (batch, tokens)
    """
    adapter, encoder = model.adapter, model.encoder
    layout = model.layout(attention_mask, context_mask)
    mask = attention_mask.bool()
    positions = (mask.long().cumsum(-1) - 1).clamp_min(0)
    question, question_exists = question_tokens(input_ids, attention_mask, context_mask)
    places = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
    batch = _Batch(
        adapter.embed(encoder, input_ids, token_type_ids, positions),
        mask,
        positions,
        places,
        _blocks_of_tokens(places, layout.starts, layout.lengths, layout.droppable),
        layout.starts,
        layout.droppable,
        question,
    )
    widths: list[int] = []
    kept: dict[int, int] = {}
    droppable: dict[int, Tensor] = {}
    for number, layer in enumerate(adapter.layers(encoder), start=1):
        widths.append(batch.mask.shape[1])
        query, key, value = adapter.project(layer, batch.hidden)
        bias = None
        if depends_on_positions(adapter):
            placement = _placement(encoder, adapter, batch.positions)
            heads = model.places_in_bias().get(number)
            placed = placement.apply(layer, query.flatten(0, 1), key.flatten(0, 1), adapter.scale(layer), heads)
            query, key = (part.unflatten(0, batch.positions.shape) for part in (placed.query, placed.key))
            bias = None if placed.biases is None else placed.biases[0]
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        scores_mask = _scores_mask(batch.mask, bias, query.dtype)
        predictors = thresholds.get(number, 0.0) > 0 and bool(batch.alive.any())
        if predictors:
            scores = (query * adapter.scale(layer)) @ key.transpose(2, 3)
            if scores_mask is not None:
                scores += scores_mask
            matrix = scores.softmax(-1)
            del scores
            context = matrix @ value
        else:
            context = F.scaled_dot_product_attention(query, key, value, scores_mask, scale=adapter.scale(layer))
        context = context.transpose(1, 2).flatten(2)
        if predictors:
            view = _view(_MatrixRows(matrix), batch, context, layout.lengths, question_exists, layout.block_size)
            probabilities = torch.full(batch.alive.shape, -1.0, device=mask.device)
            probabilities[batch.alive] = keep_probabilities(model.predictors[str(number)](view))
            del matrix, view
        batch = _replace_hidden(batch, adapter.finish(layer, context, batch.hidden))
        if predictors:
            droppable[number] = batch.alive.sum(-1)
            stays = _aligned_choice(probabilities, batch.alive, thresholds[number])
            if not torch.equal(stays, batch.alive):
                batch = _drop(batch, stays)
            kept[number] = int(stays.sum())
    hidden = batch.hidden if adapter.final_norm is None else adapter.final_norm(encoder, batch.hidden)
    logits = model.answer_logits(hidden).float().masked_fill(~batch.mask[..., None], -torch.inf)
    full = torch.full((*input_ids.shape, 2), -torch.inf, device=logits.device)
    # Padding may repeat the places of real tokens, so it goes where nothing is written.
    samples = torch.arange(len(mask), device=mask.device)[:, None].expand_as(batch.mask)
    full[samples[batch.mask], batch.origins[batch.mask]] = logits[batch.mask]
    start_logits, end_logits = full.unbind(-1)
    return AlignedResult(start_logits, end_logits, tuple(widths), kept, droppable, question_exists.sum(-1))


def _placement(encoder: PreTrainedModel, adapter: EncoderAdapter, positions: Tensor) -> Positions:
    """Where the tokens of a padded batch stand. Shape: (batch, tokens)."""
    tokens = torch.arange(positions.numel(), device=positions.device).view(positions.shape)
    return Positions(encoder, adapter, positions.flatten(), [tokens], int(positions.max()))


def aligned_flops(model: BlockSkimForQuestionAnswering, result: AlignedResult) -> int:
    """Operations of a batch-aligned run, predictors and padding included; counted as ``flops`` does."""
    cost = model.cost
    batch = len(result.questions)
    layers = model.adapter.layers(model.encoder)
    total = batch * (result.widths[0] * cost.embedding + _last_width(result) * cost.head)
    for number, (layer, width) in enumerate(zip(cost.layers, result.widths, strict=True), start=1):
        total += batch * _layer_flops(layer, width)
        if number in result.droppable:
            dims = model.adapter.dims(layers[number - 1])
            blocks = zip(result.droppable[number].tolist(), result.questions.tolist(), strict=True)
            total += sum(predictor_cost(model.skim_config, dims, asked).of(count) for count, asked in blocks)
    return total


def _layer_flops(layer: LayerCost, width: int) -> int:
    return layer.fixed + width * (layer.before + layer.after) + width**2 * layer.pair


def _last_width(result: AlignedResult) -> int:
    # The last layer has no predictor, so what entered it left it.
    return result.widths[-1]


def _blocks_of_tokens(places: Tensor, starts: Tensor, lengths: Tensor, droppable: Tensor) -> Tensor:
    """Number of the droppable block that each token is in, -1 for none. Shape: (batch, tokens)."""
    inside = (places[:, None] >= starts[..., None]) & (places[:, None] < (starts + lengths)[..., None])
    inside &= droppable[..., None]
    return torch.where(inside.any(1), inside.to(torch.uint8).argmax(1), -1)


def _scores_mask(mask: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to the scores: position bias, and a very negative number on padding; None for nothing.

    Shape: (batch, 1 or heads, 1 or tokens, tokens)
    """
    if bias is None and bool(mask.all()):
        return None
    base = torch.zeros((), dtype=dtype, device=mask.device) if bias is None else bias.to(dtype)
    return torch.where(mask[:, None, None, :], base, torch.finfo(dtype).min)


def _view(
    rows: Attention, batch: _Batch, context: Tensor, lengths: Tensor, question_exists: Tensor, block_size: int
) -> LayerView:
    """The layer as predictors see it, tokens named by flat indices into (batch, tokens)."""
    width = batch.mask.shape[1]
    samples, numbers = batch.alive.nonzero(as_tuple=True)
    first = torch.arange(len(batch.mask), device=batch.mask.device) * width
    indices, exists = token_indices(batch.starts[batch.alive] + first[samples], lengths[batch.alive], block_size)
    return LayerView(
        attention=rows,
        hidden=batch.hidden.flatten(0, 1),
        attn_output=context.flatten(0, 1),
        tokens=indices,
        exists=exists,
        samples=samples,
        question=batch.question + first[:, None],
        question_exists=question_exists,
        block_numbers=numbers,
    )


def _aligned_choice(probabilities: Tensor, alive: Tensor, threshold: float) -> Tensor:
    """The likeliest blocks of every sample, as many as the neediest sample has above the threshold; at least one.

    Shape: (batch, blocks)
    """
    passing = (probabilities >= threshold).sum(-1)
    count = max(1, int(passing.max()))
    chosen = probabilities.topk(count, dim=-1).indices
    stays = torch.zeros_like(alive).scatter_(1, chosen, True)
    return stays & alive


def _drop(batch: _Batch, stays: Tensor) -> _Batch:
    """Gather what stays to the front of every sample and cut the batch to the widest of them."""
    of_block = torch.where(batch.blocks >= 0, stays.gather(1, batch.blocks.clamp_min(0)), True)
    tokens = batch.mask & of_block
    places = tokens.long().cumsum(-1) - 1
    width = int(tokens.sum(-1).max())
    order = (~tokens).to(torch.uint8).argsort(dim=-1, stable=True)[:, :width]
    hidden = batch.hidden.gather(1, order[..., None].expand(-1, -1, batch.hidden.shape[-1]))
    return _Batch(
        hidden,
        tokens.gather(1, order),
        batch.positions.gather(1, order),
        batch.origins.gather(1, order),
        batch.blocks.gather(1, order),
        # Those of dropped blocks mean nothing from here on.
        places.gather(1, batch.starts.clamp(0, places.shape[1] - 1)).clamp_min(0),
        stays,
        places.gather(1, batch.question).clamp_min(0),
    )


def _replace_hidden(batch: _Batch, hidden: Tensor) -> _Batch:
    return _Batch(
        hidden,
        batch.mask,
        batch.positions,
        batch.origins,
        batch.blocks,
        batch.starts,
        batch.alive,
        batch.question,
    )
