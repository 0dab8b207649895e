"""Tiny random models of every supported family, and inputs for them; made in the test, nothing is downloaded."""

import contextlib
import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForQuestionAnswering, PreTrainedModel

from blockskim.method.config import INPUTS, SkimConfig
from blockskim.method.predictors.predictor import keep_probabilities
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.prepared_predictors import PreparedPredictor


@dataclass(frozen=True)
class Family:
    """A family of encoders, as its tests need to know it.

    Attributes:
        config: what its config has besides SIZES.
        separators: how many separators stand between question and context.
        token_types: whether it has token types.
        names: what its config calls a setting, where that is not BERT's name.
    """

    config: dict[str, Any] = field(default_factory=dict)
    separators: int = 1
    token_types: bool = True
    names: dict[str, str] = field(default_factory=dict)


FIRST_ID, SEPARATOR = 5, 4
START = 3
LIKE_ROBERTA = Family({"pad_token_id": 1, "type_vocab_size": 1}, separators=2, token_types=False)
FAMILIES = {
    "bert": Family(),
    "roberta": LIKE_ROBERTA,
    "xlm-roberta": LIKE_ROBERTA,
    "camembert": LIKE_ROBERTA,
    "electra": Family({"embedding_size": 16}),
    "mpnet": Family({"pad_token_id": 1}, separators=2, token_types=False),
    "albert": Family({"embedding_size": 16, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}),
    "distilbert": Family(
        token_types=False,
        names={
            "intermediate_size": "hidden_dim",
            "hidden_dropout_prob": "dropout",
            "attention_probs_dropout_prob": "attention_dropout",
        },
    ),
    "modernbert": Family(
        {
            # The last layer is local: it runs on what is left of the input, gaps and all.
            "layer_types": ["full_attention", "full_attention", "sliding_attention"],
            "local_attention": 12,
            "pad_token_id": 0,
            **dict.fromkeys(("bos_token_id", "cls_token_id"), START),
            **dict.fromkeys(("eos_token_id", "sep_token_id"), SEPARATOR),
            "attention_probs_dropout_prob": 0.1,
            "norm_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
            "classifier_bias": True,
        },
        token_types=False,
        names={"hidden_dropout_prob": "mlp_dropout", "attention_probs_dropout_prob": "attention_dropout"},
    ),
    # As version 3 has it, with so few buckets that far tokens share them.
    "deberta-v2": Family(
        {
            "relative_attention": True,
            "position_buckets": 8,
            "max_relative_positions": -1,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
        token_types=False,
    ),
}
SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 200,
    "initializer_range": 0.15,
}
INPUT_SETS = (*((kind,) for kind in INPUTS), INPUTS)
ALIGNMENTS = ("sequence", "context")


@dataclass(frozen=True)
class Batch:
    """Keyword arguments of a model, and the samples that they were padded from."""

    inputs: dict[str, Tensor]
    sizes: tuple[tuple[int, int], ...]

    @property
    def real(self) -> Tensor:
        """True on real tokens. Shape: (batch, tokens)"""
        return self.inputs["attention_mask"].bool()

    @property
    def context(self) -> Tensor:
        """True on context tokens. Shape: (batch, tokens)"""
        return self.inputs["context_mask"].bool()

    @property
    def masks(self) -> tuple[Tensor, Tensor]:
        """Attention mask and context mask. Shapes: (batch, tokens)"""
        return self.inputs["attention_mask"], self.inputs["context_mask"]

    def rows(self, rows: list[int]) -> dict[str, Tensor]:
        """The arguments with these samples only, in this order."""
        return {name: value[rows] for name, value in self.inputs.items()}

    def alone(self, row: int) -> dict[str, Tensor]:
        """The arguments with one sample, without a padded token."""
        return {name: value[row : row + 1, self.real[row]] for name, value in self.inputs.items()}

    def without_context(self) -> dict[str, Tensor]:
        """The arguments that a transformers model takes."""
        return {name: value for name, value in self.inputs.items() if name != "context_mask"}


def encoder_config(family: str, **changes: Any) -> Any:
    """The transformers config of a tiny model of a family."""
    values = {**SIZES, **FAMILIES[family].config, **changes}
    names = FAMILIES[family].names
    return AutoConfig.for_model(family, **{names.get(name, name): value for name, value in values.items()})


@functools.cache
def dense_model(family: str) -> PreTrainedModel:
    """The transformers QA model of a family, with eager attention and fixed random weights. Don't change it."""
    return new_dense_model(family)


