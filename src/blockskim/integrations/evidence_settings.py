"""What adapters for frameworks whose components are pydantic models are told, and what they ask of the library."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, PrivateAttr, model_validator

from blockskim.answering.backend_choice import check_backend
from blockskim.evidence.options import EvidenceOptions
from blockskim.evidence.prune import check_gap
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.inference.first_stage import check_max_cost
from blockskim.integrations.first_use import Loaded, loaded


def _checked_gap(gap: str) -> str:
    check_gap(gap)
    return gap


Gap = Annotated[str, AfterValidator(_checked_gap)]
"""What stands in place of what was cut out between two sentences."""


class EvidenceSettings(BaseModel):
    """How texts are cut to what matters, or annotated with it; the model is loaded when it is first used.

    Settings may be changed at any time; where they are of the model, it is loaded anew.

    Attributes:
        model: a directory or hub id; None for the model that comes with the library.
        backend: "auto", "onnx" or "torch".
        point: operating point of the model, by its name.
        threshold: the least score of a sentence, or a point of the model by its name, as "highlight-98"; None for the
            model's own, or none where there is a ``top_k`` or ``budget``.
        top_k: sentences at most, over all texts of a call.
        budget: how much is kept at most, as 0.3, "30%", "500 tokens" or "2000 characters".
        context: neighbouring sentences that are kept, too, to either side.
        max_cost: share of the dense model's FLOPs that reading a text may cost at most.
    """

    model: str | None = None
    backend: str = "auto"
    point: str | None = None
    threshold: float | str | None = None
    top_k: int | None = None
    budget: float | str | None = None
    context: int = 0
    max_cost: float | None = None
    _loaded: Loaded | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Refuse what is impossible for any model.

        Raises:
            ConfigError: a setting is impossible.
        """
        check_backend(self.backend)
        EvidenceOptions(threshold=self.threshold, top_k=self.top_k, budget=self.budget, context=self.context)
        if self.max_cost is not None:
            check_max_cost(self.max_cost)
        return self

    def _load(self) -> QuestionAnswerer:
        """What reads; loaded when it is first asked for.

        Raises:
            ModelError: the model can't be loaded.
            ConfigError: it has no such operating point, or the backend does not fit it.
        """
        return loaded(self, self.model, point=self.point, backend=self.backend)

    def _options(self) -> dict[str, Any]:
        names = ("threshold", "top_k", "budget", "context", "max_cost")
        return {name: getattr(self, name) for name in names}

    def _pruned(self, query: str, texts: Sequence[str], gap: str) -> dict[int, str]:
        """Pruned texts by their places, those alone of which something is left; all are read in one run."""
        if not texts:
            return {}
        pruned: dict[int, str] = self._load().prune(query, dict(enumerate(texts)), gap=gap, **self._options()).documents
        return pruned

    def _highlighted(self, query: str, texts: Sequence[str]) -> list[tuple[int, list[dict[str, Any]], float]]:
        """Place, sentences that matter, and score of the best of them, of each text; best first, in one run."""
        if not texts:
            return []
        found: list[list[dict[str, Any]]] = [[] for _ in texts]
        for sentence in self._load().highlight(query, dict(enumerate(texts)), **self._options()):
            found[sentence.pop("document")].append(sentence)
        scores = [max((each["score"] for each in sentences), default=0.0) for sentences in found]
        order = sorted(range(len(texts)), key=lambda number: -scores[number])
        return [(number, found[number], scores[number]) for number in order]
