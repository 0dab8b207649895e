"""The forms of requests for evidence and of what they get, as the OpenAPI schema has them."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from blockskim.evidence.options import EvidenceOptions
from blockskim.evidence.prune import GAP
from blockskim.serving.evidence_tasks import MOST_SENTENCES
from blockskim.serving.http.schemas import (
    FIRST_FAULT,
    AnswerLength,
    Beside,
    DocumentsRequest,
    ReadingParameters,
    Share,
    Skim,
    Strict,
    form_of,
    usual_values,
)


def _amount(value: Any) -> str:
    """Which form a budget or threshold is in; anything else is held against the first of them."""
    return "amount" if isinstance(value, str) else "share"


Budget = Annotated[
    Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), Tag("share")]
    | Annotated[str, Field(max_length=40), Tag("amount")],
    Discriminator(_amount),
]


Threshold = Annotated[
    Annotated[Share, Tag("share")] | Annotated[str, Field(max_length=100), Tag("amount")], Discriminator(_amount)
]


class EvidenceParameters(ReadingParameters):
    """How much evidence is wanted, over all documents. At most one of ``point`` and ``dense`` may be given."""

    usual: ClassVar[Mapping[str, Any]] = {**ReadingParameters.usual, **usual_values(EvidenceOptions)}

    threshold: Threshold | None = Field(
        None,
        description="Least score of evidence, or a point of the model by its name; the model's, or none with top_k or "
        "budget.",
    )
    top_k: Annotated[int, Field(ge=1, le=MOST_SENTENCES)] | None = Field(
        None, description="Sentences of evidence at most."
    )
    budget: Budget | None = Field(
        None,
        description="The most to keep: a share of the characters, or such as '30%', '500 tokens', '2000 characters'.",
    )
    context: Annotated[int, Field(ge=0, le=20)] | None = Field(
        None, description="Neighbouring sentences to keep on either side of each piece of evidence."
    )
    keep: Literal["titles"] | None = Field(
        None, description="What else is kept of documents that have evidence: their headings."
    )


class HighlightParameters(EvidenceParameters):
    """How much evidence is wanted, and in which order."""

    order: Literal["score", "text"] | None = Field(
        None, description="Best first over all documents, or as sentences stand in them."
    )
    max_answer_len: AnswerLength | None = Field(None, description="Most tokens in an answer inside of a sentence.")


class HighlightRequest(DocumentsRequest):
    """A question for which documents are to be looked through."""

    of_parameters: ClassVar[type[ReadingParameters]] = HighlightParameters

    parameters: HighlightParameters | None = None


class SentenceAnswer(BaseModel):
    """An answer that stands in a sentence; offsets count Unicode code points of the document."""

    text: str = Field(description="Text of the answer.")
    start: int = Field(description="Its first character.")
    end: int = Field(description="One past its last character.")
    confidence: float = Field(
        description="Probability that it is right; of a model that was not calibrated for that, its share of all spans."
    )


class Sentence(BaseModel):
    """A sentence that matters; ``document[start:end]`` is its text, counted in Unicode code points."""

    document: str = Field(description="Name of the document.")
    text: str = Field(description="Text of the sentence.")
    start: int = Field(description="Its first character.")
    end: int = Field(description="One past its last character.")
    score: float = Field(description="Probability that it is evidence.")
    role: Literal["evidence", "context", "kept"] = Field(
        description="Why it is there: evidence, context of it, or kept as a heading."
    )
    answer: SentenceAnswer | None = Field(description="The answer in it; null where there is none.")


class HighlightResponse(BaseModel):
    """Sentences that matter, and what reading cost."""

    question: str = Field(description="The question.")
    sentences: list[Sentence] = Field(description="Sentences in the order that was asked for.")
    kept: float = Field(description="Their share of the characters of all documents.")
    skim: Skim = Field(description="What reading cost.")


class PruneParameters(EvidenceParameters):
    """How much may be left."""

    usual: ClassVar[Mapping[str, Any]] = {**EvidenceParameters.usual, "gap": GAP}

    gap: Annotated[str, Field(max_length=100)] | None = Field(
        None, description="What stands in place of what was cut out between two sentences."
    )


class PruneRequest(DocumentsRequest):
    """Documents to cut to what matters for a question."""

    of_parameters: ClassVar[type[ReadingParameters]] = PruneParameters

    parameters: PruneParameters | None = None


class PruneResponse(BaseModel):
    """Pruned texts, and what reading cost."""

    question: str = Field(description="The question.")
    documents: dict[str, str] = Field(description="Pruned text by name, without documents of which nothing is left.")
    kept: float = Field(description="Share of the characters of all documents that is left, gaps not counted.")
    pieces: dict[str, list[tuple[int, int, int]]] = Field(
        description="The way back, by name: of each piece of a pruned text its first character there, one past its "
        "last, and its first in the original."
    )
    skim: Skim = Field(description="What reading cost.")


class TextDocument(Strict):
    """A document of which the text alone is read."""

    text: str = Field(description="Its text.")


def _named_or_not(value: Any) -> str:
    """Which form texts are in; anything else is held against a list of texts."""
    return "named" if form_of(value) == "named" else "list"


class RerankRequest(Beside):
    """Documents to order by how likely they hold evidence, as Cohere's and Jina's APIs have it."""

    of_parameters: ClassVar[type[ReadingParameters]] = ReadingParameters

    query: str = Field(description="The question.")
    documents: Annotated[
        Annotated[list[str], FIRST_FAULT, Tag("list")] | Annotated[list[TextDocument], FIRST_FAULT, Tag("named")],
        Discriminator(_named_or_not),
    ] = Field(description="Texts, or objects with a text.")
    top_n: Annotated[int, Field(ge=1)] | None = Field(None, description="How many to give; all if nothing is said.")
    return_documents: bool = Field(False, description="Give the texts back, too.")
    model: str | None = Field(None, description="Taken and not used: there is one model.")
    parameters: ReadingParameters | None = None

    def texts(self) -> list[str]:
        """The texts."""
        return [item.text if isinstance(item, TextDocument) else item for item in self.documents]


class RankedDocument(BaseModel):
    """A document, and how likely it holds evidence."""

    index: int = Field(description="Its place among the documents of the request, from 0.")
    relevance_score: float = Field(description="Score of its best sentence, from 0 to 1.")
    document: TextDocument | None = Field(None, description="Its text, with ``return_documents``.")


class RerankResponse(BaseModel):
    """Documents in the order of their evidence."""

    model: str = Field(description="What requests call the model.")
    results: list[RankedDocument] = Field(description="Documents, best first.")
