"""A question-answering model that scores context blocks and, at inference, drops the irrelevant ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from blockskim.data.packed_inputs import PackedInputs
from blockskim.encoders import adapter_for
from blockskim.errors import ModelError
from blockskim.method.blocks import BlockLayout
from blockskim.method.config import SkimConfig
from blockskim.method.cost import ModelCost
from blockskim.method.skim_trace import AS_NEEDED, Asking, WindowScores, trace_of
from blockskim.model import objective
from blockskim.model.backbones import copy_encoder, copy_qa_head, encoder_from_config, new_predictors
from blockskim.model.base import BlockSkimPreTrainedModel
from blockskim.model.checkpoints import load_source, load_weights, read_config
from blockskim.model.config import BlockSkimConfig
from blockskim.model.dense import Dropping, PaddedInputs, encode_dense
from blockskim.model.flops import linears_in, model_cost, predictor_costs
from blockskim.model.for_inference import for_inference
from blockskim.model.head_removal import remove_heads
from blockskim.model.hub import hub_arguments
from blockskim.model.load_errors import fitting
from blockskim.model.outputs import BlockSkimOutput, SkimOutput
from blockskim.model.packing import Ints, pack_padded
from blockskim.model.plain_modules import apply_in_float32
from blockskim.model.prepared_model import PreparedModel
from blockskim.model.pruned_heads import read_pruned_heads
from blockskim.model.ragged import Skimmers, encode_ragged, spread_logits


class BlockSkimForQuestionAnswering(BlockSkimPreTrainedModel):
    """Any supported transformers encoder with a QA head and skim predictors.

    Calling it runs the dense forward pass, for training; ``skim`` runs the one that drops blocks, for inference.

    Examples:
        >>> from blockskim import BlockSkimForQuestionAnswering
        >>> BlockSkimForQuestionAnswering.from_backbone("my-checkpoint").has_trained_predictors
        False
    """

    def __init__(self, config: BlockSkimConfig) -> None:
        """Make the model of a config, with random weights.

        Raises:
            ModelError: the encoder's family is not supported, or something that its config calls for.
            ConfigError: the skim settings or the pruned heads don't fit the encoder.
        """
        super().__init__(config)
        encoder_config = config.encoder_config
        self.adapter = adapter_for(encoder_config.model_type)
        if self.adapter.check is not None:
            self.adapter.check(encoder_config)
        self.encoder = encoder_from_config(encoder_config)
        layers = self.adapter.layers(self.encoder)
        heads = encoder_config.num_attention_heads
        gone = read_pruned_heads(config.pruned_heads)
        self._pruned_heads = remove_heads(self.adapter, layers, {}, gone, heads)
        build = self.adapter.qa_head.build
        self.qa_transform = None if build is None else build(encoder_config)
        self.qa_outputs = nn.Linear(encoder_config.hidden_size, 2)
        self.predictors = new_predictors(config.skim, self.adapter, layers)
        self._cost = self._count_cost()
        self.prepared = PreparedModel()
        self.post_init()

    def prune_heads(self, heads: Mapping[int, Sequence[int]]) -> None:
        """Remove attention heads for good, and with them what predictors see of them.

        Dense logits are then those of the model with the output of these heads multiplied by zero. Of predictors that
        is true where only a linear layer reads what heads gave (input ``question``, with features of 0); others are
        near what they were, and all of them want some more training.

        Args:
            heads: which, by layer; both counted from 1 as they were when all heads were there.

        Raises:
            ConfigError: there is no such layer or head, it is gone already, or a layer would lose its last head.
            ModelError: the family's layers can't lose heads.
        """
        self._pruned_heads = remove_heads(
            self.adapter,
            self.adapter.layers(self.encoder),
            self._pruned_heads,
            read_pruned_heads(heads),
            self.config.encoder_config.num_attention_heads,
            self.predictors,
            self.skim_config,
        )
        self.config.pruned_heads = {layer: list(numbers) for layer, numbers in self._pruned_heads.items()}
        self._cost, self.confidence = self._count_cost(), None
        self.prepared.clear()

    def train(self, mode: bool = True) -> Self:
        """Go into training mode, or out of it; in training, what was made ready for inference is only in the way."""
        if mode:
            self.prepared.clear()
        return super().train(mode)

    def _count_cost(self) -> ModelCost:
        return model_cost(self.encoder, self.adapter, linears_in([self.qa_transform, self.qa_outputs]))

    def prepare(self) -> int:
        """Make layers and predictors ready for inference now; otherwise the first call of ``skim`` does.

        Kernels want weights in a layout of their own. That is a second copy of those of the encoder's layers, which
        training frees: ``train()``, and gradients that flow back through the model. It is made anew when weights
        change, but not when they do so through ``.data`` or NumPy, of which PyTorch keeps no account;
        ``model.prepared.clear()`` helps there.

        Returns:
            Its size in bytes.
        """
        return self.prepared.of(self.encoder, self.adapter, self._predictors()).num_bytes

    @property
    def cost(self) -> ModelCost:
        """Arithmetic of each part per token."""
        return self._cost

    @classmethod
    def from_backbone(
        cls, backbone: str | Path | PreTrainedModel, skim_config: SkimConfig | None = None, **kwargs: Any
    ) -> Self:
        """Attach new skim predictors to a transformers checkpoint.

        A question-answering checkpoint gives its QA head too; with any other encoder the head is new.

        Args:
            backbone: a directory, a hub id, or a model.
            skim_config: the skim settings; the defaults when None.
            **kwargs: for transformers' ``from_pretrained``.

        Raises:
            ModelError: there is no such model, it has no safetensors weights, or its family is not supported.
            ConfigError: the skim settings don't fit the model.
        """
        source = backbone if isinstance(backbone, PreTrainedModel) else load_source(backbone, kwargs)
        encoder: Any = source.base_model
        adapter_for(encoder.config.model_type)
        pruned = source.pruned_heads if isinstance(source, BlockSkimForQuestionAnswering) else None
        with fitting(backbone, skim_config), torch.inference_mode(False):
            model = cls(BlockSkimConfig(encoder_config=encoder.config, skim=skim_config, pruned_heads=pruned))
            nn.Module.to(model, dtype=source.dtype)  # Now: the config may name another format than the weights have.
        copy_encoder(source, model.encoder)
        copy_qa_head(source, model.adapter.qa_head, model.qa_outputs, model.qa_transform)
        return model

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Load a model that ``save_pretrained`` wrote, from safetensors only.

        Raises:
            ModelError: there is no such model, it is no Block-Skim model, or some of its weights are missing or of the
                wrong shape (pickle files are refused).
        """
        config = read_config(name_or_path, **hub_arguments(kwargs))
        if not isinstance(config, BlockSkimConfig):
            raise ModelError(
                f"{name_or_path} is no Block-Skim model; BlockSkimForQuestionAnswering.from_backbone makes one of it"
            )
        wants_info = kwargs.pop("output_loading_info", False)
        model, info = load_weights(super().from_pretrained, name_or_path, config, lambda: cls(config), *args, **kwargs)
        return (model, info) if wants_info else model

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        context_mask: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        skim_labels: Tensor | None = None,
        thresholds: float | Sequence[float] | None = None,
        return_dict: bool | None = None,
        head_masks: Mapping[int, Tensor] | None = None,
        output_hidden_states: bool = False,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> BlockSkimOutput:
        """Run all layers on all tokens and ask every predictor about every block.

        Args:
            input_ids: Shape: (batch, tokens)
            attention_mask: 1 on real tokens; all when None. Shape: (batch, tokens)
            token_type_ids: Shape: (batch, tokens)
            context_mask: 1 on context tokens; without it no predictor is asked. Shape: (batch, tokens)
            start_positions: first token of the answer, or of every annotated answer, -1 for none; the first is what
                the QA loss is about. Shape: (batch,) or (batch, answers)
            end_positions: last token, inclusive. Same shape.
            skim_labels: 1 relevant, 0 irrelevant, -100 not droppable; made from the positions when None.
                Shape: (batch, blocks)
            thresholds: drop blocks as inference does, but none that is relevant: a number for all layers, or a sequence
                with one a layer. None: drop nothing.
            return_dict: accepted for the sake of transformers' Trainer; the result always has names.
            head_masks: factors on what each attention head gives, by layer number. Shape: (batch or 1, heads) each
            output_hidden_states: whether to return hidden states and attention output of every layer.
            position_ids: rows of the table of positions, as transformers counts them in the family; None for those of
                the real tokens in their order. With rotary positions only differences count, and those must be one.
                Shape: (batch or 1, tokens)
            inputs_embeds: what the word embeddings would give, in place of ``input_ids``; then there can't be a
                ``context_mask``, since the question is found by its tokens. Shape: (batch, tokens, width of embeddings)

        Returns:
            Losses as far as there are labels, and logits.

        Raises:
            ModelError: skim_labels are not those of the batch, there are thresholds without a context_mask, or inputs
                that the model can't take.
            ConfigError: a threshold is impossible.
        """
        if self.training:
            self.prepared.clear()
        given = input_ids if inputs_embeds is None else inputs_embeds
        if given is None or (input_ids is not None and inputs_embeds is not None):
            raise ModelError("give either input_ids or inputs_embeds")
        if inputs_embeds is not None and context_mask is not None:
            raise ModelError("context_mask needs input_ids: the question is found by its tokens")
        if attention_mask is None:
            attention_mask = given.new_ones(given.shape[:2], dtype=torch.long)
        if thresholds is not None and context_mask is None:
            raise ModelError("thresholds need context_mask, 1 on context tokens, to know what may be dropped")
        # Predictors that nothing is to be learned about need not be asked, and need no attention matrix.
        config = self.skim_config
        idle = self.training and thresholds is None and not config.has_skim_loss and not config.teaching_factor
        layout = None if context_mask is None or idle else self.layout(attention_mask, context_mask)
        answers = None if start_positions is None or end_positions is None else (start_positions, end_positions)
        labels = None if layout is None else objective.block_labels(layout, config, skim_labels, answers)
        dropping = None if layout is None or thresholds is None else self._dropping(layout, labels, thresholds)
        result = encode_dense(
            self.backbone,
            self._predictors(),
            PaddedInputs(input_ids, attention_mask, token_type_ids, context_mask, position_ids, inputs_embeds),
            layout,
            dropping,
            head_masks,
            output_hidden_states,
            self._gradient_checkpointing_func if self.gradient_checkpointing and self.training else None,
        )
        start_logits, end_logits = self.answer_logits(result.hidden).unbind(-1)
        if thresholds is not None:
            gone = attention_mask.bool() & ~result.mask
            start_logits, end_logits = (part.masked_fill(gone, -torch.inf) for part in (start_logits, end_logits))
        output = BlockSkimOutput(start_logits=start_logits, end_logits=end_logits)
        if output_hidden_states:
            output.hidden_states, output.attention_outputs = result.states, result.attended
        if answers is not None:
            output.qa_loss = objective.answer_loss(start_logits, end_logits, result.mask, *answers)
        if layout is not None:
            output.skim_logits = objective.logits_of_blocks(layout, result, self.skim_layers)
            if labels is not None:
                losses = objective.block_losses(layout, result, labels, config)
                output.skim_labels, output.layer_skim_losses = labels, losses
                output.skim_loss = objective.sum_of_layers(losses, start_logits, self.predictors)
                output.teaching_loss = objective.earlier_layers_loss(result) if config.teaching_factor else None
        output.loss = objective.joint_loss(output, config)
        if not self.training:
            self.prepared.clear_after_backward(*output.differentiable, *result.states, *result.attended)
        return output

    @for_inference
    def skim(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        context_mask: Tensor | None = None,
        thresholds: float | Sequence[float] | None = None,
        documents: Tensor | None = None,
        score_all_layers: bool = False,
        allow_untrained: bool = False,
    ) -> SkimOutput:
        """Run the layers on what is left after each, dropping blocks that predictors find irrelevant.

        Every sample keeps its own blocks: the result is the same alone and in any batch, however padded.

        Args:
            input_ids: Shape: (batch, tokens)
            attention_mask: 1 on real tokens; all when None. Shape: (batch, tokens)
            token_type_ids: Shape: (batch, tokens)
            context_mask: 1 on context tokens, the ones that may be dropped. Shape: (batch, tokens)
            thresholds: None for the config's; a number for all layers; a sequence with one a layer. 0 keeps all.
            documents: the document of each sample, numbered from 0, when several samples are windows of one document:
                at least one block of a document survives, instead of one of each sample. Shape: (batch,)
            score_all_layers: ask also the predictors of layers whose threshold is 0, for the record in the trace.
            allow_untrained: ask predictors that never learned anything, which is refused otherwise.

        Returns:
            Logits in input coordinates, -inf where dropped, and the trace.

        Raises:
            ModelError: context_mask is missing while there is something to skim, or the model is in training mode.
            ConfigError: a threshold is impossible, or the predictors to be asked were never trained.
        """
        skimmers = self.skimmers(thresholds, Asking(score_all_layers, allow_untrained))
        if context_mask is None:
            if skimmers.thresholds:
                raise ModelError("skim() needs context_mask, 1 on context tokens, to know what may be dropped")
            context_mask = torch.zeros_like(input_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        padded = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "context_mask": context_mask,
            "token_type_ids": token_type_ids,
        }
        packed, first = pack_padded(padded, documents)
        return self._skim(packed, first, input_ids.shape[1], skimmers)

    @for_inference
    def skim_packed(
        self, inputs: PackedInputs, thresholds: float | Sequence[float] | None = None, asking: Asking = AS_NEEDED
    ) -> SkimOutput:
        """Do what ``skim`` does, on samples that were never padded.

        Args:
            inputs: the samples.
            thresholds: None for the config's; a number for all layers; a sequence with one per layer. 0 keeps all.
            asking: which predictors are asked.

        Returns:
            Logits by the place of a token in its sample, as wide as the longest sample, and the trace.

        Raises:
            ModelError: the model is in training mode.
            ConfigError: a threshold is impossible, or the predictors to be asked were never trained.
        """
        skimmers = self.skimmers(thresholds, asking)
        return self._skim(inputs, np.zeros_like(inputs.lengths), int(inputs.lengths.max(initial=0)), skimmers)

    @for_inference
    def score_windows(
        self, inputs: PackedInputs, thresholds: float | Sequence[float] | None = None, asking: Asking = AS_NEEDED
    ) -> WindowScores:
        """Do what ``skim_packed`` does, and give the result as arrays, as every backend of inference does."""
        return self.skim_packed(inputs, thresholds, asking).scores()

    def skimmers(self, thresholds: float | Sequence[float] | None = None, asking: Asking = AS_NEEDED) -> Skimmers:
        """The layers and predictors, prepared for inference, with the thresholds of those that are to be asked.

        Args:
            thresholds: None for the config's; a number for all layers; a sequence with one per layer. 0 keeps all.
            asking: which predictors are asked.

        Raises:
            ModelError: the model is in training mode.
            ConfigError: a threshold is impossible, or the predictors to be asked were never trained.
        """
        active = self._active_thresholds(thresholds, asking)
        prepared = self.prepared.of(self.encoder, self.adapter, self._predictors())
        return Skimmers(prepared.layers, prepared.predictors, active)

    def _skim(self, inputs: PackedInputs, first: Ints, width: int, skimmers: Skimmers) -> SkimOutput:
        """Skim packed samples; the result is ``width`` wide, with the first token of each sample at ``first``."""
        layout = self.packed_layout(inputs)
        result = encode_ragged(self.backbone, skimmers, inputs, layout)
        # In float32, which costs nothing for two outputs: answers are told apart by small differences.
        logits = apply_in_float32(self.qa_outputs, self._transformed(result.hidden))
        start_logits, end_logits = spread_logits(logits, result, inputs, first, width).unbind(-1)
        shifted = layout.shifted(first) if first.any() else layout
        costs = predictor_costs(self.skim_config, self.backbone, self.skim_layers, inputs)
        trace = trace_of(result.records, shifted, inputs.lengths, skimmers.thresholds, costs, self.cost)
        return SkimOutput(start_logits=start_logits, end_logits=end_logits, trace=trace)

    def answer_logits(self, hidden: Tensor) -> Tensor:
        """Start and end logits of states that left the encoder. Shapes: (..., hidden) to (..., 2)."""
        logits: Tensor = self.qa_outputs(self._transformed(hidden))
        return logits

    def _transformed(self, hidden: Tensor) -> Tensor:
        """What the QA head's last layer gets. Shape: (..., hidden)."""
        return hidden if self.qa_transform is None else self.qa_transform(hidden)

    def _dropping(self, layout: BlockLayout, labels: Tensor | None, thresholds: float | Sequence[float]) -> Dropping:
        protected = torch.zeros_like(layout.droppable) if labels is None else labels == 1
        return Dropping(self.thresholds_by_layer(thresholds), protected[layout.droppable])


AutoModelForQuestionAnswering.register(BlockSkimConfig, BlockSkimForQuestionAnswering)
