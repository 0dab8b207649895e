"""``transformers.pipeline("question-answering")``, which transformers removed in 5.3, run by ``QuestionAnswerer``."""

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import Any

import torch
from transformers import AutoModelForQuestionAnswering, Pipeline, pipelines
from transformers.pipelines import PIPELINE_REGISTRY

from blockskim.answering.answerer import QuestionAnswerer
from blockskim.errors import ConfigError, ModelError
from blockskim.inference.devices import choose_dtype
from blockskim.inference.loading import shipped_model
from blockskim.model.modeling import BlockSkimForQuestionAnswering

TASK = "question-answering"

_RENAMED = {"topk": "top_k"}
# What the removed pipeline took and what changes no answer here: windows of similar length are never padded.
_IGNORED = ("padding",)


class QuestionAnsweringPipeline(Pipeline):
    """The removed pipeline's ways to ask, and what they answer.

    ``pipe(question=…, context=…)`` with strings or lists, ``pipe({"question": …, "context": …})``, a list of such
    dictionaries, or a generator or data set of them, which gives a generator. Other arguments are those of a call of
    ``QuestionAnswerer``; given to ``pipeline(…)``, they hold for every call.
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
            model = BlockSkimForQuestionAnswering.from_backbone(model)
        super().__init__(model=model, tokenizer=tokenizer, task=kwargs.pop("task", TASK), **kwargs)
        if self.device.type == "cpu" and self.model.dtype == torch.float16:
            # Weights may be stored so to save space; processors are not made to compute in it.
            model.to(dtype=choose_dtype("auto", self.device))
        self.answerer = QuestionAnswerer(model, tokenizer, batch_size=self._batch_size or 32)

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
        inputs: Any = args[0] if len(args) == 1 else list(args)
        for name in ("data", "X"):
            inputs = options.pop(name, inputs)
        texts: dict[str, Any] = {name: options.pop(name, None) for name in ("question", "context")}
        if any(text is not None for text in texts.values()):
            if args:
                raise ConfigError("give the inputs as question=… and context=… or as dictionaries, not both")
            return self.answerer(**texts, **options)
        if isinstance(inputs, Mapping):
            record = _checked(inputs)
            return self.answerer(record["question"], record["context"], **options)
        if isinstance(inputs, list | tuple):
            records = [_checked(record) for record in inputs]
            questions, contexts = ([record[name] for record in records] for name in ("question", "context"))
            return self.answerer(questions, contexts, **options)
        if isinstance(inputs, Iterable) and not isinstance(inputs, str):
            return self._stream(inputs, options)
        raise ConfigError("the inputs must be question=… and context=…, or dictionaries with 'question' and 'context'")

    def _stream(self, records: Iterable[Any], options: dict[str, Any]) -> Iterator[Any]:
        """Answers one by one, computed in batches."""
        waiting: list[Mapping[str, Any]] = []
        for record in records:
            waiting.append(_checked(record))
            if len(waiting) == self.answerer.batch_size:
                yield from self(waiting, **options)
                waiting = []
        if waiting:
            yield from self(waiting, **options)

    def save_pretrained(self, save_directory: str | PathLike[str], **kwargs: Any) -> None:
        """Save model and tokenizer; no code is put beside them."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.answerer.tokenizer.save_pretrained(save_directory)

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
    """Arguments of a call by the names of today."""
    return {_RENAMED.get(name, name): value for name, value in given.items() if name not in _IGNORED}


def _checked(record: Any) -> Mapping[str, Any]:
    if not isinstance(record, Mapping) or not {"question", "context"} <= record.keys():
        raise ConfigError(f"each input must be a dictionary with 'question' and 'context', not {record!r:.80}")
    return record
