"""The parts of the skimming forward pass over one window, each as an ONNX graph that PyTorch's exporter makes.

They are the adapter's functions and the predictors themselves, run on one window of any length. What goes between
them, dropping tokens, has no weights and is written in ONNX operators (see ``blockskim.exporting.skim_graph``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from blockskim.encoders.adapter import EncoderAdapter
from blockskim.encoders.backbone import Backbone
from blockskim.exporting.tracing import trace
from blockskim.kernels.attention_probabilities import AttentionRows
from blockskim.kernels.dims import LayerDims
from blockskim.method.layer_view import LayerView
from blockskim.method.predictors.predictor import keep_probabilities
from blockskim.model.modeling import BlockSkimForQuestionAnswering

TOKENS, BLOCKS, QUESTION = 24, 3, 5
"""Sizes of the inputs that the exporter traces with; none of them is fixed by it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the forward pass.

    Attributes:
        graph: what the exporter made, an ``onnx.GraphProto``.
        weights: parameters and buffers of the model that it reads, by the names of the inputs that take them; all other
            inputs are called as the arguments of the part.
    """

    graph: Any
    weights: Mapping[str, Tensor]


class Embed(nn.Module):
    """Token ids to hidden states entering the first layer. Shape: (tokens,) to (tokens, hidden)."""

    def __init__(self, adapter: EncoderAdapter, encoder: nn.Module) -> None:
        """Take the encoder whose embedding it is."""
        super().__init__()
        self.adapter, self.encoder = adapter, encoder

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Embed one window."""
        positions = torch.arange(input_ids.shape[0])[None]
        types = None if token_type_ids is None else token_type_ids[None]
        return self.adapter.embed(self.encoder, input_ids[None], types, positions)[0]


class PositionBias(nn.Module):
    """Positions to what is added to the scores of every layer. Shape: (tokens,) to (heads, tokens, tokens)."""

    def __init__(self, adapter: EncoderAdapter, encoder: nn.Module) -> None:
        """Take the encoder whose bias it is."""
        super().__init__()
        self.adapter, self.encoder = adapter, encoder

    def forward(self, positions: Tensor) -> Tensor:
        """The bias between all tokens that are left."""
        assert self.adapter.position_bias is not None
        return self.adapter.position_bias(self.encoder, positions, positions)  # type: ignore[arg-type]


