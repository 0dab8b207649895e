"""The forms of requests for answers and of what they get, as the OpenAPI schema has them."""

from collections.abc import Mapping
from dataclasses import fields
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from blockskim.answering.request import AnswerOptions

MOST_ANSWERS = 100

MOST_NAME = 1_000
"""Characters of the name of a document, which stands in each of its sentences; room for long addresses."""

PIECE = 100
"""Entries of a dictionary that are validated at once."""

FIRST_FAULT: Any = Field(fail_fast=True)
"""Of a list: stop at the first item that is wrong. Every wrong one becomes a record of an error, far larger than the
item, and only the first is told."""

MISPLACED, UNKNOWN = "misplaced", "unknown_name"
"""Faults of names."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def form_of(value: Any) -> str:
    """Which form something that may have several is in; anything else is held against the first of them."""
    if isinstance(value, list):
        return "named" if value and isinstance(value[0], dict) else "list"
    return "one"


def one_or_list(value: Any) -> str:
    """Whether something is one or several; anything else is held against one."""
    return "list" if isinstance(value, list) else "one"


def in_pieces(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Validate a dictionary piece by piece, up to the first piece in which something is wrong.

    It is for dictionaries what ``FIRST_FAULT`` is for lists.

    Raises:
        ValidationError: something is wrong.
    """
    if not isinstance(value, dict):
        return validate(value)
    entries = iter(value.items())
    validated: dict[str, Any] = {}
    while piece := dict(islice(entries, PIECE)):
        validated |= validate(piece)
    return validated


Thresholds = Annotated[
    Annotated[Share, Tag("one")] | Annotated[list[Share], Field(max_length=1_000, fail_fast=True), Tag("list")],
    Discriminator(one_or_list),
]


def usual_values(options: type) -> dict[str, Any]:
    """What a class of the library's options takes where nothing is said, by name."""
    return {item.name: item.default for item in fields(options) if item.init}


def tell_usual_values(schema: dict[str, Any], form: type["ReadingParameters"]) -> None:
    """Have the schema say what is taken where a parameter is left out; the library knows it, and not the form."""
    for name, about in schema["properties"].items():
        if form.usual.get(name) is not None:
            about["default"] = form.usual[name]


class Strict(BaseModel):
    """A part of a request: nothing in it is taken for what it is not."""

    model_config = ConfigDict(strict=True)


class ReadingParameters(Strict):
    """How texts are read. At most one of ``point`` and ``dense`` may be given."""

    model_config = ConfigDict(strict=True, extra="forbid", json_schema_extra=tell_usual_values)
    usual: ClassVar[Mapping[str, Any]] = usual_values(AnswerOptions)

    doc_stride: Annotated[int, Field(ge=0, le=100_000)] | None = Field(
        None, description="Tokens by which windows of a long text overlap."
    )
    max_seq_len: Annotated[int, Field(ge=32, le=8_192)] | None = Field(
        None, description="Tokens in a window, question included."
    )
    max_question_len: Annotated[int, Field(ge=1, le=4_096)] | None = Field(
        None, description="Tokens of a question that are read."
    )
    point: Annotated[str, Field(max_length=100)] | None = Field(
        None, description="Operating point of the model, by its name; /info lists them."
    )
    dense: bool | None = Field(None, description="Read everything, as a model without Block-Skim does.")
    max_cost: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        None,
        description="Bound of the FLOPs for reading a text, as a share of the dense model's; question and one block "
        "are always read, whatever they cost.",
    )

    @model_validator(mode="before")
    @classmethod
    def with_one_unknown(cls, value: Any) -> Any:
        """Leave out unknown names but the first of them: each would become a record of an error, and one is told."""
        if not isinstance(value, dict):
            return value
        known = cls.model_fields
        surplus = set([name for name in value if name not in known][1:])
        return {name: item for name, item in value.items() if name not in surplus}

    def options(self) -> dict[str, Any]:
        """What was given, as the library takes it."""
        return self.model_dump(exclude_none=True)


