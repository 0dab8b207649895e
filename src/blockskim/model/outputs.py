"""What the two passes of a model return."""

from dataclasses import dataclass

from torch import Tensor
from transformers.utils.generic import ModelOutput

from blockskim.method.skim_trace import SkimTrace, WindowScores


@dataclass
class BlockSkimOutput(ModelOutput):
    """What the dense forward pass returns.

    Attributes:
        loss: ``qa_loss + skim_factor * skim_loss + teaching_factor * teaching_loss``, as far as there are labels; with
            a skim factor per layer, each layer's part of the skim loss has its own.
        qa_loss: cross entropy of the answer span.
        skim_loss: sum over layers of the cross entropy of block relevance.
        teaching_loss: sum over all layers but the last with a predictor of the cross entropy with that one's opinion;
            None when it has no weight.
        start_logits: -inf where a token was dropped. Shape: (batch, tokens)
        end_logits: -inf where a token was dropped. Shape: (batch, tokens)
        skim_logits: logits of "irrelevant" and "relevant" from each predictor, NaN for blocks that are not droppable.
            Shape: (batch, layers with a predictor, blocks, 2)
        skim_labels: the labels that the skim loss compared with. Shape: (batch, blocks)
        hidden_states: what entered the first layer, then what left each layer; None when not asked for.
            Shape: (batch, tokens, hidden) each
        attention_outputs: what attention gave in each layer, heads joined, before the output projection; None when
            not asked for. Shape: (batch, tokens, heads * head_dim) each
        layer_skim_losses: each layer's part of the skim loss, in the order of the layers; none where no block of the
            batch is droppable.
    """

    loss: Tensor | None = None
    qa_loss: Tensor | None = None
    skim_loss: Tensor | None = None
    teaching_loss: Tensor | None = None
    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    skim_logits: Tensor | None = None
    skim_labels: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attention_outputs: tuple[Tensor, ...] | None = None
    layer_skim_losses: tuple[Tensor, ...] | None = None

    @property
    def differentiable(self) -> tuple[Tensor | None, ...]:
        """Losses and answer logits, from which gradients may flow back."""
        losses = self.loss, self.qa_loss, self.skim_loss, self.teaching_loss, *(self.layer_skim_losses or ())
        return *losses, self.start_logits, self.end_logits


@dataclass
class SkimOutput(ModelOutput):
    """What the skimming forward pass returns.

    Attributes:
        start_logits: in input coordinates, -inf where a token was dropped or is padding. Shape: (batch, tokens)
        end_logits: in input coordinates, -inf where a token was dropped or is padding. Shape: (batch, tokens)
        trace: what was kept in each layer and what it cost.
    """

    start_logits: Tensor | None = None
    end_logits: Tensor | None = None
    trace: SkimTrace | None = None

    def scores(self) -> WindowScores:
        """The same on the host, as arrays."""
        assert self.start_logits is not None and self.end_logits is not None and self.trace is not None
        start, end = (part.float().cpu().contiguous().numpy() for part in (self.start_logits, self.end_logits))
        return WindowScores(start, end, self.trace)
