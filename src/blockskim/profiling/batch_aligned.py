"""The batch-aligned scheme: every sample of a padded batch keeps as many blocks as the neediest of them.

So works the code that was released with the paper; this is an implementation of the scheme, not of that code. Layers
with a predictor compute the full attention matrix, and blocks are dropped at the end of the layer. Three things are
kinder to it than the original: question and special tokens stay (so that answers can be compared), layers without a
predictor use fused attention, and a batch is only as wide as its widest sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.encoders import EncoderAdapter
from blockskim.encoders.positions import Positions, depends_on_positions
from blockskim.method.blocks import BlockLayout, token_indices
from blockskim.method.cost import LayerCost
from blockskim.method.layer_view import Attention, LayerView
from blockskim.method.predictors.predictor import keep_probabilities, predictor_cost
from blockskim.method.question import question_tokens
from blockskim.model.modeling import BlockSkimForQuestionAnswering


@dataclass(frozen=True, slots=True)
class AlignedResult:
    """What the batch-aligned scheme gives.

    Attributes:
        start_logits: in input coordinates, -inf where a token was dropped or is padding. Shape: (batch, tokens)
        end_logits: in input coordinates, -inf where a token was dropped or is padding. Shape: (batch, tokens)
        widths: tokens of each sample in each layer, padding included.
        kept: blocks there after each layer with a predictor, by layer number; added up over the batch.
        droppable: number of blocks of each sample that each predictor scored, by layer number. Shape: (batch,) each
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
    columns: Tensor  # where each token stands in the input
    blocks: Tensor  # the droppable block a token is in, -1 for none
    starts: Tensor  # first token of each block; (batch, blocks)
    alive: Tensor  # which blocks are droppable and still there; (batch, blocks)
    question: Tensor  # where the question tokens stand in this batch; (batch, question)


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
        thresholds: by layer number; layers without one, or with 0, drop nothing.
        input_ids: Shape: (batch, tokens)
        attention_mask: 1 on real tokens. Shape: (batch, tokens)
        context_mask: 1 on context tokens. Shape: (batch, tokens)
        token_type_ids: Shape: (batch, tokens)
    """
    adapter, encoder = model.adapter, model.encoder
    layout = model.layout(attention_mask, context_mask)
    question, question_exists = question_tokens(input_ids, attention_mask, context_mask)
    batch = _embed(model, layout, question, input_ids, attention_mask.bool(), token_type_ids)
    widths: list[int] = []
    kept: dict[int, int] = {}
    droppable: dict[int, Tensor] = {}
    for number, layer in enumerate(adapter.layers(encoder), start=1):
        widths.append(batch.mask.shape[1])
        active = thresholds.get(number, 0.0) > 0 and bool(batch.alive.any())
        attn_output, matrix = _attend(model, number, layer, batch, active)
        if matrix is not None:
            view = _view(_MatrixRows(matrix), batch, attn_output, layout.lengths, question_exists, layout.block_size)
            probabilities = torch.full(batch.alive.shape, -1.0, device=batch.mask.device)
            probabilities[batch.alive] = keep_probabilities(model.predictors[str(number)](view))
            del matrix, view
        batch = replace(batch, hidden=adapter.finish(layer, attn_output, batch.hidden))
        if active:
            droppable[number] = batch.alive.sum(-1)
            stays = _aligned_choice(probabilities, batch.alive, thresholds[number])
            if not torch.equal(stays, batch.alive):
                batch = _drop(batch, stays)
            kept[number] = int(stays.sum())
    start_logits, end_logits = _logits(model, batch, input_ids.shape)
    return AlignedResult(
        start_logits=start_logits,
        end_logits=end_logits,
        widths=tuple(widths),
        kept=kept,
        droppable=droppable,
        questions=question_exists.sum(-1),
    )


def _embed(
    model: BlockSkimForQuestionAnswering,
    layout: BlockLayout,
    question: Tensor,
    input_ids: Tensor,
    mask: Tensor,
    token_type_ids: Tensor | None,
) -> _Batch:
    """The batch as it enters the first layer. Shapes: (batch, question), the rest (batch, tokens)."""
    positions = (mask.long().cumsum(-1) - 1).clamp_min(0)
    columns = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
    return _Batch(
        hidden=model.adapter.embed(model.encoder, input_ids, token_type_ids, positions),
        mask=mask,
        positions=positions,
        columns=columns,
        blocks=_blocks_of_tokens(columns, layout.starts, layout.lengths, layout.droppable),
        starts=layout.starts,
        alive=layout.droppable,
        question=question,
    )


def _attend(
    model: BlockSkimForQuestionAnswering, number: int, layer: nn.Module, batch: _Batch, active: bool
) -> tuple[Tensor, Tensor | None]:
    """What a layer's attention gives, and all its probabilities where a predictor is asked.

    Shapes: (batch, tokens, heads * head_dim) and (batch, heads, tokens, tokens)
    """
    adapter = model.adapter
    scale = adapter.scale(layer)
    query, key, value = adapter.project(layer, batch.hidden)
    bias = None
    if depends_on_positions(adapter):
        heads = model.places_in_bias().get(number)
        positions = _positions(model.encoder, adapter, batch.positions)
        positioned = positions.apply(layer, query.flatten(0, 1), key.flatten(0, 1), scale, heads)
        query, key = (part.unflatten(0, batch.positions.shape) for part in (positioned.query, positioned.key))
        bias = None if positioned.biases is None else positioned.biases[0]
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    scores_mask = _scores_mask(batch.mask, bias, query.dtype)
    matrix = None
    if active:
        scores = (query * scale) @ key.transpose(2, 3)
        if scores_mask is not None:
            scores += scores_mask
        matrix = scores.softmax(-1)
        del scores
        attn_output = matrix @ value
    else:
        attn_output = F.scaled_dot_product_attention(query, key, value, scores_mask, scale=scale)
    return attn_output.transpose(1, 2).flatten(2), matrix


def _logits(model: BlockSkimForQuestionAnswering, batch: _Batch, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Start and end logits in input coordinates, -inf where a token was dropped. Shape: (batch, tokens) each."""
    adapter = model.adapter
    hidden = batch.hidden if adapter.final_norm is None else adapter.final_norm(model.encoder, batch.hidden)
    logits = model.answer_logits(hidden).float()
    full = torch.full((*shape, 2), -torch.inf, device=logits.device)
    # Padding may have the columns of real tokens, so nothing of it is written.
    samples = torch.arange(len(batch.mask), device=logits.device)[:, None].expand_as(batch.mask)
    full[samples[batch.mask], batch.columns[batch.mask]] = logits[batch.mask]
    start_logits, end_logits = full.unbind(-1)
    return start_logits, end_logits


