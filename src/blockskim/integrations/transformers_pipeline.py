"""``transformers.pipeline("question-answering")``, which transformers removed in 5.3, run by ``QuestionAnswerer``."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import AutoModelForQuestionAnswering, Pipeline, pipelines
from transformers.pipelines import PIPELINE_REGISTRY

from blockskim.answering.answerer import Answerer
from blockskim.answering.request import AnswerOptions, TextPair, pair_up
from blockskim.answering.texts import is_one_text
from blockskim.checks import check_count, check_flag
from blockskim.errors import ConfigError, ModelError
from blockskim.inference.devices import choose_dtype
from blockskim.inference.shipped import shipped_model
from blockskim.model.modeling import BlockSkimForQuestionAnswering

TASK = "question-answering"

_RENAMED = {"topk": "top_k"}
# What the removed pipeline, or a call of any pipeline, takes and what changes no answer here: windows are never padded,
# and no processes are needed to read ahead.
_IGNORED = ("padding", "num_workers")
_FORMS = "question=… and context=…, or dictionaries with 'question' and 'context'"


class QuestionAnsweringPipeline(Pipeline):
    """The removed pipeline's ways to ask, and what they answer.

    ``pipe(question=…, context=…)`` with a string each or several, ``pipe("question", "context")``,
    ``pipe({"question": …, "context": …})``, a list of such dictionaries, or a generator or data set of them, which
    gives a generator. A dictionary may hold lists; among others it stands for as many questions as it holds. Other
    arguments are those of a call of ``QuestionAnswerer``; given to ``pipeline(…)``, they hold for every call.
    """

    default_input_names: Any = "question,context"
    _load_tokenizer: Any = True

    def __init__(self, model: Any, tokenizer: Any = None, **kwargs: Any) -> None:
        """Wrap a Block-Skim model or any QA model of a supported family.

        Raises:
            ModelError: the model's family is not supported, or it has no tokenizer.
        """
        if tokenizer is None:
            raise ModelError("the question-answering pipeline needs the model's tokenizer, too")
        if not isinstance(model, BlockSkimForQuestionAnswering):
            # New predictors know nothing, so the answerer never asks them.
            model = BlockSkimForQuestionAnswering.from_backbone(model).eval()
        super().__init__(model=model, tokenizer=tokenizer, task=kwargs.pop("task", TASK), **kwargs)
        if self.device.type == "cpu" and self.model.dtype == torch.float16:
            # Weights may be stored so to save space; processors are not made to compute in it.
            model.to(dtype=choose_dtype("auto", self.device))
        self.answerer = Answerer(model, tokenizer, batch_size=self._batch_size or 32)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Answer one question, several, or a stream of them, in any of the forms that the class names.

        Returns:
            An answer (a dictionary with ``score``, ``start``, ``end`` and ``answer``), with ``top_k`` above 1 a list
            of them; for a list of inputs a list with that for each, for a generator a generator.

        Raises:
            ConfigError: the inputs are none of the forms above.
            DataError: a question or context is empty.
        """
        options = {**self._preprocess_params, **_options(kwargs)}
        inputs = _inputs(args, options)
        if isinstance(inputs, Mapping):
            record = _checked(inputs)
            return self.answerer(record["question"], record["context"], **options)
        if isinstance(inputs, list | tuple):
            return self._answers(inputs, options)
        return self._stream(_streamed(inputs), options)

    @staticmethod
    def create_sample(question: Any, context: Any) -> dict[str, str] | list[dict[str, str]]:
        """Put a question and its context, or several that pair up, into the form that the pipeline takes."""
        records = [{"question": pair.question, "context": pair.context} for pair in pair_up(question, context)]
        return records[0] if is_one_text(question) and is_one_text(context) else records

    def _answers(self, records: Iterable[Any], options: Mapping[str, Any], first: int = 0, asked: int = 0) -> list[Any]:
        """Answers to records, in their order. A record that holds lists has as many as there are pairs in it.

        Args:
            records: what is asked.
            options: of a call.
            first: how many records there were before.
            asked: how many pairs they held.
        """
        pairs = [pair for number, record in enumerate(records, start=first) for pair in _pairs(record, number)]
        named = [
            replace(pair, question_name=f"question {number}", context_name=f"context {number}")
            for number, pair in enumerate(pairs, start=asked + 1)
        ]
        chosen = {name: value for name, value in options.items() if name != "return_trace"}
        trace = check_flag("return_trace", options.get("return_trace", False))
        reading = self.answerer.start(named, AnswerOptions(**chosen), trace)
        reading.read()
        return reading.results()

    def _stream(self, records: Iterable[Any], options: Mapping[str, Any]) -> Iterator[Any]:
        """Answers one by one, computed in batches."""
        size = check_count("batch_size", options.get("batch_size", self.answerer.batch_size))
        remaining, asked = iter(records), 0
        for first in itertools.count(step=size):
            waiting = list(itertools.islice(remaining, size))
            if not waiting:
                return
            answers = self._answers(waiting, options, first, asked)
            asked += len(answers)
            yield from answers

    def save_pretrained(self, save_directory: str | PathLike[str], **kwargs: Any) -> None:
        """Save model and tokenizer; no code is put beside them."""
        self.model.save_pretrained(save_directory, **kwargs)
        tokenizer: Any = self.answerer.tokenizer
        tokenizer.save_pretrained(save_directory)

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return _options(options), {}, {}

    def preprocess(self, input_: Any, **preprocess_parameters: Any) -> Any:
        """Hand the inputs on: the model's own runner does all of it."""
        return {"inputs": input_, "options": preprocess_parameters}

    def _forward(self, input_tensors: Any, **forward_parameters: Any) -> Any:
        return self(input_tensors["inputs"], **input_tensors["options"])

    def postprocess(self, model_outputs: Any, **postprocess_parameters: Any) -> Any:
        """Hand the answers on."""
        return model_outputs