class Attend(nn.Module):
    """Hidden states to attention output, heads joined. Shape: (tokens, hidden) to (tokens, heads * head_dim)."""

    def __init__(
        self, adapter: EncoderAdapter, layer: nn.Module, heads: Sequence[int] | None, wants_attention: bool
    ) -> None:
        """Take a layer.

        Args:
            adapter: of its family.
            layer: of the encoder.
            heads: places of its heads in a position bias; None for all.
            wants_attention: whether queries, keys and log-sum-exp are results, too.
        """
        super().__init__()
        self.adapter, self.layer = adapter, layer
        self.heads = None if heads is None else list(heads)
        self.wants_attention = wants_attention

    def forward(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Attend among all tokens that are left."""
        query, key, value = self.adapter.project(self.layer, hidden)
        # The scale is put on the queries, of which there are fewer than scores.
        by_head = query.transpose(0, 1) * self.adapter.scale(self.layer)
        scores = by_head @ key.permute(1, 2, 0)
        if bias is not None:
            scores = scores + (bias if self.heads is None else bias[self.heads])
        attended = (scores.softmax(-1) @ value.transpose(0, 1)).transpose(0, 1).flatten(1)
        if not self.wants_attention:
            return attended
        return attended, query, key, scores.logsumexp(-1).t()


class Finish(nn.Module):
    """Attention output and what entered the layer to what leaves it. Shape: (tokens, hidden)."""

    def __init__(self, adapter: EncoderAdapter, layer: nn.Module) -> None:
        """Take a layer."""
        super().__init__()
        self.adapter, self.layer = adapter, layer

    def forward(self, attended: Tensor, hidden: Tensor) -> Tensor:
        """Output projection, residuals, norms, and feed-forward part."""
        return self.adapter.finish(self.layer, attended, hidden)


class Score(nn.Module):
    """A layer's view to the keep probability of each block. Shape: (blocks,)."""

    def __init__(self, predictor: nn.Module, scale: float, wants_attention: bool, heads: Sequence[int] | None) -> None:
        """Take the predictor of a layer with this scale of scores; ``heads`` are its places in a position bias."""
        super().__init__()
        self.predictor, self.scale, self.wants_attention = predictor, scale, wants_attention
        self.heads = None if heads is None else list(heads)

    def forward(
        self,
        attended: Tensor,
        hidden: Tensor,
        tokens: Tensor,
        exists: Tensor,
        question: Tensor,
        numbers: Tensor,
        query: Tensor | None = None,
        key: Tensor | None = None,
        log_sum_exp: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Score the blocks that are left.

        Args:
            attended: attention output, heads joined. Shape: (tokens, heads * head_dim)
            hidden: what entered the layer. Shape: (tokens, hidden)
            tokens: places of each block's tokens; beyond a block's end its first. Shape: (blocks, block_size)
            exists: False beyond a block's end. Shape: (blocks, block_size)
            question: places of the question's tokens. Shape: (question,)
            numbers: of the blocks as they were before any was dropped. Shape: (blocks,)
            query: where the predictor looks at attention. Shape: (tokens, heads, head_dim)
            key: where the predictor looks at attention. Shape: (tokens, heads, head_dim)
            log_sum_exp: of the scores of each token. Shape: (tokens, heads)
            bias: on the scores, in a family that has one. Shape: (heads, tokens, tokens)
        """
        rows = None
        if query is not None and key is not None and log_sum_exp is not None:
            own = bias if bias is None or self.heads is None else bias[self.heads]
            between = None if own is None else lambda rows, columns: _entries(own, rows, columns)
            rows = AttentionRows(query, key, log_sum_exp, self.scale, between)
        every = torch.ones_like(question, dtype=torch.bool)
        alone = torch.zeros_like(numbers)
        view = LayerView(rows, hidden, attended, tokens, exists, alone, question[None], every[None], numbers)
        return keep_probabilities(self.predictor(view))


class Head(nn.Module):
    """Hidden states to start and end logits. Shape: (tokens, hidden) to (tokens, 2)."""

    def __init__(self, model: BlockSkimForQuestionAnswering) -> None:
        """Take the model whose head it is."""
        super().__init__()
        self.qa_transform, self.qa_outputs = model.qa_transform, model.qa_outputs

    def forward(self, hidden: Tensor) -> Tensor:
        """The logits of all tokens that are left."""
        states = hidden if self.qa_transform is None else self.qa_transform(hidden)
        logits: Tensor = self.qa_outputs(states)
        return logits


def _entries(bias: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Entries of a bias between chosen tokens.

    Shapes: (heads, tokens, tokens), (groups, rows), (groups, columns) to (groups, heads, rows, columns)
    """
    return bias[:, rows[:, :, None], columns[:, None, :]].movedim(0, 1)


class PieceExporter:
    """Exports the parts of a model; parts that are built alike are traced once."""

    def __init__(self, model: BlockSkimForQuestionAnswering) -> None:
        """Take a model in float32 and in evaluation mode, on a CPU."""
        self.model = model
        self.backbone: Backbone = model.backbone
        self._traced: dict[tuple[Any, ...], Any] = {}

    @property
    def has_bias(self) -> bool:
        """Whether the family has a position bias."""
        return self.backbone.adapter.position_bias is not None

    def embed(self, token_types: bool) -> Piece:
        """The embedding, with or without token types."""
        inputs = {"input_ids": _indices(TOKENS)}
        if token_types:
            inputs["token_type_ids"] = torch.zeros(TOKENS, dtype=torch.long)
        module = Embed(self.backbone.adapter, self.backbone.encoder)
        return self._piece(("embed",), module, inputs, {name: {0: "tokens"} for name in inputs})

    def position_bias(self) -> Piece:
        """The position bias."""
        module = PositionBias(self.backbone.adapter, self.backbone.encoder)
        return self._piece(("bias",), module, {"positions": _indices(TOKENS)}, {"positions": {0: "tokens"}})

    def attend(self, number: int, wants_attention: bool) -> Piece:
        """Attention of a layer."""
        adapter, layer, heads = self.backbone.adapter, self.backbone.layers[number - 1], self.backbone.heads.get(number)
        dims = self.backbone.dims(number)
        inputs = {"hidden": _zeros(TOKENS, dims.hidden)}
        if self.has_bias:
            inputs["bias"] = _zeros(self._bias_heads(dims), TOKENS, TOKENS)
        shapes: dict[str, Any] = {"hidden": {0: "tokens"}, "bias": {1: "tokens", 2: "tokens"}}
        module = Attend(adapter, layer, heads, wants_attention)
        return self._piece(("attend", wants_attention, heads and tuple(heads)), module, inputs, shapes)

    def finish(self, number: int) -> Piece:
        """What follows attention in a layer."""
        dims = self.backbone.dims(number)
        inputs = {
            "attended": _zeros(TOKENS, dims.heads * dims.head_dim),
            "hidden": _zeros(TOKENS, dims.hidden),
        }
        module = Finish(self.backbone.adapter, self.backbone.layers[number - 1])
        return self._piece(("finish",), module, inputs, {name: {0: "tokens"} for name in inputs})

    def score(self, number: int) -> Piece:
        """The predictor of a layer."""
        adapter, dims, size = self.backbone.adapter, self.backbone.dims(number), self.model.skim_config.block_size
        predictor: Any = self.model.predictors[str(number)]
        heads = self.backbone.heads.get(number)
        width = dims.heads * dims.head_dim
        tokens = BLOCKS * size + QUESTION
        inputs: dict[str, Tensor] = {
            "attended": _zeros(tokens, width),
            "hidden": _zeros(tokens, dims.hidden),
            "tokens": QUESTION + torch.arange(BLOCKS * size).view(BLOCKS, size),
            "exists": torch.ones(BLOCKS, size, dtype=torch.bool),
            "question": _indices(QUESTION),
            "numbers": _indices(BLOCKS),
        }
        shapes: dict[str, Any] = {
            "attended": {0: "tokens"},
            "hidden": {0: "tokens"},
            "tokens": {0: "blocks"},
            "exists": {0: "blocks"},
            "question": {0: "question"},
            "numbers": {0: "blocks"},
        }
        if predictor.wants_attention:
            inputs["query"], inputs["key"] = (_zeros(tokens, dims.heads, dims.head_dim) for _ in range(2))
            inputs["log_sum_exp"] = _zeros(tokens, dims.heads)
            shapes |= {name: {0: "tokens"} for name in ("query", "key", "log_sum_exp")}
            if self.has_bias:
                inputs["bias"] = _zeros(self._bias_heads(dims), tokens, tokens)
                shapes["bias"] = {1: "tokens", 2: "tokens"}
        scale = adapter.scale(self.backbone.layers[number - 1])
        module = Score(predictor, scale, predictor.wants_attention, heads)
        return self._piece(("score", heads and tuple(heads)), module, inputs, shapes)

    def head(self) -> Piece:
        """The QA head."""
        states = _zeros(TOKENS, self.backbone.dims(1).hidden)
        return self._piece(("head",), Head(self.model), {"hidden": states}, {"hidden": {0: "tokens"}})

    def _bias_heads(self, dims: LayerDims) -> int:
        """Heads for which a position bias is made: all that layers once had."""
        return max(dims.heads, int(self.model.config.encoder_config.num_attention_heads))

    def _piece(
        self, kind: tuple[Any, ...], module: nn.Module, inputs: Mapping[str, Tensor], shapes: Mapping[str, Any]
    ) -> Piece:
        """A part; of those that differ in nothing but weights the trace of the first one serves all."""
        weights = self._weights_of(module)
        sizes = tuple((name, tuple(value.shape)) for name, value in weights.items())
        # What is no weight is part of the graph.
        fixed = [(name, value) for name, value in module.named_buffers() if name not in weights]
        key = (*kind, sizes, tuple((name, value.numpy().tobytes()) for name, value in fixed), tuple(inputs))
        if key not in self._traced:
            self._traced[key] = trace(module, weights, inputs, {name: shapes[name] for name in inputs})
        graph = self._traced[key]
        read = {name for node in graph.node for name in node.input}
        return Piece(graph, {name: value for name, value in weights.items() if name in read})

    def _weights_of(self, module: nn.Module) -> dict[str, Tensor]:
        """Parameters and stored buffers by their names in a part; of a whole encoder, not those of its layers."""
        layers: set[int] = set()
        if isinstance(module, Embed | PositionBias):
            layers = {id(value) for layer in self.backbone.layers for value in _stored(layer).values()}
        return {name: value for name, value in _stored(module).items() if id(value) not in layers}


def _stored(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers that are saved with a module, each once, by its first name."""
    found = {id(value): name for name, value in reversed(module.state_dict(keep_vars=True).items())}
    return {name: value for name, value in module.state_dict(keep_vars=True).items() if found[id(value)] == name}


def _zeros(*shape: int) -> Tensor:
    """What parts are traced with; only its shape and format count, which no setting of the process changes."""
    return torch.zeros(shape, dtype=torch.float32)


def _indices(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.long)