def _positions(encoder: PreTrainedModel, adapter: EncoderAdapter, positions: Tensor) -> Positions:
    """What the positions of a padded batch do to attention. Shape: (batch, tokens)."""
    tokens = torch.arange(positions.numel(), device=positions.device).view(positions.shape)
    return Positions(encoder, adapter, positions.flatten(), [tokens], int(positions.max()))


def aligned_flops(model: BlockSkimForQuestionAnswering, result: AlignedResult) -> int:
    """Operations of a batch-aligned run, predictors and padding included, counted by the rules of ``model.flops``."""
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


def _blocks_of_tokens(columns: Tensor, starts: Tensor, lengths: Tensor, droppable: Tensor) -> Tensor:
    """Number of the droppable block that each token is in, -1 for none. Shape: (batch, tokens)."""
    inside = (columns[:, None] >= starts[..., None]) & (columns[:, None] < (starts + lengths)[..., None])
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
    rows: Attention, batch: _Batch, attn_output: Tensor, lengths: Tensor, question_exists: Tensor, block_size: int
) -> LayerView:
    """The layer as predictors see it, tokens named by flat indices into (batch, tokens)."""
    width = batch.mask.shape[1]
    samples, numbers = batch.alive.nonzero(as_tuple=True)
    first = torch.arange(len(batch.mask), device=batch.mask.device) * width
    indices, exists = token_indices(batch.starts[batch.alive] + first[samples], lengths[batch.alive], block_size)
    return LayerView(
        attention=rows,
        hidden=batch.hidden.flatten(0, 1),
        attn_output=attn_output.flatten(0, 1),
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
    columns = tokens.long().cumsum(-1) - 1
    width = int(tokens.sum(-1).max())
    order = (~tokens).to(torch.uint8).argsort(dim=-1, stable=True)[:, :width]
    return _Batch(
        hidden=batch.hidden.gather(1, order[..., None].expand(-1, -1, batch.hidden.shape[-1])),
        mask=tokens.gather(1, order),
        positions=batch.positions.gather(1, order),
        columns=batch.columns.gather(1, order),
        blocks=batch.blocks.gather(1, order),
        # Those of dropped blocks mean nothing from here on.
        starts=columns.gather(1, batch.starts.clamp(0, columns.shape[1] - 1)).clamp_min(0),
        alive=stays,
        question=columns.gather(1, batch.question).clamp_min(0),
    )
