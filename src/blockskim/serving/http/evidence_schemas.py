"""The forms of requests for evidence and of what they get, as the OpenAPI schema has them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from blockskim.serving.evidence_tasks import MOST_SENTENCES
from blockskim.serving.http.schemas import (
    FIRST_FAULT,
    AnswerLength,
    DocumentsRequest,
    ReadingParameters,
    Share,
    Skim,
    Strict,
    form_of,
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

    parameters: HighlightParameters | None = None


class SentenceAnswer(BaseModel):
    """An answer that stands in a sentence; offsets count Unicode code points of the document."""

    text: str
    start: int
    end: int
    confidence: float


class Sentence(BaseModel):
    """A sentence that matters; ``document[start:end]`` is its text, counted in Unicode code points.

    ``role`` says why it is there: "evidence", "context" of it, or "kept" as a heading.
    """

    document: str
    text: str
    start: int
    end: int
    score: float
    role: Literal["evidence", "context", "kept"]
    answer: SentenceAnswer | None


class HighlightResponse(BaseModel):
    """Sentences that matter, their share of the characters of all documents, and what reading cost."""

    question: str
    sentences: list[Sentence]
    kept: float
    skim: Skim


class PruneParameters(EvidenceParameters):
    """How much may be left."""

    gap: Annotated[str, Field(max_length=100)] | None = Field(
        None, description="What stands in place of what was cut out between two sentences."
    )


class PruneRequest(DocumentsRequest):
    """Documents to cut to what matters for a question."""

    parameters: PruneParameters | None = None


class PruneResponse(BaseModel):
    """Pruned texts by name, without those of which nothing is left.

    ``kept`` is the share of the characters of all documents that is left. ``pieces`` leads back: of each piece of a
    pruned text its start and end there, and its start in the original.
    """

    question: str
    documents: dict[str, str]
    kept: float
    pieces: dict[str, list[tuple[int, int, int]]]
    skim: Skim


class TextDocument(Strict):
    """A document of which the text alone is read."""

    text: str


class RerankRequest(Strict):
    """Documents to order by how likely they hold evidence, as Cohere's and Jina's APIs have it."""

    query: str
    documents: Annotated[
        Annotated[list[str], FIRST_FAULT, Tag("list")]
        | Annotated[list[TextDocument], FIRST_FAULT, Tag("named")]
        | Annotated[list[str], Tag("one")],
        Discriminator(form_of),
    ]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False
    model: str | None = Field(None, description="Taken and not used: there is one model.")
    parameters: ReadingParameters | None = None

    def texts(self) -> list[str]:
        """The texts."""
        return [item.text if isinstance(item, TextDocument) else item for item in self.documents]


class RankedDocument(BaseModel):
    """A document by its place, with the score of its best sentence, from 0 to 1."""

    index: int
    relevance_score: float
    document: TextDocument | None = None


class RerankResponse(BaseModel):
    """The documents, best first."""

    model: str
    results: list[RankedDocument]
