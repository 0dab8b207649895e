"""From a model to a directory that answers without PyTorch and transformers, and with them as before."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from blockskim.atomic import check_new, new_directory, new_files
from blockskim.data.tokens import FrozenTokenizer, freeze_tokenizer, read_frozen_tokenizer
from blockskim.errors import ConfigError, ModelError
from blockskim.exporting.manifest import GRAPH, TOKENIZER, write_manifest
from blockskim.exporting.onnx_export import check_exportable, manifest_of, write_graph
from blockskim.exporting.weight_files import stored_tensors
from blockskim.inference.loading import load, unwrapped
from blockskim.model.checkpoints import check_vocabulary, is_block_skim
from blockskim.model.hub import check_hub_arguments
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.stored_weights import WEIGHTS

ONE_FILE = "1000GB"
"""All weights go into one file, which the graph reads."""

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export made.

    Attributes:
        directory: of the exported model.
        graph_bytes: size of the graph.
        weight_bytes: size of the weights, which both engines read.
    """

    directory: Path
    graph_bytes: int
    weight_bytes: int


def export(
    model: str | Path | BlockSkimForQuestionAnswering | None,
    output: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    **hub: Any,
) -> ExportResult:
    """Write a model as one ONNX graph that drops tokens inside, with all that is needed to answer with it.

    The directory is a model for PyTorch, too: both engines read the same ``model.safetensors``. All operating points
    run in the one graph.

    Args:
        model: a directory or hub id of a Block-Skim model or of any QA checkpoint; a model; or None for the model that
            comes with the library.
        output: directory to make, which appears whole or not at all. The model's own directory gets the graph beside
            what is there.
        tokenizer: of a model that is given as such.
        **hub: for reading from the hub, as transformers has them.

    Raises:
        ConfigError: the family can't be exported, a package is missing, or there is something at ``output``.
        ModelError: the model can't be loaded, or the tokenizer is another model's.
    """
    target = Path(output)
    network = unwrapped(model)
    if isinstance(network, BlockSkimForQuestionAnswering):
        if tokenizer is None:
            raise ConfigError("a model that is given as such needs its tokenizer, too")
        check_hub_arguments(hub)
        check_new(target)
        check_exportable(network)
        check_vocabulary(network.encoder, tokenizer, "the model")
        dtype = network.dtype
        # What is handed in stays its owner's.
        prepared = copy.deepcopy(network).cpu().float().eval()
        return _write_directory(prepared, tokenizer, target, dtype)
    named = network is not None and "subfolder" not in hub
    own = named and Path(network).is_dir() and target.is_dir() and Path(network).samefile(target)
    if not own:
        check_new(target)
    loaded = load(network, "cpu", "float32", **hub)
    check_exportable(loaded.model)
    if own:
        return _add_graph(loaded.model, loaded.tokenizer, target)
    return _write_directory(loaded.model, loaded.tokenizer, target, _stored_dtype(Path(loaded.name)))


def _write_directory(
    model: BlockSkimForQuestionAnswering, tokenizer: PreTrainedTokenizerBase, target: Path, dtype: torch.dtype
) -> ExportResult:
    with new_directory(target) as part:
        tokenizer.save_pretrained(part)
        model.to(dtype).save_pretrained(part, max_shard_size=ONE_FILE)  # type: ignore[arg-type]
        # Numbers of half precision are numbers of single precision, so the model is what it was.
        result = _write_graph(model.float(), tokenizer, part, part)
    return ExportResult(target, result.graph_bytes, result.weight_bytes)


def _add_graph(
    model: BlockSkimForQuestionAnswering, tokenizer: PreTrainedTokenizerBase, directory: Path
) -> ExportResult:
    """Put the graph beside a model that lies in a directory with one file of weights."""
    for name in (WEIGHTS, TOKENIZER):
        if not (directory / name).is_file():
            raise ModelError(f"{directory} has no {name}, which the graph needs beside it; name a new directory")
    if not is_block_skim(directory):
        raise ModelError(f"{directory} holds no Block-Skim model, so no graph fits beside it; name a new directory")
    with new_files(directory) as part:
        return _write_graph(model, tokenizer, directory, part)


def _write_graph(
    model: BlockSkimForQuestionAnswering, tokenizer: PreTrainedTokenizerBase, source: Path, part: Path
) -> ExportResult:
    """Write graph and manifest of the model in ``source`` into ``part``."""
    frozen = freeze_tokenizer(tokenizer)
    _check_same_tokenizer(frozen, source / TOKENIZER)
    weights, graph = source / WEIGHTS, part / GRAPH
    write_graph(model, weights, graph, frozen.template.types is not None)
    files = {GRAPH: graph, TOKENIZER: source / TOKENIZER, WEIGHTS: weights}
    write_manifest(part, manifest_of(model, frozen, files))
    return ExportResult(source, graph.stat().st_size, weights.stat().st_size)


def _check_same_tokenizer(tokenizer: FrozenTokenizer, path: Path) -> None:
    """Refuse a file that says something else than the tokenizer that transformers makes of it.

    Other files of a directory and transformers itself change some settings that the file has, too.

    Raises:
        ModelError: it says something else.
    """
    if read_frozen_tokenizer(path, tokenizer.template).backend.to_str() != tokenizer.backend.to_str():
        raise ModelError(f"{path} is not all of the tokenizer, so it can't be read alone; name a new directory")


def _stored_dtype(directory: Path) -> torch.dtype:
    """The number format of the weights in a directory; float32 where that can't be told."""
    path = directory / WEIGHTS
    if not path.is_file():
        return torch.float32
    formats = {tensor.number_format for tensor in stored_tensors(path).values()}
    return _DTYPES.get(next(iter(formats)), torch.float32) if len(formats) == 1 else torch.float32
