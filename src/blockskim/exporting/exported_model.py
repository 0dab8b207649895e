"""An exported model on ONNX Runtime: a backend for inference that needs neither PyTorch nor transformers.

Windows run one by one, each on one thread; a pool of threads runs as many of them side by side as there are cores.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blockskim.checks import check_threads
from blockskim.cores import available_cores
from blockskim.data.packed_inputs import PackedInputs
from blockskim.data.tokens import FrozenTokenizer, read_frozen_tokenizer
from blockskim.errors import ConfigError, ModelError
from blockskim.exporting.directory import check_files, read_settings
from blockskim.exporting.manifest import GRAPH, INT8_GRAPH, TOKENIZER, read_manifest
from blockskim.exporting.weight_files import float_rows, open_rows
from blockskim.inference.backend import LoadedBackend
from blockskim.method.block_spans import BlockSpans, blocks_of_packed
from blockskim.method.confidence import ConfidenceModel
from blockskim.method.config import SkimConfig
from blockskim.method.cost import ModelCost, PredictorCost
from blockskim.method.skim_trace import AS_NEEDED, Asking, LayerRecord, WindowScores, trace_of
from blockskim.method.thresholds import asked_thresholds

ASKED = -1.0
"""The graph's threshold for asking a predictor and dropping nothing."""


@dataclass(frozen=True, slots=True)
class _Window:
    """What the graph gave for one window.

    Attributes:
        logits: of the tokens that were left. Shape: (left, 2)
        places: of these in the window. Shape: (left,)
        probabilities: of the blocks that each predictor scored; empty for one that was not asked. Shape: (blocks,) each
        kept: numbers of the blocks that stayed. Shape: (kept,) each
    """

    logits: NDArray[np.float32]
    places: NDArray[np.int64]
    probabilities: tuple[NDArray[np.float32], ...]
    kept: tuple[NDArray[np.int64], ...]


