"""Which tokens, blocks and questions of some samples are still in the computation, and where in the packed matrix.

This is kept in NumPy arrays on the host: it is many steps on few numbers. Only hidden states and what predictors look
at are tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blockskim.data.packed_inputs import PackedInputs
from blockskim.encoders.backbone import Backbone
from blockskim.encoders.positions import Positions, depends_on_positions
from blockskim.kernels.attention_probabilities import AttentionRows
from blockskim.method.block_spans import BlockSpans, first_and_length
from blockskim.method.layer_view import LayerView, TokenBags
from blockskim.method.question import question_tokens

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Packing:
    """Some samples that run together, as far as they are still there.

    Attributes:
        counts: tokens of each sample. Shape: (samples,)
        tokens: each token as an index into the packed inputs. Shape: (tokens,)
        positions: of each token in its sample, as it was before skimming. Shape: (tokens,)
        block_starts: packed index of the first token of each droppable block. Shape: (blocks,)
        block_lengths: its tokens. Shape: (blocks,)
        block_samples: its sample among these. Shape: (blocks,)
        block_index: its index in the flattened layout. Shape: (blocks,)
        block_numbers: its number among the blocks of its sample. Shape: (blocks,)
        question: packed indices of each sample's question tokens. Shape: (samples, question)
        question_exists: False where a question is shorter. Shape: (samples, question)
        samples: which of the batch these are. Shape: (samples,)
    """

    counts: Ints
    tokens: Ints
    positions: Ints
    block_starts: Ints
    block_lengths: Ints
    block_samples: Ints
    block_index: Ints
    block_numbers: Ints
    question: Ints
    question_exists: NDArray[np.bool_]
    samples: Ints

    @classmethod
    def of(cls, inputs: PackedInputs, layout: BlockSpans, samples: Ints) -> "Packing":
        """Lay the tokens of some samples side by side and find their droppable blocks and questions among them.

        Args:
            inputs: of all samples.
            layout: the blocks, in places within each sample.
            samples: which of them run together. Shape: (samples,)
        """
        counts = inputs.lengths[samples]
        first = counts.cumsum() - counts
        positions = np.arange(int(counts.sum())) - np.repeat(first, counts)
        droppable, starts, lengths = layout.droppable, layout.starts, layout.lengths
        block_samples, numbers = droppable[samples].nonzero()
        rows = samples[block_samples]
        exists = inputs.question_exists[samples]
        return cls(
            counts=counts,
            tokens=np.repeat(inputs.bounds[samples], counts) + positions,
            positions=positions,
            block_starts=starts[rows, numbers] + first[block_samples],
            block_lengths=lengths[rows, numbers],
            block_samples=block_samples,
            block_index=rows * droppable.shape[1] + numbers,
            block_numbers=numbers,
            # Entries that don't exist may lie beyond the end; any valid index does for them.
            question=np.where(exists, inputs.questions[samples] + first[:, None], 0),
            question_exists=exists,
            samples=samples,
        )

    def embed(self, backbone: Backbone, inputs: PackedInputs, rows: int) -> Tensor:
        """Embeddings of the tokens; padding rows at the end repeat the last one. Shape: (rows, hidden)."""
        device = backbone.device
        fill = rows - len(self.tokens)
        tokens = np.pad(self.tokens, (0, fill), mode="edge")
        positions = np.pad(self.positions, (0, fill))
        ids, types = (
            None if part is None else torch.from_numpy(part[tokens]).to(device)[None]
            for part in (inputs.ids, inputs.types)
        )
        assert ids is not None
        return backbone.adapter.embed(backbone.encoder, ids, types, torch.from_numpy(positions).to(device)[None])[0]

    def layer_view(
        self, attention: AttentionRows | None, hidden: Tensor, attn_output: Tensor, block_size: int
    ) -> LayerView:
        """The layer as predictors see it.

        Args:
            attention: yields attention probabilities; None when no predictor asks for them.
            hidden: what entered the layer. Shape: (rows, hidden)
            attn_output: what attention gave, heads joined. Shape: (rows, heads * head_dim)
            block_size: tokens of a full block.
        """
        offsets = np.arange(block_size)
        exists = offsets < self.block_lengths[:, None]
        tokens = np.where(exists, self.block_starts[:, None] + offsets, self.block_starts[:, None])
        in_bags = np.concatenate([tokens[exists], self.question[self.question_exists]])
        sizes = np.concatenate([self.block_lengths, self.question_exists.sum(1)])

        def place(part: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(part).to(hidden.device)

        return LayerView(
            attention=attention,
            hidden=hidden,
            attn_output=attn_output,
            tokens=place(tokens),
            exists=place(exists),
            samples=place(self.block_samples),
            question=place(self.question),
            question_exists=place(self.question_exists),
            block_numbers=place(self.block_numbers),
            bags=TokenBags(place(in_bags), place(sizes.cumsum() - sizes)),
            places=self.samples,
        )

    def drop(self, kept: NDArray[np.bool_]) -> Ints:
        """Take the blocks that are not kept out, and samples that lose all their blocks to others of their document.

        Args:
            kept: which of the blocks stay. Shape: (blocks,)

        Returns:
            Rows of the packed matrix that stay, in their order. Shape: (tokens left,)
        """
        stays, left = self._staying_tokens(kept)
        chosen = stays.nonzero()[0]
        moved = stays.cumsum() - 1
        self.counts = left
        self.tokens = self.tokens[chosen]
        self.positions = self.positions[chosen]
        self.block_starts = moved[self.block_starts[kept]]
        self.block_lengths = self.block_lengths[kept]
        self.block_samples = self.block_samples[kept]
        self.block_index = self.block_index[kept]
        self.block_numbers = self.block_numbers[kept]
        self.question = moved[self.question].clip(0)
        return chosen

    def _staying_tokens(self, kept: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Ints]:
        """True for tokens that stay, and how many of each sample do. Shapes: (tokens,), (samples,)."""
        dropped = ~kept
        steps = np.zeros(len(self.tokens) + 1, dtype=np.int8)
        steps[self.block_starts[dropped]] += 1
        steps[self.block_starts[dropped] + self.block_lengths[dropped]] -= 1
        stays = steps[:-1].cumsum(dtype=np.int8) == 0
        left = self.counts.copy()
        np.subtract.at(left, self.block_samples[dropped], self.block_lengths[dropped])
        has_blocks = np.ones(len(left), dtype=bool)
        has_blocks[self.block_samples] = False
        has_blocks[self.block_samples[kept]] = True
        if not has_blocks.all():
            stays &= np.repeat(has_blocks, self.counts)
            left[~has_blocks] = 0
        return stays, left

    def placed(self, backbone: Backbone, rows: int) -> Positions | None:
        """The positions of the tokens, with padding rows at the end; None for a family whose attention ignores them."""
        if not depends_on_positions(backbone.adapter):
            return None
        counts = self.counts[self.counts > 0]
        ends = counts.cumsum() - 1
        span = int((self.positions[ends] - self.positions[ends - counts + 1]).max(initial=0))
        device = backbone.device
        sequences = torch.arange(len(self.positions), device=device).split(self.counts.tolist())
        filled = torch.from_numpy(np.pad(self.positions, (0, rows - len(self.positions)))).to(device)
        return Positions(backbone.encoder, backbone.adapter, filled, sequences, span)


def pack_padded(inputs: Mapping[str, Tensor | None], documents: Tensor | None) -> tuple[PackedInputs, Ints]:
    """Take the padding out of a batch.

    Args:
        inputs: ``input_ids``, ``attention_mask``, ``context_mask`` and perhaps ``token_type_ids``.
            Shape: (batch, tokens) each
        documents: the document of each sample; each is its own when None. Shape: (batch,)

    Returns:
        The packed inputs, and the place of the first real token of each sample. Shape: (batch,)

    Raises:
        ValueError: real or context tokens of a sample are not one run.
    """
    ids, attention_mask, context_mask = (
        part.cpu() for name in ("input_ids", "attention_mask", "context_mask") if (part := inputs[name]) is not None
    )
    token_types = inputs.get("token_type_ids")
    real = attention_mask.numpy().astype(bool)
    first, lengths = first_and_length(real, "attention_mask")
    context_first, context_lengths = first_and_length(context_mask.numpy().astype(bool) & real, "context_mask")
    questions, exists = (part.numpy() for part in question_tokens(ids, attention_mask, context_mask))
    packed = PackedInputs(
        ids=ids.numpy()[real],
        types=None if token_types is None else token_types.cpu().numpy()[real],
        lengths=lengths,
        context_starts=np.where(context_lengths > 0, context_first - first, 0),
        context_lengths=context_lengths,
        questions=np.where(exists, questions - first[:, None], 0),
        question_exists=exists,
        documents=np.arange(len(ids)) if documents is None else documents.cpu().numpy(),
    )
    return packed, first
