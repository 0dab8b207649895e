"""The skimming forward pass: packed tokens, blocks dropped right after attention, each sample keeping its own.

Which tokens are where is kept in NumPy arrays on the host: that is many steps on few numbers. Only hidden states and
what predictors look at are tensors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from blockskim.encoders import EncoderAdapter
from blockskim.encoders.positions import Positions, depends_on_positions
from blockskim.kernels.attention_probabilities import AttentionRows
from blockskim.kernels.packed_attention import attend_packed, padded_rows
from blockskim.method.blocks import BlockLayout, surviving_blocks
from blockskim.method.layer_view import LayerView, TokenBags
from blockskim.method.question import question_tokens
from blockskim.model.prepared_layers import PreparedLayer
from blockskim.model.prepared_predictors import PreparedPredictor

GROUP_BYTES = 16 * 2**20
"""How large query, key and value of the samples may be that run together on a CPU. Above that, memory comes fresh from
the system in every step, which costs as much as the arithmetic saved."""

GROUP_TOKENS = 1024
"""Tokens that run together even if they are larger."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What a predictor did in one layer.

    Attributes:
        kept: which droppable blocks were there after it. Shape: (batch, blocks)
        probabilities: keep probability of each block that was scored, NaN for others. Shape: (batch, blocks)
        droppable: how many blocks of each sample it droppable. Shape: (batch,)
        left: tokens of each sample after the layer. Shape: (batch,)
    """

    kept: NDArray[np.bool_]
    probabilities: NDArray[np.float32]
    droppable: NDArray[np.int64]
    left: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RaggedResult:
    """Surviving tokens and how they came to survive.

    Attributes:
        hidden: states leaving the last layer. Shape: (survivors, hidden)
        origins: where each survivor stood, as an index into the flattened input. Shape: (survivors,)
        lengths: real tokens of each sample before skimming. Shape: (batch,)
        questions: question tokens of each sample. Shape: (batch,)
        records: by layer number, of the layers in which a predictor was asked.
    """

    hidden: Tensor
    origins: Tensor
    lengths: NDArray[np.int64]
    questions: NDArray[np.int64]
    records: Mapping[int, LayerRecord]


@dataclass(slots=True)
class _Packing:
    """Which tokens, blocks and questions of a group of samples are still there, and where.

    Attributes:
        counts: tokens of each sample. Shape: (samples,)
        origins: of each token, as an index into the flattened input. Shape: (tokens,)
        positions: of each token in its sample, as it was before skimming. Shape: (tokens,)
        starts: packed index of the first token of each droppable block. Shape: (blocks,)
        lengths: its tokens. Shape: (blocks,)
        samples: its sample in the group. Shape: (blocks,)
        places: its index in the flattened layout. Shape: (blocks,)
        numbers: its number among the blocks of its sample. Shape: (blocks,)
        question: packed indices of each sample's question tokens. Shape: (samples, question)
        question_exists: False where a question is shorter. Shape: (samples, question)
    """

    counts: NDArray[np.int64]
    origins: NDArray[np.int64]
    positions: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    samples: NDArray[np.int64]
    places: NDArray[np.int64]
    numbers: NDArray[np.int64]
    question: NDArray[np.int64]
    question_exists: NDArray[np.bool_]


def encode_ragged(
    encoder: PreTrainedModel,
    adapter: EncoderAdapter,
    layers: Sequence[PreparedLayer],
    predictors: Mapping[int, PreparedPredictor],
    thresholds: Mapping[int, float],
    input_ids: Tensor,
    attention_mask: Tensor,
    token_type_ids: Tensor | None,
    context_mask: Tensor,
    layout: BlockLayout,
    documents: Tensor,
    heads: Mapping[int, Sequence[int]] | None = None,
) -> RaggedResult:
    """Run the layers on what is left of every sample.

    Args:
        encoder: the transformers encoder, in evaluation mode.
        adapter: of its family.
        layers: the encoder's layers, made ready.
        predictors: predictors by layer number; those without a threshold are not asked.
        thresholds: by layer number; blocks with a lower keep probability are dropped after the layer's attention.
        input_ids: Shape: (batch, tokens)
        attention_mask: 1 on real tokens. Shape: (batch, tokens)
        token_type_ids: Shape: (batch, tokens)
        context_mask: 1 on context tokens. Shape: (batch, tokens)
        layout: the blocks.
        documents: the document of each sample, numbered from 0. At least one block of a document always survives; a
            sample that loses all its blocks to other samples of its document leaves the computation whole.
            Shape: (batch,)
        heads: places of the heads that pruned layers still have, counted from 0, by layer number; needed where there
            is a position bias, which is made for all heads.

    Returns:
        The survivors of the last layer.
    """
    real = attention_mask.cpu().numpy().astype(bool)
    groups_of = documents.cpu().numpy()
    question, question_exists = (
        part.cpu().numpy() for part in question_tokens(input_ids, attention_mask, context_mask)
    )
    lengths = real.sum(-1)
    droppable, starts, sizes = (part.cpu().numpy() for part in (layout.droppable, layout.starts, layout.lengths))
    recorder = _Recorder(droppable, lengths)
    hidden, origins = [], []
    for group in _groups(lengths, groups_of, _group_tokens(adapter, encoder, input_ids.device)):
        packing = _pack(group, real, droppable, starts, sizes, question, question_exists)
        survivors = _encode_group(
            encoder,
            adapter,
            layers,
            predictors,
            thresholds,
            packing,
            (input_ids, token_type_ids),
            layout.block_size,
            groups_of[group],
            group,
            recorder,
            heads or {},
        )
        hidden.append(survivors[: len(packing.origins)])
        origins.append(torch.from_numpy(packing.origins))
    if not hidden:
        width = adapter.dims(adapter.layers(encoder)[0]).hidden
        hidden.append(torch.empty((0, width), dtype=encoder.dtype, device=input_ids.device))
        origins.append(torch.empty(0, dtype=torch.long))
    return RaggedResult(
        hidden[0] if len(hidden) == 1 else torch.cat(hidden),
        (origins[0] if len(origins) == 1 else torch.cat(origins)).to(input_ids.device),
        lengths,
        question_exists.sum(-1),
        recorder.records(),
    )


class _Recorder:
    """Notes what predictors do, group by group."""

    def __init__(self, droppable: NDArray[np.bool_], lengths: NDArray[np.int64]) -> None:
        self._blank = np.full(droppable.shape, np.nan, dtype=np.float32)
        self._lengths = lengths
        self._kept = droppable
        self._records: dict[int, LayerRecord] = {}

    def note(
        self,
        number: int,
        group: NDArray[np.int64],
        packing: _Packing,
        probabilities: NDArray[np.float32],
        kept: NDArray[np.bool_],
        left: NDArray[np.int64],
    ) -> None:
        """A layer droppable the blocks of a group of samples."""
        if number not in self._records:
            self._records[number] = LayerRecord(
                np.zeros_like(self._kept), self._blank.copy(), np.zeros_like(self._lengths), self._lengths.copy()
            )
        record = self._records[number]
        record.kept.reshape(-1)[packing.places] = kept
        record.probabilities.reshape(-1)[packing.places] = probabilities
        record.droppable[group] = np.bincount(packing.samples, minlength=len(group))
        record.left[group] = left

    def records(self) -> dict[int, LayerRecord]:
        """By layer, of the layers in which any group had blocks to judge."""
        return dict(sorted(self._records.items()))


def _group_tokens(adapter: EncoderAdapter, encoder: PreTrainedModel, device: torch.device) -> int:
    """How many tokens are to run together."""
    if device.type != "cpu":
        return np.iinfo(np.int64).max
    dims = adapter.dims(adapter.layers(encoder)[0])
    return max(GROUP_TOKENS, GROUP_BYTES // (3 * dims.heads * dims.head_dim * encoder.dtype.itemsize))


def _groups(lengths: NDArray[np.int64], documents: NDArray[np.int64], tokens: int) -> Iterator[NDArray[np.int64]]:
    """Split a batch into groups of samples that run together: whole documents, at most so many tokens if possible."""
    if lengths.sum() <= tokens:
        if len(lengths):
            yield np.arange(len(lengths))
        return
    order = np.argsort(documents, kind="stable")
    bounds = np.flatnonzero(np.diff(documents[order])) + 1
    group: list[int] = []
    held = 0
    for part in np.split(order, bounds):
        size = int(lengths[part].sum())
        if group and held + size > tokens:
            yield np.array(group)
            group, held = [], 0
        group += part.tolist()
        held += size
    yield np.array(group)


def _pack(
    group: NDArray[np.int64],
    real: NDArray[np.bool_],
    droppable: NDArray[np.bool_],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    question: NDArray[np.int64],
    question_exists: NDArray[np.bool_],
) -> _Packing:
    """Lay the real tokens of some samples side by side and find their droppable blocks and questions among them."""
    mask = real[group]
    width = mask.shape[1]
    rows, columns = mask.nonzero()
    counts = mask.sum(-1)
    first_packed = counts.cumsum() - counts
    # Real tokens are one run, so a token's place is a shift of its column.
    shift = first_packed - mask.argmax(-1)
    samples, blocks = droppable[group].nonzero()
    chosen = group[samples]
    asked, exists = question[group], question_exists[group]
    return _Packing(
        counts,
        group[rows] * width + columns,
        np.arange(len(rows)) - first_packed[rows],
        starts[chosen, blocks] + shift[samples],
        sizes[chosen, blocks],
        samples,
        chosen * droppable.shape[1] + blocks,
        blocks,
        # Entries that don't exist may lie beyond the end; any valid index does for them.
        np.where(exists, asked + shift[:, None], 0),
        exists,
    )


def _encode_group(
    encoder: PreTrainedModel,
    adapter: EncoderAdapter,
    layers: Sequence[PreparedLayer],
    predictors: Mapping[int, PreparedPredictor],
    thresholds: Mapping[int, float],
    packing: _Packing,
    inputs: tuple[Tensor, Tensor | None],
    block_size: int,
    documents: NDArray[np.int64],
    group: NDArray[np.int64],
    recorder: _Recorder,
    heads: Mapping[int, Sequence[int]],
) -> Tensor:
    """Run the layers on a group of samples; ``packing`` is brought up to date. Shape: (at least survivors, hidden)."""
    device = inputs[0].device
    lengths = packing.counts.tolist()
    hidden = _embed(encoder, adapter, packing, inputs, padded_rows(lengths))
    placement = _placement(encoder, adapter, packing, len(hidden), device)
    modules = adapter.layers(encoder)
    _, documents = np.unique(documents, return_inverse=True)
    num_documents = int(documents.max()) + 1
    for number, layer in enumerate(layers, start=1):
        asked = number in thresholds and len(packing.starts) > 0
        wants_rows = asked and predictors[number].wants_attention
        query, key, value = layer.project(hidden)
        biases, row_bias = None, None
        if placement is not None:
            placed = placement.apply(modules[number - 1], query, key, layer.scale, heads.get(number))
            query, key, biases, row_bias = placed.query, placed.key, placed.biases, placed.bias_between
        attended, log_sum_exp = attend_packed(query, key, value, layer.scale, lengths, biases, wants_rows)
        context = attended.flatten(1)
        if asked:
            rows = None
            if log_sum_exp is not None:
                rows = AttentionRows(query, key, log_sum_exp, layer.scale, row_bias)
            view = _view(packing, rows, hidden, context, block_size)
            probabilities = predictors[number].probabilities(view).cpu().numpy()
            kept = surviving_blocks(probabilities, thresholds[number], documents[packing.samples], num_documents)
            if kept.all():
                recorder.note(number, group, packing, probabilities, kept, packing.counts)
            else:
                stays, left = _staying_tokens(packing, kept)
                recorder.note(number, group, packing, probabilities, kept, left)
                chosen = stays.nonzero()[0]
                _drop(packing, kept, stays, left, chosen)
                lengths = left.tolist()
                # Rows of no meaning fill up what kernels read on behind the end; any finite ones do.
                filled = np.zeros(padded_rows(lengths), dtype=np.int64)
                filled[: len(chosen)] = chosen
                index = torch.from_numpy(filled).to(device)
                hidden, context = hidden.index_select(0, index), context.index_select(0, index)
                if number < len(layers):
                    placement = _placement(encoder, adapter, packing, len(hidden), device)
        hidden = layer.finish(context, hidden)
    return hidden if adapter.final_norm is None else adapter.final_norm(encoder, hidden)


def _embed(
    encoder: PreTrainedModel,
    adapter: EncoderAdapter,
    packing: _Packing,
    inputs: tuple[Tensor, Tensor | None],
    rows: int,
) -> Tensor:
    """Embeddings of the packed tokens; rows of no meaning at the end repeat the first one. Shape: (rows, hidden)."""
    device = inputs[0].device
    fill = rows - len(packing.origins)
    origins = torch.from_numpy(np.pad(packing.origins, (0, fill), mode="edge")).to(device)
    positions = torch.from_numpy(np.pad(packing.positions, (0, fill))).to(device)
    ids, types = (None if part is None else part.reshape(-1).index_select(0, origins)[None] for part in inputs)
    assert ids is not None
    return adapter.embed(encoder, ids, types, positions[None])[0]


def _view(packing: _Packing, rows: AttentionRows | None, hidden: Tensor, context: Tensor, block_size: int) -> LayerView:
    offsets = np.arange(block_size)
    exists = offsets < packing.lengths[:, None]
    tokens = np.where(exists, packing.starts[:, None] + offsets, packing.starts[:, None])
    in_bags = np.concatenate([tokens[exists], packing.question[packing.question_exists]])
    sizes = np.concatenate([packing.lengths, packing.question_exists.sum(1)])
    places = (tokens, exists, packing.samples, packing.question, packing.question_exists, packing.numbers)
    bags = (in_bags, sizes.cumsum() - sizes)
    first, second, third, fourth, fifth, sixth, bagged, bag_offsets = (
        torch.from_numpy(part).to(hidden.device) for part in (*places, *bags)
    )
    return LayerView(rows, hidden, context, first, second, third, fourth, fifth, sixth, TokenBags(bagged, bag_offsets))


def _staying_tokens(packing: _Packing, kept: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """True for tokens outside of dropped blocks and of samples that lost all their blocks, and how many of each sample.

    Shapes: (tokens,), (samples,)
    """
    dropped = ~kept
    steps = np.zeros(len(packing.origins) + 1, dtype=np.int8)
    steps[packing.starts[dropped]] += 1
    steps[packing.starts[dropped] + packing.lengths[dropped]] -= 1
    stays = steps[:-1].cumsum(dtype=np.int8) == 0
    left = packing.counts.copy()
    np.subtract.at(left, packing.samples[dropped], packing.lengths[dropped])
    has = np.ones(len(left), dtype=bool)
    has[packing.samples] = False
    has[packing.samples[kept]] = True
    if not has.all():
        stays &= np.repeat(has, packing.counts)
        left[~has] = 0
    return stays, left


def _drop(
    packing: _Packing,
    kept: NDArray[np.bool_],
    stays: NDArray[np.bool_],
    left: NDArray[np.int64],
    chosen: NDArray[np.int64],
) -> None:
    """Take what does not stay out of the packing."""
    places = stays.cumsum() - 1
    packing.counts = left
    packing.origins = packing.origins[chosen]
    packing.positions = packing.positions[chosen]
    packing.starts = places[packing.starts[kept]]
    packing.lengths = packing.lengths[kept]
    packing.samples = packing.samples[kept]
    packing.places = packing.places[kept]
    packing.numbers = packing.numbers[kept]
    packing.question = places[packing.question].clip(0)


def _placement(
    encoder: PreTrainedModel, adapter: EncoderAdapter, packing: _Packing, rows: int, device: torch.device
) -> Positions | None:
    """Where the packed tokens stand, with rows of no meaning at the end; None for a family that doesn't ask."""
    if not depends_on_positions(adapter):
        return None
    positions, counts = packing.positions, packing.counts[packing.counts > 0]
    ends = counts.cumsum() - 1
    span = int((positions[ends] - positions[ends - counts + 1]).max(initial=0))
    tokens = torch.arange(len(positions), device=device)
    filled = torch.from_numpy(np.pad(positions, (0, rows - len(positions)))).to(device)
    return Positions(encoder, adapter, filled, tokens.split(packing.counts.tolist()), span)
