"""The contenders that skimming is measured against, by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from blockskim.encoders import adapter_for
from blockskim.errors import ConfigError
from blockskim.exporting.exported_model import ExportedModel
from blockskim.inference.runner import Thresholds
from blockskim.method.cost import dense_flops
from blockskim.model.flops import linears_in, model_cost
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.transformers_model import transformers_model
from blockskim.profiling.catalog import parse_baseline
from blockskim.profiling.contenders import (
    Batch,
    Contender,
    Inputs,
    Logits,
    Work,
    aligned_contender,
    dtype_name,
    exported_contender,
    skim_contender,
    weight_bytes,
)
from blockskim.profiling.onnx_runtime import onnx_contender
from blockskim.profiling.random_models import BERT_VOCABULARY, random_dense, shape_config


def make_baseline(
    name: str,
    model: BlockSkimForQuestionAnswering,
    own: BlockSkimForQuestionAnswering,
    thresholds: Thresholds = None,
    trained: bool = True,
    seed: int = 0,
    exported: ExportedModel | None = None,
) -> Contender:
    """Make a baseline.

    Args:
        name: of the baseline.
        model: whose weights it has, in float32.
        own: the model that is measured against it: the same in the number format asked for; what "packed" runs.
        thresholds: as ``skim`` takes them; what "aligned" skims with.
        trained: whether the model's answers mean anything.
        seed: of random weights.
        exported: the exported model that is measured, if it is one; what "onnx-packed" runs.

    Raises:
        ConfigError: there is no such baseline, or it is not possible with this model or this installation.
    """
    kind, pad_to = parse_baseline(name)
    if kind in ("packed", "packed-float32"):
        return skim_contender(name, own if kind == "packed" else model, 0.0, trained)
    if kind == "onnx-packed":
        if exported is None:
            raise ConfigError(f"{name} is for a benchmark of an exported model (--backend onnx or onnx-int8)")
        return exported_contender(name, exported, 0.0, trained)
    if kind == "aligned":
        return aligned_contender(name, model, thresholds, trained)
    if kind == "bert-base":
        config = shape_config("bert-base", pad_to or 512, max(BERT_VOCABULARY, model.config.encoder_config.vocab_size))
        dense = random_dense(config, seed)
        nn.Module.to(dense, model.device)
        return dense_contender(name, dense, pad_to, trained=False)
    limit = model.position_limit
    if pad_to is not None and limit is not None and pad_to > limit:
        raise ConfigError(f"{name} pads its input to {pad_to} tokens, but the model reads at most {limit}")
    if kind.startswith("dense"):
        return dense_contender(name, transformers_model(model, kind.removeprefix("dense-")), pad_to, trained)
    if model.device.type != "cpu":
        raise ConfigError(f"{name} runs on the CPU alone; put the model there (--device cpu)")
    prepare = _padding(name, model.encoder, pad_to)
    dense = transformers_model(model, "eager")
    work = _dense_work(dense)
    return onnx_contender(name, dense, prepare, work, quantize=kind == "onnx-int8", trained=trained)


def dense_contender(name: str, dense: PreTrainedModel, pad_to: int | None, trained: bool = True) -> Contender:
    """A transformers QA model, its input padded to the longest of the batch or to a fixed number of tokens."""
    prepare = _padding(name, dense.base_model, pad_to)

    @torch.inference_mode()
    def run(inputs: Inputs) -> Logits:
        output = dense(**inputs)
        return Logits(output.start_logits, output.end_logits)

    return Contender(
        name, dtype_name(dense.dtype), prepare, run, _dense_work(dense), weight_bytes(dense), trained=trained
    )


def _dense_work(dense: PreTrainedModel) -> Callable[[Inputs], Work]:
    """What a dense model computes on padded input."""
    parts: Any = dense
    adapter = adapter_for(parts.config.model_type)
    head = [getattr(parts, name) for name in (adapter.qa_head.transform, adapter.qa_head.outputs) if name is not None]
    cost = model_cost(parts.base_model, adapter, linears_in(head))

    def work(inputs: Inputs) -> Work:
        batch, tokens = inputs["input_ids"].shape
        return Work(int(dense_flops(cost, np.full(batch, tokens)).sum()), batch * tokens)

    return work


def _padding(name: str, encoder: Any, pad_to: int | None) -> Callable[[Batch], Inputs]:
    """Make the function that pads a batch for a baseline and leaves out what transformers models don't know."""
    filling = {"input_ids": int(encoder.config.pad_token_id or 0), "attention_mask": 0, "token_type_ids": 0}
    if not hasattr(encoder.embeddings, "token_type_embeddings"):
        del filling["token_type_ids"]

    def prepare(batch: Batch) -> Inputs:
        tokens = batch.inputs["input_ids"].shape[1]
        more = 0 if pad_to is None else pad_to - tokens
        if more < 0:
            raise ConfigError(f"{name} pads its input to {pad_to} tokens, but there is input of {tokens}")
        return {key: F.pad(batch.inputs[key], (0, more), value=filling[key]) for key in filling if key in batch.inputs}

    return prepare
