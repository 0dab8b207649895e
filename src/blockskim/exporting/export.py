"""From a model to a directory that answers without PyTorch and transformers, and with them as before."""

import copy
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from blockskim.atomic import check_new, new_directory, new_files, write_whole
from blockskim.data.examples import Example
from blockskim.data.tokens import FrozenTokenizer, freeze_tokenizer, read_frozen_tokenizer
from blockskim.data.windows import make_windows
from blockskim.errors import ConfigError, ModelError
from blockskim.exporting.agreement import Agreement, measure_agreement
from blockskim.exporting.exported_model import ExportedModel
from blockskim.exporting.int8 import Product, default_products, product_flops
from blockskim.exporting.int8_search import Report, search_products
from blockskim.exporting.manifest import (
    GRAPH,
    INT8_GRAPH,
    TOKENIZER,
    Manifest,
    digest,
    is_exported,
    keep_int8_settings,
    read_manifest,
    same_model,
    write_manifest,
)
from blockskim.exporting.onnx_export import check_exportable, manifest_of, write_graph
from blockskim.exporting.pieces import PieceExporter
from blockskim.inference.loading import load, network_inside
from blockskim.inference.window_settings import usual_window_settings
from blockskim.model.checkpoints import check_vocabulary, is_block_skim
from blockskim.model.hub import check_hub_arguments, find_beside
from blockskim.model.load_errors import loading
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.stored_weights import PROVENANCE, WEIGHTS, stored_formats

logger = logging.getLogger(__name__)

ONE_FILE = "1000GB"
"""All weights go into one file, which the graph reads."""

NEEDED = (WEIGHTS, TOKENIZER, "config.json")
"""What a graph has beside it."""

PAPERS = (*PROVENANCE, "calibration.json")
"""What tells where a model came from and how its points were chosen."""

SEARCH_FILE = "int8-search.json"
"""What a search for int8 layers measured."""