def register_pipeline() -> None:
    """Make ``transformers.pipeline("question-answering", model=…)`` work again; doing it twice is harmless.

    Without a model it takes the one that comes with this library.

    Examples:
        >>> import blockskim
        >>> from transformers import pipeline
        >>> blockskim.register_pipeline()
        >>> qa = pipeline("question-answering", model="my-checkpoint")
        >>> sorted(qa(question="where is the kite ?", context="the kite is in wales ."))
        ['answer', 'end', 'score', 'start']
    """
    if PIPELINE_REGISTRY.supported_tasks.get(TASK, {}).get("impl") is QuestionAnsweringPipeline:
        return
    # Some releases (5.23) refuse the task by name before they look whether someone registered it again.
    getattr(pipelines, "REMOVED_TASKS", {}).pop(TASK, None)
    PIPELINE_REGISTRY.register_pipeline(
        TASK,
        pipeline_class=QuestionAnsweringPipeline,
        pt_model=AutoModelForQuestionAnswering,
        default={"model": (str(shipped_model()), "main")},
        type="text",
    )


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a call by the names of today; None stands for what holds otherwise, as it did there."""
    return {
        _RENAMED.get(name, name): value for name, value in given.items() if name not in _IGNORED and value is not None
    }


def _inputs(args: Sequence[Any], options: dict[str, Any]) -> Any:
    """What is asked: a record, a list of them, or anything that gives them one by one. Taken out of the options.

    Raises:
        ConfigError: it is given in two ways, or not at all.
    """
    ways = [] if not args else [_positional(args)]
    ways += [options.pop(name) for name in ("data", "X") if name in options]
    texts = {name: options.pop(name) for name in ("question", "context") if name in options}
    if texts:
        ways.append({"question": texts.get("question"), "context": texts.get("context")})
    if len(ways) > 1:
        raise ConfigError("give the inputs as question=… and context=… or as dictionaries, not both")
    if not ways:
        raise ConfigError(f"the inputs must be {_FORMS}")
    return ways[0]


def _positional(args: Sequence[Any]) -> Any:
    """The inputs that are given without a name: one, several, or a question and its context."""
    if len(args) == 2 and all(isinstance(arg, str) for arg in args):
        return {"question": args[0], "context": args[1]}
    return args[0] if len(args) == 1 else list(args)


def _streamed(inputs: Any) -> Iterable[Any]:
    """The records of a generator or data set, one by one.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(inputs, Dataset) and not isinstance(inputs, Iterable):
        # Data sets of PyTorch have a length and items, but many of them no end to iterate to.
        return (inputs[index] for index in range(len(inputs)))  # type: ignore[arg-type]
    if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable):
        raise ConfigError(f"the inputs must be {_FORMS}, not {inputs!r:.80}")
    if getattr(inputs, "ndim", 1) != 1:
        raise ConfigError(f"the inputs must be {_FORMS}, not a {type(inputs).__name__}; give its rows as dictionaries")
    return inputs


def _pairs(record: Any, number: int) -> list[TextPair]:
    """The questions and contexts of a record, which may hold one of each or lists of them."""
    try:
        checked = _checked(record)
        return pair_up(checked["question"], checked["context"])
    except ConfigError as error:
        raise ConfigError(f"input {number + 1} (index {number}): {error}") from error


def _checked(record: Any) -> Mapping[str, Any]:
    if not isinstance(record, Mapping) or not {"question", "context"} <= record.keys():
        raise ConfigError(f"each input must be a dictionary with 'question' and 'context', not {record!r:.80}")
    return record