AnswerLength = Annotated[int, Field(ge=1, le=512)]


class Parameters(ReadingParameters):
    """How to answer. At most one of ``point``, ``threshold`` and ``dense`` may be given."""

    top_k: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] | None = Field(None, description="How many answers to give.")
    max_answer_len: AnswerLength | None = Field(None, description="Most tokens in an answer.")
    handle_impossible_answer: bool | None = Field(
        None, description='Whether "no answer", the empty string, may be among the answers.'
    )
    no_answer_threshold: Share | None = Field(
        None, description='Confidence of "no answer" above which it comes first; needs handle_impossible_answer.'
    )
    align_to_words: bool | None = Field(None, description="Whether answers are extended to whole words.")
    threshold: Thresholds | None = Field(
        None, description="Keep probability under which a block is dropped: one, or one per layer with a predictor."
    )


class Beside(Strict):
    """What ``parameters`` stand beside: a name of theirs is refused here, as it would be without effect.

    Others are left alone, for what other services have.
    """

    of_parameters: ClassVar[type[ReadingParameters]] = Parameters
    takes_others: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def with_names_in_place(cls, value: Any) -> Any:
        """Refuse the first name that is out of place.

        Raises:
            PydanticCustomError: there is one.
        """
        for name in value if isinstance(value, dict) else ():
            if name in cls.model_fields:
                continue
            if name in cls.of_parameters.model_fields:
                raise PydanticCustomError(MISPLACED, "has {name}, which belongs in parameters", {"name": name})
            if not cls.takes_others:
                # A name may hold half of a surrogate pair, which pydantic can't.
                shown = name[:100].encode("utf-8", "replace").decode("utf-8")
                told = {"name": shown, "known": ", ".join(cls.model_fields)}
                raise PydanticCustomError(UNKNOWN, "has {name}, which is unknown; it may have {known}", told)
        return value


class Whole(Beside):
    """A request of a route of ours: a name that is unknown is a mistake."""

    model_config = ConfigDict(strict=True, extra="forbid")
    takes_others: ClassVar[bool] = False


class QuestionContext(Beside):
    """A question and the text to answer it from."""

    question: str = Field(description="The question.")
    context: str = Field(description="The text.")


OneOrMore = Annotated[
    Annotated[QuestionContext, Tag("one")] | Annotated[list[QuestionContext], FIRST_FAULT, Tag("list")],
    Discriminator(one_or_list),
]


class AnswerRequest(Whole):
    """Question answering as the Hugging Face inference API has it."""

    inputs: OneOrMore = Field(description="A question with its text, or a list of such.")
    parameters: Parameters | None = None
    options: Any = Field(None, description="Taken and not used: clients of that API may send it.")


class Answer(BaseModel):
    """An answer; ``context[start:end]`` is its text, counted in Unicode code points."""

    answer: str = Field(description='Text of the answer; "" says that there is none.')
    score: float = Field(description="Share of the span in the probability of all spans, from 0 to 1.")
    start: int = Field(description="Its first character.")
    end: int = Field(description="One past its last character.")
    confidence: float | None = Field(
        None, description="Probability that the answer is right; missing where the model was not calibrated for it."
    )


class NamedDocument(Strict):
    """A document with its name."""

    # As a bound of the type it would have the type read halves of surrogate pairs, which are told of later.
    name: str = Field(description="Its name, one of its own.", json_schema_extra={"maxLength": MOST_NAME})
    text: str = Field(description="Its text.")


Documents = Annotated[
    Annotated[dict[str, str], WrapValidator(in_pieces), Tag("one")]
    | Annotated[list[NamedDocument], FIRST_FAULT, Tag("named")]
    | Annotated[list[str], FIRST_FAULT, Tag("list")],
    Discriminator(form_of),
]