_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Int8Settings:
    """How the int8 graph is made. It has the model's thresholds and points until ``keep_int8_settings`` notes others.

    Attributes:
        examples: on which it is searched what to quantise; they were neither trained on nor will be reported on.
            Without any, all is quantised but the second feed-forward products.
        most_lost: F1, in points, that the dense run may lose on them.
        report: told of each step of the search.
    """

    examples: Sequence[Example] = ()
    most_lost: float = 0.3
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export made.

    Attributes:
        directory: of the exported model.
        graph_bytes: size of the graph.
        weight_bytes: size of the weights, which both engines read.
        agreement: of the graph in float32 with PyTorch.
        int8_bytes: size of the int8 graph with its weights; 0 where there is none.
        int8_products: what is quantised in it; empty for one that was there before and stays.
        int8_agreement: of the int8 graph with PyTorch; None where there is none.
    """

    directory: Path
    graph_bytes: int
    weight_bytes: int
    agreement: Agreement
    int8_bytes: int = 0
    int8_products: tuple[Product, ...] = ()
    int8_agreement: Agreement | None = None


def export(
    model: str | Path | BlockSkimForQuestionAnswering | None,
    output: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    int8: bool | Int8Settings = False,
    **hub: Any,
) -> ExportResult:
    """Write a model as one ONNX graph that drops tokens inside, with all that is needed to answer with it.

    The directory is a model for PyTorch, too: both engines read the same ``model.safetensors``. All operating points
    run in the one graph.

    Args:
        model: a directory or hub id of a Block-Skim model or of any QA checkpoint; a model; or None for the model that
            comes with the library.
        output: directory to make, which appears whole or not at all. The model's own directory gets the graph beside
            what is there. Unless ``int8`` makes a new one, an int8 graph in it stays with its thresholds if it was
            made of the same weights and settings, and is removed with a warning if it was made of others.
        tokenizer: of a model that is given as such; any other has its own.
        int8: whether to write a second graph with linear layers in int8, and how.
        **hub: for reading from the hub, as transformers has them.

    Raises:
        ConfigError: the family can't be exported, a package is missing, there is something at ``output``, an argument
            is impossible, or no choice of int8 layers loses as little as asked.
        ModelError: the model can't be loaded, or the tokenizer is another model's.

    Examples:
        >>> from blockskim import QuestionAnswerer, export
        >>> result = export("my-model", "my-export")
        >>> answerer = QuestionAnswerer("my-export")  # needs no PyTorch
        >>> answerer("where is the kite ?", "the kite is in wales .")["start"] >= 0
        True
    """
    target = Path(output)
    if not isinstance(int8, bool | Int8Settings):
        raise ConfigError(f"int8 is {int8!r:.80}; it must be True, False, or how the graph is made (Int8Settings)")
    settings = None if int8 is False else Int8Settings() if int8 is True else int8
    network = network_inside(model)
    _check_given(network, tokenizer)
    if isinstance(network, BlockSkimForQuestionAnswering):
        assert tokenizer is not None
        check_hub_arguments(hub)
        check_new(target)
        check_exportable(network)
        check_vocabulary(network.encoder, tokenizer, "the model")
        dtype = network.dtype if network.dtype in _DTYPES.values() else torch.float32
        # What is handed in stays its owner's.
        with torch.inference_mode(False):
            prepared = copy.deepcopy(network).cpu().float().eval()
        return _write_directory(prepared, tokenizer, target, dtype, settings)
    named = network is not None and "subfolder" not in hub
    own = named and Path(network).is_dir() and target.is_dir() and Path(network).samefile(target)
    if not own:
        check_new(target)
    loaded = load(network, "cpu", "float32", **hub)
    check_exportable(loaded.model)
    if own:
        return _add_graph(loaded.model, loaded.tokenizer, target, settings)
    with loading(loaded.name):
        papers = {name: find_beside(loaded.name, name, loaded.hub) for name in PAPERS}
    dtype = _stored_dtype(loaded.name, loaded.hub)
    return _write_directory(loaded.model, loaded.tokenizer, target, dtype, settings, papers)


def _check_given(model: object, tokenizer: object) -> None:
    """Refuse what is no model, and a tokenizer that is none or not asked for.

    Raises:
        ConfigError: it is one of these.
    """
    given = isinstance(model, BlockSkimForQuestionAnswering)
    if not given and not isinstance(model, str | Path | None):
        raise ConfigError(
            f"model is {model!r:.80}; it must be a directory, a hub id, a BlockSkimForQuestionAnswering, or None for "
            "the model that comes with the library"
        )
    if given and tokenizer is None:
        raise ConfigError("a model that is given as such needs its tokenizer, too")
    if not given and tokenizer is not None:
        raise ConfigError("tokenizer goes with a model that is given as such; one that is named has its own")
    if given and not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ConfigError(
            f"tokenizer is {tokenizer!r:.80}; it must be a tokenizer of transformers, as load(…).tokenizer"
        )


def _write_directory(
    model: BlockSkimForQuestionAnswering,
    tokenizer: PreTrainedTokenizerBase,
    target: Path,
    dtype: torch.dtype,
    int8: Int8Settings | None,
    papers: Mapping[str, Path | None] = MappingProxyType({}),
) -> ExportResult:
    with new_directory(target) as part:
        for name, path in papers.items():
            if path is not None:
                shutil.copyfile(path, part / name)
        tokenizer.save_pretrained(part)
        model.to(dtype).save_pretrained(part, max_shard_size=ONE_FILE)  # type: ignore[arg-type]
        frozen = freeze_tokenizer(tokenizer)
        _check_same_tokenizer(frozen, part / TOKENIZER)
        # Numbers of half precision are numbers of single precision, so the model is what it was.
        result = _write_graphs(model.float(), frozen, part, int8)
    return replace(result, directory=target)


def check_beside(directory: Path, tokenizer: FrozenTokenizer) -> None:
    """Refuse a model's own directory if a graph can't be put beside what is there.

    Args:
        directory: of the model.
        tokenizer: of the model, as transformers reads it.

    Raises:
        ModelError: something that the graph needs is not there, or is otherwise than it needs it.
    """
    for name in NEEDED:
        if not (directory / name).is_file():
            raise ModelError(f"{directory} has no {name}, which the graph needs beside it; name a new directory")
    if not is_block_skim(directory):
        raise ModelError(f"{directory} holds no Block-Skim model, so no graph fits beside it; name a new directory")
    _check_same_tokenizer(tokenizer, directory / TOKENIZER)


def _add_graph(
    model: BlockSkimForQuestionAnswering, tokenizer: PreTrainedTokenizerBase, directory: Path, int8: Int8Settings | None
) -> ExportResult:
    """Put the graph beside a model that lies in a directory with one file of weights."""
    frozen = freeze_tokenizer(tokenizer)
    check_beside(directory, frozen)
    earlier, kept = None if int8 is not None else _earlier_with_int8(directory), None
    if earlier is not None:
        now = manifest_of(model, frozen, {name: directory / name for name in (TOKENIZER, WEIGHTS)})
        kept = earlier if same_model(earlier, now) else None
    beside = [*NEEDED, *PAPERS, *([] if kept is None else [INT8_GRAPH])]
    with new_files(directory) as part:
        there = [name for name in beside if (directory / name).is_file()]
        for name in there:
            shutil.copyfile(directory / name, part / name)
        result = _write_graphs(model, frozen, part, int8, kept)
        for name in there:
            (part / name).unlink()
    if int8 is not None and not int8.examples:
        # It tells of the graph that this one took the place of.
        (directory / SEARCH_FILE).unlink(missing_ok=True)
    if earlier is not None and kept is None:
        (directory / SEARCH_FILE).unlink(missing_ok=True)
        (directory / INT8_GRAPH).unlink()
        logger.warning(
            "%s: %s was made of another model than the one that is there now, and is removed; export with int8 makes a "
            "new one",
            directory,
            INT8_GRAPH,
        )
    # Not copies of the model's files any more, which may be links: what can't be loaded is no success.
    ExportedModel(directory, threads=1)
    return replace(result, directory=directory)


def _earlier_with_int8(directory: Path) -> Manifest | None:
    """What an earlier export to a directory says of itself, if its int8 graph is there; None otherwise.

    A file of that name that no export is known to have made is nobody's to keep or to remove.
    """
    graph = directory / INT8_GRAPH
    if not (graph.is_file() and is_exported(directory)):
        return None
    try:
        earlier = read_manifest(directory)
    except ModelError as error:
        logger.warning("%s; %s stays but does not count; export with int8 makes a new one", error, graph)
        return None
    if INT8_GRAPH not in earlier.digests:
        return None
    if digest(graph) != earlier.digests[INT8_GRAPH]:
        logger.warning(
            "%s is damaged or not the file of the export, so it stays but does not count; export with int8 makes a new "
            "one",
            graph,
        )
        return None
    return earlier


def _write_graphs(
    model: BlockSkimForQuestionAnswering,
    tokenizer: FrozenTokenizer,
    part: Path,
    int8: Int8Settings | None,
    kept: Manifest | None = None,
) -> ExportResult:
    """Write graphs and manifest beside the model's files.

    Args:
        model: in evaluation mode, in float32, on a CPU.
        tokenizer: its tokenizer.
        part: folder with the model's files, and an int8 graph that is to stay.
        int8: how to make an int8 graph; None for none.
        kept: of the export whose int8 graph stays; None where none does.
    """
    exporter = PieceExporter(model)

    def write(name: str, products: Sequence[Product] = ()) -> Path:
        write_graph(exporter, part / WEIGHTS, part / name, tokenizer.template.types is not None, products)
        files = {TOKENIZER: part / TOKENIZER, WEIGHTS: part / WEIGHTS}
        files |= {graph: part / graph for graph in (GRAPH, INT8_GRAPH) if (part / graph).is_file()}
        write_manifest(part, manifest_of(model, tokenizer, files))
        return part / name

    def build(products: Sequence[Product]) -> ExportedModel:
        write(INT8_GRAPH, products)
        return ExportedModel(part, "int8")

    graph = write(GRAPH)
    agreement = measure_agreement(model, ExportedModel(part), tokenizer)
    chosen: tuple[Product, ...] = ()
    if int8 is not None and int8.examples:
        windows = make_windows(int8.examples, tokenizer, usual_window_settings(model, tokenizer), warn=False)
        search = search_products(build, product_flops(model), windows, int8.most_lost, report=int8.report)
        chosen = search.products
        write_whole(part / SEARCH_FILE, json.dumps(asdict(search), indent=1, default=str) + "\n")
    elif int8 is not None:
        chosen = tuple(default_products(model))
    if int8 is not None:
        write(INT8_GRAPH, chosen)
    result = ExportResult(part, graph.stat().st_size, (part / WEIGHTS).stat().st_size, agreement)
    if not (part / INT8_GRAPH).is_file():
        return result
    # Before it gets thresholds of its own: both are compared at those of the model.
    int8_agreement = measure_agreement(model, _load_int8(part, kept is not None), tokenizer)
    if kept is not None and kept.int8_settings is not None:
        keep_int8_settings(part, **kept.int8_settings)
    return replace(
        result,
        int8_bytes=(part / INT8_GRAPH).stat().st_size,
        int8_products=chosen,
        int8_agreement=int8_agreement,
    )


def _load_int8(part: Path, was_there: bool) -> ExportedModel:
    """The int8 graph of an export that is not in place yet.

    Raises:
        ModelError: it can't be run here; of one that was there before, with what to do.
    """
    try:
        return ExportedModel(part, "int8")
    except ModelError as error:
        if not was_there:
            raise
        raise ModelError(
            f"the {INT8_GRAPH} that is there can't be run here; make it anew with --int8 (int8=True), or move it away "
            f"with its thresholds: {error}"
        ) from error


def _check_same_tokenizer(tokenizer: FrozenTokenizer, path: Path) -> None:
    """Refuse a file that says something else than the tokenizer that transformers makes of it.

    Other files of a directory and transformers itself change some settings that the file has, too.

    Raises:
        ModelError: it says something else.
    """
    if read_frozen_tokenizer(path, tokenizer.template).backend.to_str() != tokenizer.backend.to_str():
        raise ModelError(f"{path} is not all of the tokenizer, so it can't be read alone; name a new directory")


def _stored_dtype(name: str, hub: Mapping[str, Any]) -> torch.dtype:
    """The number format in which the weights of a directory or hub id are stored; float32 where there are several."""
    formats = stored_formats(name, hub)
    return _DTYPES.get(next(iter(formats)), torch.float32) if len(formats) == 1 else torch.float32