def new_dense_model(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A transformers QA model of a family that a test may change, with eager attention."""
    torch.manual_seed(seed)
    config = encoder_config(family, **changes)
    config._attn_implementation = "eager"
    model = AutoModelForQuestionAnswering.from_config(config)
    # Some families start biases and norms at 0 and 1, where mistakes in them don't show.
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("bias") or "norm" in name.lower():
                value.add_(torch.randn_like(value) * 0.1)
    return model.eval()


@functools.cache
def skim_model(
    family: str = "bert", inputs: tuple[str, ...] = ("tiles",), alignment: str = "sequence", block_size: int = 8
) -> BlockSkimForQuestionAnswering:
    """A Block-Skim model around ``dense_model(family)`` whose predictors have opinions. Don't change it."""
    return new_skim_model(family, inputs, alignment, block_size)


def new_skim_model(
    family: str = "bert",
    inputs: tuple[str, ...] = ("tiles",),
    alignment: str = "sequence",
    block_size: int = 8,
    **settings: Any,
) -> BlockSkimForQuestionAnswering:
    """A Block-Skim model around ``dense_model(family)`` that a test may change."""
    dense = dense_model(family)
    torch.manual_seed(1)  # after the dense model: making it seeds, too
    settings.setdefault("skim_factor", 0.1)
    config = SkimConfig(block_size=block_size, alignment=alignment, inputs=inputs, predictor_width=8, **settings)
    model = BlockSkimForQuestionAnswering.from_backbone(dense, config)
    spread_opinions(model, family)
    return model.eval()


def spread_opinions(model: BlockSkimForQuestionAnswering, family: str) -> None:
    """Scale the predictors so that keep probabilities fill the range from 0 to 1, and move batch-norm statistics.

    They count as trained then.
    """
    model.has_trained_predictors = True
    batch = make_batch(family, [(4, 180), (7, 170), (2, 190), (3, 150), (0, 9), (1, 20), (5, 40), (2, 70)], 99)
    with torch.no_grad():
        norms = [module for module in model.predictors.modules() if isinstance(module, nn.BatchNorm2d | nn.LayerNorm)]
        for value in model.predictors.parameters():
            value.copy_(torch.randn_like(value) * 0.3)
        for norm in norms:
            norm.weight.add_(1.0)
            norm.momentum = 1.0  # batch norm: as if it had seen nothing but this batch
        model.train()(**batch.inputs)
        model.eval()
        for norm in norms:
            norm.momentum = 0.1
        logits = model(**batch.inputs).skim_logits
        differences = (logits[..., 1] - logits[..., 0]).transpose(0, 1).flatten(1)
        for predictor, found in zip(model.predictors.values(), differences, strict=True):
            opinions = found[~found.isnan()]
            factor = 4.0 / float((opinions - opinions.mean()).abs().max())
            outputs = [getattr(branch, "decide", None) or branch[-1] for branch in predictor.branches.values()]
            for output in outputs:
                output.weight.mul_(factor)
                output.bias.mul_(factor)
            outputs[0].bias[1] -= float(opinions.mean()) * factor


def make_batch(family: str, sizes: list[tuple[int, int]], seed: int = 0, padding: int = 0, left: bool = False) -> Batch:
    """A padded batch of random samples.

    Args:
        family: whose special tokens and token types it has.
        sizes: tokens of question and context of each sample.
        seed: of the random tokens; a sample's tokens depend on it and on the sample's place only.
        padding: tokens of padding of the longest sample.
        left: whether padding stands before the tokens.
    """
    separators = FAMILIES[family].separators
    pad_id = FAMILIES[family].config.get("pad_token_id", 0)
    longest = max(sum(size) for size in sizes) + 2 + separators
    width = longest + padding
    names = ["input_ids", "attention_mask", "context_mask"]
    if FAMILIES[family].token_types:
        names.append("token_type_ids")
    inputs = {name: torch.full((len(sizes), width), pad_id if name == "input_ids" else 0) for name in names}
    for row, (question, context) in enumerate(sizes):
        generator = torch.Generator().manual_seed(1000 * seed + row)
        words = torch.randint(FIRST_ID, SIZES["vocab_size"], (question + context,), generator=generator).tolist()
        before = [START, *words[:question], *[SEPARATOR] * separators]
        ids = [*before, *words[question:], SEPARATOR]
        first = width - len(ids) if left else 0
        place = slice(first, first + len(ids))
        inputs["input_ids"][row, place] = torch.tensor(ids)
        inputs["attention_mask"][row, place] = 1
        inputs["context_mask"][row, first + len(before) : first + len(before) + context] = 1
        if FAMILIES[family].token_types:
            inputs["token_type_ids"][row, first + len(before) : first + len(ids)] = 1
    return Batch(inputs, tuple(sizes))


@contextlib.contextmanager
def judged_by_modules(model):
    """Makes ``skim`` call the predictors' own modules, with their hooks, instead of what was made ready of them."""

    ready_of = model.prepared.of

    def by_modules(encoder, adapter, predictors):
        modules = {
            number: PreparedPredictor(
                lambda view, module=module: keep_probabilities(module(view)), module.wants_attention
            )
            for number, module in predictors.items()
        }
        return dataclasses.replace(ready_of(encoder, adapter, predictors), predictors=modules)

    model.prepared.of = by_modules
    try:
        yield
    finally:
        del model.prepared.of


@contextlib.contextmanager
def views_of(model):
    """The views that the predictors get while it is open, by layer number."""
    views = {}
    hooks = [
        predictor.register_forward_pre_hook(lambda _, args, number=int(number): views.update({number: args[0]}))
        for number, predictor in model.predictors.items()
    ]
    try:
        with judged_by_modules(model):
            yield views
    finally:
        for hook in hooks:
            hook.remove()