class DocumentsRequest(Whole):
    """A question about several documents: texts by name, a list of texts, or a list of names with texts."""

    question: str = Field(description="The question.")
    documents: Documents = Field(
        description="Texts by name, a list of texts, whose names are their places, or a list of names with texts. A "
        f"name has {MOST_NAME:,} characters at most."
    )

    def named(self) -> list[tuple[str, str]]:
        """Names with texts; a list of texts has their places for names."""
        if isinstance(self.documents, dict):
            return list(self.documents.items())
        named: list[tuple[str, str]] = []
        for place, item in enumerate(self.documents):
            named.append((item.name, item.text) if isinstance(item, NamedDocument) else (str(place), str(item)))
        return named


class SearchRequest(DocumentsRequest):
    """A question to answer from several documents."""

    parameters: Parameters | None = None
    explain: bool = Field(False, description="Tell what was read of each document and what was skipped.")


class FoundAnswer(Answer):
    """An answer and the document that it is in; "no answer" is in none."""

    document: str | None = Field(
        None, description="Name of the document; missing for an answer that says there is none."
    )


class Skim(BaseModel):
    """What reading cost."""

    blocks: int = Field(description="Blocks of text that could be dropped, over all windows.")
    kept_by_layer: list[float] = Field(
        description="Share of these that is there after each layer, from the first layer to the last."
    )
    flops: int = Field(description="FLOPs spent; a multiply-add counts as two.")
    dense_flops: int = Field(description="FLOPs of the dense model on all of the text, without padding.")
    seconds: float = Field(description="Time that the work of this request took, waiting left out.")


class ReadDocument(BaseModel):
    """What was read of a document: runs of characters, each with what became of them."""

    name: str = Field(description="Name of the document.")
    layers: int = Field(description="Layers of the model.")
    runs: list[tuple[int, int, int | None]] = Field(
        description="First character, one past the last, and the layer that dropped it: 0 for what was not read, null "
        "for what was read to the end."
    )


class SearchResponse(BaseModel):
    """Answers over all documents, best first, and what they cost."""

    question: str = Field(description="The question.")
    answers: list[FoundAnswer] = Field(description="Answers, best first.")
    skim: Skim = Field(description="What reading cost.")
    documents: list[ReadDocument] | None = Field(None, description="What was read of each document, with ``explain``.")


class Status(BaseModel):
    """How the service is."""

    status: Literal["ok", "ready", "not ready"]


class Limits(BaseModel):
    """What a request may be."""

    bytes: int = Field(description="Largest body.")
    pairs: int = Field(description="Most pairs of a question and a text.")
    seconds: float = Field(description="Longest time from a request's first byte to its answer.")


class Info(BaseModel):
    """What answers, and what it takes."""

    model: str = Field(description="What requests call the model.")
    version: str = Field(description="Version of the library.")
    backend: Literal["onnx", "torch"] = Field(description="What computes: ONNX Runtime or PyTorch.")
    device: str = Field(description="Where it computes.")
    dtype: str = Field(description="Number format that it computes in.")
    layers: int = Field(description="Layers of the model.")
    max_tokens: int | None = Field(description="Tokens that the model has positions for; null for any number.")
    skims: bool = Field(description="Whether it has trained predictors, without which everything is read.")
    points: list[str] = Field(description="Names of its operating points.")
    calibrated_confidence: bool = Field(description="Whether answers have a confidence.")
    calibrated_evidence: bool = Field(description="Whether scores of sentences were fitted for this model.")
    evidence_threshold: float = Field(description="Least score of evidence where a request says nothing.")
    evidence_points: list[str] = Field(description="Names that a request may give for a threshold of evidence.")
    limits: Limits = Field(description="What a request may be.")


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="A sentence for people.")
    kind: str = Field(description="A word for programs.")
    request_id: str | None = Field(None, description="Also in the header X-Request-Id, and in the log.")
