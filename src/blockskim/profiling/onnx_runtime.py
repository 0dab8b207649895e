"""The dense model in ONNX Runtime, in float32 or with weights quantised to int8. Needs the extra ``onnx``."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from blockskim.exporting.tracing import quiet
from blockskim.profiling.contenders import Batch, Contender, Inputs, Logits, Work

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class _Positional(nn.Module):
    """A QA model that takes its inputs by position and returns its logits as a pair, as the exporter needs it."""

    def __init__(self, model: PreTrainedModel, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *values: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(**dict(zip(self.names, values, strict=True)))
        return output.start_logits, output.end_logits


def onnx_contender(
    name: str,
    dense: PreTrainedModel,
    prepare: Callable[[Batch], Inputs],
    work: Callable[[Inputs], Work],
    quantize: bool,
    trained: bool,
) -> Contender:
    """Export a dense model and make a contender that runs it.

    Args:
        name: of the contender.
        dense: transformers' QA model with eager attention.
        prepare: a batch to tensors by name.
        work: what the dense model computes on them.
        quantize: whether to quantise the weights of matrix products to int8, activations as they come.
        trained: whether the model's answers mean anything.
    """
    names = INPUTS if hasattr(dense.base_model.embeddings, "token_type_embeddings") else INPUTS[:2]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        export(dense, names, path)
        if quantize:
            path = quantized(path)
        size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
        session = make_session(path)

    def as_arrays(batch: Batch) -> Inputs:
        tensors = prepare(batch)
        given = {name: tensors[name] for name in names if name in tensors}
        if "token_type_ids" in names and "token_type_ids" not in given:
            given["token_type_ids"] = torch.zeros_like(tensors["input_ids"])
        return {name: value.numpy() for name, value in given.items()}

    def run(inputs: Inputs) -> Logits:
        start, end = session.run(None, dict(inputs))
        return Logits(torch.from_numpy(start), torch.from_numpy(end))

    dtype = "int8" if quantize else "float32"
    return Contender(name, dtype, as_arrays, run, work, size, trained=trained, memory_seen=False)


def export(dense: PreTrainedModel, names: tuple[str, ...], path: Path) -> None:
    """Write a QA model as ONNX, with any number of samples and tokens."""
    # Distinct tensors: the exporter would make a single input of one that is given several times.
    examples = tuple(torch.ones((2, 16), dtype=torch.long, device=dense.device) for _ in names)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    with quiet():
        torch.onnx.export(
            _Positional(dense, names).eval(),
            examples,
            path,
            input_names=names,
            output_names=("start_logits", "end_logits"),
            dynamic_shapes=((axes,) * len(names),),
            dynamo=True,
            verbose=False,
        )


def quantized(path: Path) -> Path:
    """Quantise the weights of an ONNX model to int8, beside it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = path.with_name("quantized.onnx")
    with quiet():
        quantize_dynamic(path, target, weight_type=QuantType.QInt8)
    return target


def make_session(path: Path) -> Any:
    """Load an ONNX model, with as many threads as PyTorch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Waiting threads spin, which is quick; but not beyond the end of a run, where others are measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