class ExportedModel:
    """A model that was exported; any number of threads may use it at once."""

    def __init__(self, directory: str | Path, number_format: str = "float32", threads: int | None = None) -> None:
        """Load a directory that ``export`` made.

        Args:
            directory: with the graph, its weights, and ``config.json``.
            number_format: ``"float32"``, or ``"int8"`` for the quantised graph, if there is one.
            threads: windows that run side by side; as many as the process may use cores when None.

        Raises:
            ModelError: something of the directory is missing, damaged, or does not go together.
            ConfigError: an argument is impossible, or ONNX Runtime is not installed.
        """
        # As it is named now: the process may go to another folder, and copies are loaded anew.
        self.directory = Path(directory).absolute()
        if number_format not in ("float32", "int8"):
            raise ConfigError(f"number_format is {number_format!r:.80}; it must be float32 or int8")
        self._number_format = number_format
        self.manifest = read_manifest(self.directory)
        self._settings = read_settings(self.directory, self.manifest, number_format)
        self.threads = available_cores() if threads is None else check_threads(threads)
        path = self.directory / self._graph
        check_files(self.directory, self.manifest, path)
        (weights,) = self.manifest.weights
        self._session = _session(path, self.directory / weights)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._inputs = frozenset(entry.name for entry in self._session.get_inputs())
        self._check_graph(path)
        self._embeddings = open_rows(self.directory / weights, self.manifest.embeddings)
        self._pool: tuple[int, ThreadPoolExecutor] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied as the name of its directory, as a session can't be, and the settings that it has now."""
        return type(self), (self.directory, self._number_format, self.threads), {"_settings": self._settings}

    @property
    def skim_config(self) -> SkimConfig:
        """The skim settings."""
        return self._settings.skim

    @property
    def skim_layers(self) -> tuple[int, ...]:
        """Numbers of the layers that have a predictor, from 1."""
        return self.manifest.skim_layers

    @property
    def has_trained_predictors(self) -> bool:
        """Whether the graph holds predictors; those that were never trained are not exported."""
        return self.manifest.trained_predictors

    @property
    def confidence(self) -> ConfidenceModel | None:
        """What turns scores into the probability that an answer is right; None where it was not calibrated."""
        return self._settings.confidence

    @property
    def num_layers(self) -> int:
        """Number of layers of the encoder."""
        return self.manifest.num_layers

    @property
    def position_limit(self) -> int | None:
        """The most tokens that a window may have; None when there is no such limit."""
        return self.manifest.position_limit

    @property
    def has_word_embeddings(self) -> bool:
        """Whether ``word_embeddings`` may be asked for: the weights lie beside the graph, so always."""
        return True

    def word_embeddings(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Word embeddings of some token ids, in float32. Shape: (ids, width)."""
        return float_rows(self._embeddings, ids)

    @property
    def number_format(self) -> str:
        """``"float32"`` or ``"int8"``."""
        return self._number_format

    def fingerprint(self) -> str:
        """The digests of graph and weights; of the skim settings and the confidence they tell nothing."""
        (weights,) = self.manifest.weights.values()
        return f"{self.manifest.digests[self._graph]} {weights.num_bytes} {weights.fingerprint}"

    @property
    def _graph(self) -> str:
        return GRAPH if self._number_format == "float32" else INT8_GRAPH

    @property
    def cost(self) -> ModelCost:
        """Arithmetic of each part per token."""
        return self.manifest.cost

    def predictor_cost(self, layer: int, question_tokens: int) -> PredictorCost:
        """What the predictor of a layer costs on a window whose question has so many tokens; layers count from 1."""
        return self.manifest.predictor_costs[self.skim_layers.index(layer)].of(question_tokens)

    def check_vocabulary(self, tokenizer: FrozenTokenizer) -> None:
        """Refuse a tokenizer with ids for which there are no embeddings.

        Raises:
            ModelError: it has such ids.
        """
        most = max(tokenizer.backend.get_vocab(with_added_tokens=True).values(), default=0)
        if most >= self.manifest.vocabulary:
            raise ModelError(
                f"the tokenizer has ids up to {most}, but {self.directory} has embeddings for "
                f"{self.manifest.vocabulary} alone: it is another model's"
            )

    def score_windows(
        self, inputs: PackedInputs, thresholds: float | Sequence[float] | None = None, asking: Asking = AS_NEEDED
    ) -> WindowScores:
        """Read windows as a backend does; predictors that were never trained are not in the graph.

        Raises:
            ConfigError: a threshold is impossible, or there are no predictors to be asked.
            ModelError: ONNX Runtime can't run the graph on these windows.
        """
        active = self._active_thresholds(thresholds, asking)
        layout = blocks_of_packed(inputs, self.manifest.block_size, self.manifest.alignment)
        windows = self._run(inputs, layout, active)
        width = int(inputs.lengths.max(initial=0))
        logits = np.full((2, len(windows), width), -np.inf, dtype=np.float32)
        for row, window in enumerate(windows):
            logits[:, row, window.places] = window.logits.T
        records = self._records(windows, layout, inputs, active)
        questions = inputs.question_exists.sum(1).tolist()
        costs = {number: [self.predictor_cost(number, tokens) for tokens in questions] for number in self.skim_layers}
        trace = trace_of(records, layout, inputs.lengths, active, costs, self.manifest.cost)
        return WindowScores(logits[0], logits[1], trace)

    def _active_thresholds(self, thresholds: float | Sequence[float] | None, asking: Asking) -> dict[int, float]:
        active = asked_thresholds(thresholds, self._settings.skim.thresholds, self.skim_layers, asking.all_layers)
        if active and not self.has_trained_predictors:
            raise ConfigError(
                f"{self.directory} was exported from a model whose predictors were never trained; read everything "
                "(thresholds of 0), or train the model and export it again"
            )
        return active

    def _run(self, inputs: PackedInputs, layout: BlockSpans, active: Mapping[int, float]) -> list[_Window]:
        """What the graph gives for each window; of each document at least one block is left."""
        _, documents, sizes = np.unique(inputs.documents, return_inverse=True, return_counts=True)
        alone = sizes[documents] == 1
        feeds = [self._feed(inputs, layout, active, row) for row in range(len(inputs.lengths))]
        windows = self._each(
            lambda row: self._window({**feeds[row], "keep_one": np.array(bool(alone[row]))}), range(len(feeds))
        )
        has_blocks = layout.droppable.any(1)
        for document in np.flatnonzero(sizes > 1):
            last = _last_standing(np.flatnonzero((documents == document) & has_blocks).tolist(), windows)
            if last is not None:
                windows[last] = self._window({**feeds[last], "keep_one": np.array(True)})
        return windows

    def _each(self, call: Callable[[int], _Window], rows: range) -> list[_Window]:
        """Call something for every row, several at once if there are threads for it."""
        if self.threads == 1 or len(rows) == 1:
            return [call(row) for row in rows]
        with self._lock:
            # A process that was forked has a copy of the pool, but not of its threads.
            if self._pool is None or self._pool[0] != os.getpid():
                self._pool = os.getpid(), ThreadPoolExecutor(self.threads, thread_name_prefix="blockskim")
            pool = self._pool[1]
        return list(pool.map(call, rows))

    def _feed(
        self, inputs: PackedInputs, layout: BlockSpans, active: Mapping[int, float], row: int
    ) -> dict[str, NDArray[Any]]:
        """The graph's inputs for a window, all but ``keep_one``."""
        part = slice(*inputs.bounds[row : row + 2].tolist())
        feed: dict[str, NDArray[Any]] = {"input_ids": inputs.ids[part]}
        if self.manifest.token_types:
            feed["token_type_ids"] = np.zeros_like(inputs.ids[part]) if inputs.types is None else inputs.types[part]
        droppable = layout.droppable[row]
        # The smallest numbers are 0 in float32.
        asked = {number: np.float32(threshold) or ASKED for number, threshold in active.items()}
        return feed | {
            "question": inputs.questions[row][inputs.question_exists[row]],
            "first": layout.starts[row, droppable][:1].sum(),
            "count": layout.lengths[row, droppable].sum(),
            "thresholds": np.array([asked.get(number, 0.0) for number in self.skim_layers], dtype=np.float32),
        }

    def _window(self, feed: Mapping[str, NDArray[Any]]) -> _Window:
        """What the graph gives for a window.

        Raises:
            ModelError: it can't be run, as on ids that it has no embeddings for.
        """
        given = {name: np.asarray(value) for name, value in feed.items() if name in self._inputs}
        try:
            logits, places, *skimmed = self._session.run(self._outputs, given)
        # It raises classes of its own, which have no base but Exception.
        except Exception as error:
            raise ModelError(f"{self.directory}: ONNX Runtime can't run the graph: {_one_line(error)}") from error
        return _Window(logits, places, tuple(skimmed[::2]), tuple(skimmed[1::2]))

    def _records(
        self, windows: Sequence[_Window], layout: BlockSpans, inputs: PackedInputs, active: Mapping[int, float]
    ) -> dict[int, LayerRecord]:
        """What each predictor did, by layer number; of layers in which there was no block to score, nothing."""
        records: dict[int, LayerRecord] = {}
        layers = self.skim_layers if self.has_trained_predictors else ()
        columns = [np.flatnonzero(row) for row in layout.droppable]
        there: list[NDArray[np.int64]] = [np.arange(len(own)) for own in columns]
        outside = inputs.lengths - (layout.lengths * layout.droppable).sum(1)
        for place, number in enumerate(layers):
            if number not in active or not any(map(len, there)):
                continue
            kept = np.zeros_like(layout.droppable)
            probabilities = np.full(layout.droppable.shape, np.nan, dtype=np.float32)
            scored = np.array([len(numbers) for numbers in there], dtype=np.int64)
            for row, window in enumerate(windows):
                probabilities[row, columns[row][there[row]]] = window.probabilities[place]
                kept[row, columns[row][window.kept[place]]] = True
                there[row] = window.kept[place]
            gone = (np.array([len(own) for own in columns]) > 0) & ~kept.any(1)
            left = np.where(gone, 0, outside + (layout.lengths * kept).sum(1))
            records[number] = LayerRecord(kept, probabilities, scored, left)
        return records

    def _check_graph(self, path: Path) -> None:
        """Refuse a graph with other inputs and outputs than this version knows."""
        asking = self.skim_layers if self.has_trained_predictors else ()
        named = [name for layer in asking for name in (f"probabilities_{layer}", f"kept_{layer}")]
        wanted = {"input_ids"} | ({"token_type_ids"} if self.manifest.token_types else set())
        wanted |= {"question", "first", "count", "thresholds", "keep_one"} if asking else set()
        if self._outputs != ["logits", "places", *named] or self._inputs != wanted:
            raise ModelError(f"{path} has other inputs or outputs than this version of blockskim; export it again")


def load_exported(directory: str | Path, number_format: str = "float32", threads: int | None = None) -> LoadedBackend:
    """Load an exported model and its tokenizer.

    Args:
        directory: that ``export`` made.
        number_format: ``"float32"``, or ``"int8"`` for the quantised graph, if there is one.
        threads: windows that run side by side; as many as the process may use cores when None.

    Raises:
        ModelError: something of the directory is missing, damaged, or does not go together.
        ConfigError: an argument is impossible, or ONNX Runtime is not installed.
    """
    model = ExportedModel(directory, number_format, threads)
    tokenizer = read_frozen_tokenizer(model.directory / TOKENIZER, model.manifest.template)
    tokenizer.backend.encode_special_tokens = model.manifest.split_special_tokens
    model.check_vocabulary(tokenizer)
    return LoadedBackend(model, tokenizer, str(directory))


def _last_standing(rows: Sequence[int], windows: Sequence[_Window]) -> int | None:
    """Of a document's windows with blocks, the one whose likeliest block stays; None if any block is left anyway.

    It is the window with the likeliest block in the last layer that had blocks to score: had all windows run together,
    this block would have been kept there, and be the only one from then on.
    """
    if not rows or any(len(windows[row].places) for row in rows):
        return None
    for place in reversed(range(len(windows[rows[0]].probabilities))):
        best = [(float(windows[row].probabilities[place].max(initial=-1.0)), -row) for row in rows]
        if max(best)[0] >= 0:
            return -max(best)[1]
    return None


def _session(path: Path, weights: Path) -> Any:
    """Load a graph; each run of it takes one thread.

    ONNX Runtime reads the weights where they lie. Some versions refuse those that are a link to another folder, or any
    link, and take what they hold all the same; then they keep a copy of their own.

    Args:
        path: of the graph.
        weights: the file that it reads.

    Raises:
        ModelError: ONNX Runtime can't load it.
        ConfigError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ConfigError(
            "an exported model needs onnxruntime, which is not installed: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # What goes wrong is raised; it need not be written to stderr too.
    options.log_severity_level = 4
    start = partial(onnxruntime.InferenceSession, str(path), options, providers=["CPUExecutionProvider"])
    try:
        try:
            return start()
        except Exception:
            if not (weights.is_symlink() and hasattr(options, "add_external_initializers_from_files_in_memory")):
                raise
            content = np.memmap(weights, dtype=np.uint8, mode="r")
            options.add_external_initializers_from_files_in_memory([weights.name], [content], [len(content)])
            return start()
    # It raises classes of its own, which have no base but Exception.
    except Exception as error:
        raise ModelError(f"{path} can't be loaded by ONNX Runtime: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
