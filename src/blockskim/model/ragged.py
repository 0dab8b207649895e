"""The skimming forward pass: packed tokens, blocks dropped right after attention, each sample keeping its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blockskim.data.packed_inputs import PackedInputs
from blockskim.encoders.backbone import Backbone
from blockskim.kernels.attention_probabilities import AttentionRows
from blockskim.kernels.packed_attention import attend_packed, padded_rows
from blockskim.method.block_spans import BlockSpans, surviving_blocks
from blockskim.method.skim_trace import LayerRecord
from blockskim.model.packing import Ints, Packing
from blockskim.model.prepared_layers import PreparedLayer
from blockskim.model.prepared_predictors import PreparedPredictor

GROUP_BYTES = 16 * 2**20
"""How large query, key and value of the samples may be that run together on a CPU. Above that, memory comes fresh from
the system in every step, which costs as much as the arithmetic saved."""

GROUP_TOKENS = 1024
"""Tokens that run together even if they are larger."""


@dataclass(frozen=True, slots=True)
class Skimmers:
    """What runs on packed tokens: an encoder's layers and its skim predictors, prepared for inference.

    Attributes:
        layers: first to last.
        predictors: by layer number; layers count from 1.
        thresholds: by layer number; blocks with a lower keep probability are dropped after the layer's attention.
            Predictors of other layers are not asked.
    """

    layers: Sequence[PreparedLayer]
    predictors: Mapping[int, PreparedPredictor]
    thresholds: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class RaggedResult:
    """Surviving tokens and how they came to survive.

    Attributes:
        hidden: states leaving the last layer. Shape: (survivors, hidden)
        tokens: each survivor as an index into the packed inputs. Shape: (survivors,)
        records: by layer number, of the layers in which a predictor was asked.
    """

    hidden: Tensor
    tokens: Ints
    records: Mapping[int, LayerRecord]


def encode_ragged(backbone: Backbone, skimmers: Skimmers, inputs: PackedInputs, layout: BlockSpans) -> RaggedResult:
    """Run the layers on what is left of every sample.

    At least one block of a document always survives; a sample that loses all its blocks to other samples of its
    document leaves the computation whole.

    Args:
        backbone: the encoder, in evaluation mode.
        skimmers: its layers and predictors, and the thresholds.
        inputs: the samples.
        layout: their blocks, in places within each sample.

    Returns:
        The survivors of the last layer.
    """
    recorder = _Recorder(layout.droppable, inputs.lengths)
    hidden, tokens = [], []
    for samples in micro_batches(inputs.lengths, inputs.documents, micro_batch_tokens(backbone)):
        packing = Packing.of(inputs, layout, samples)
        survivors = _encode(backbone, skimmers, inputs, packing, layout.block_size, recorder)
        hidden.append(survivors[: len(packing.tokens)])
        tokens.append(packing.tokens)
    if not hidden:
        width = backbone.dims(1).hidden
        hidden.append(torch.empty((0, width), dtype=backbone.encoder.dtype, device=backbone.device))
        tokens.append(np.zeros(0, dtype=np.int64))
    return RaggedResult(
        hidden[0] if len(hidden) == 1 else torch.cat(hidden), np.concatenate(tokens), recorder.records()
    )


def spread_logits(logits: Tensor, result: RaggedResult, inputs: PackedInputs, first: Ints, width: int) -> Tensor:
    """Put the logits of survivors back to their places in the input; those of all other places are -inf.

    Args:
        logits: start and end logits of each survivor. Shape: (survivors, 2)
        result: of the run.
        inputs: what was read.
        first: place of the first token of each sample. Shape: (batch,)
        width: places of each sample.

    Returns:
        Shape: (batch, width, 2)
    """
    batch = len(inputs.lengths)
    samples = np.repeat(np.arange(batch), inputs.lengths)
    places = samples * width + np.arange(len(samples)) - (inputs.bounds[:-1] - first)[samples]
    # Not PyTorch's default format, which another thread changes while it loads a model.
    full = logits.new_full((batch * width, 2), -torch.inf)
    full[torch.from_numpy(places[result.tokens]).to(logits.device)] = logits
    return full.view(batch, width, 2)


class _Recorder:
    """Notes what predictors do, micro-batch by micro-batch."""

    def __init__(self, droppable: NDArray[np.bool_], lengths: Ints) -> None:
        self._blank = np.full(droppable.shape, np.nan, dtype=np.float32)
        self._lengths = lengths
        self._droppable = droppable
        self._records: dict[int, LayerRecord] = {}

    def note(
        self, number: int, packing: Packing, probabilities: NDArray[np.float32], kept: NDArray[np.bool_]
    ) -> LayerRecord:
        """A layer scored the blocks of some samples; gives the record, whose ``left`` is for the caller to fill in."""
        if number not in self._records:
            self._records[number] = LayerRecord(
                np.zeros_like(self._droppable), self._blank.copy(), np.zeros_like(self._lengths), self._lengths.copy()
            )
        record = self._records[number]
        record.kept.reshape(-1)[packing.block_index] = kept
        record.probabilities.reshape(-1)[packing.block_index] = probabilities
        record.scored[packing.samples] = np.bincount(packing.block_samples, minlength=len(packing.samples))
        return record

    def records(self) -> dict[int, LayerRecord]:
        """By layer, of the layers in which any micro-batch had blocks to score."""
        return dict(sorted(self._records.items()))


def micro_batch_tokens(backbone: Backbone) -> int:
    """How many tokens are to run together."""
    if backbone.device.type != "cpu":
        return np.iinfo(np.int64).max
    dims = backbone.dims(1)
    return max(GROUP_TOKENS, GROUP_BYTES // (3 * dims.heads * dims.head_dim * backbone.encoder.dtype.itemsize))


def micro_batches(lengths: Ints, documents: Ints, tokens: int) -> Iterator[Ints]:
    """Split samples into those that run together: whole documents, at most so many tokens if possible.

    Args:
        lengths: tokens of each sample. Shape: (samples,)
        documents: of each sample. Shape: (samples,)
        tokens: the most that run together, unless one document has more.

    Yields:
        Numbers of samples.
    """
    if lengths.sum() <= tokens:
        if len(lengths):
            yield np.arange(len(lengths))
        return
    order = np.argsort(documents, kind="stable")
    bounds = np.flatnonzero(np.diff(documents[order])) + 1
    together: list[int] = []
    held = 0
    for part in np.split(order, bounds):
        size = int(lengths[part].sum())
        if together and held + size > tokens:
            yield np.array(together)
            together, held = [], 0
        together += part.tolist()
        held += size
    yield np.array(together)


def _encode(
    backbone: Backbone,
    skimmers: Skimmers,
    inputs: PackedInputs,
    packing: Packing,
    block_size: int,
    recorder: _Recorder,
) -> Tensor:
    """Run the layers on some samples; ``packing`` is brought up to date. Shape: (at least survivors, hidden)."""
    lengths = packing.counts.tolist()
    hidden = packing.embed(backbone, inputs, padded_rows(lengths))
    positions = packing.placed(backbone, len(hidden))
    _, documents = np.unique(inputs.documents[packing.samples], return_inverse=True)
    num_documents = int(documents.max()) + 1
    for number, layer in enumerate(skimmers.layers, start=1):
        active = number in skimmers.thresholds and len(packing.block_starts) > 0
        wants_attention = active and skimmers.predictors[number].wants_attention
        query, key, value = layer.project(hidden)
        biases, row_bias = None, None
        if positions is not None:
            heads = backbone.heads.get(number)
            placed = positions.apply(backbone.layers[number - 1], query, key, layer.scale, heads)
            query, key, biases, row_bias = placed.query, placed.key, placed.biases, placed.bias_between
        attended, log_sum_exp = attend_packed(query, key, value, layer.scale, lengths, biases, wants_attention)
        attn_output = attended.flatten(1)
        if active:
            rows = None
            if log_sum_exp is not None:
                rows = AttentionRows(query, key, log_sum_exp, layer.scale, row_bias)
            view = packing.layer_view(rows, hidden, attn_output, block_size)
            probabilities = skimmers.predictors[number].probabilities(view).cpu().numpy()
            threshold = skimmers.thresholds[number]
            kept = surviving_blocks(probabilities, threshold, documents[packing.block_samples], num_documents)
            record = recorder.note(number, packing, probabilities, kept)
            if not kept.all():
                chosen = packing.drop(kept)
                lengths = packing.counts.tolist()
                hidden, attn_output = _rows_that_stay(chosen, padded_rows(lengths), hidden, attn_output)
                if number < len(skimmers.layers):
                    positions = packing.placed(backbone, len(hidden))
            record.left[packing.samples] = packing.counts
        hidden = layer.finish(attn_output, hidden)
    final_norm = backbone.adapter.final_norm
    return hidden if final_norm is None else final_norm(backbone.encoder, hidden)


def _rows_that_stay(chosen: Ints, rows: int, *states: Tensor) -> tuple[Tensor, ...]:
    """Chosen rows of some matrices, and padding rows behind them. Shapes: (rows, width) each."""
    # Kernels read a little behind the end; any finite values do there.
    filled = np.zeros(rows, dtype=np.int64)
    filled[: len(chosen)] = chosen
    index = torch.from_numpy(filled).to(states[0].device)
    return tuple(part.index_select(0, index) for part in states)
