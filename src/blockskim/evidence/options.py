"""What a caller asks for: how much evidence, of which score, with what beside it; and the checks of it."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from blockskim.answering.request import AnswerOptions
from blockskim.checks import check_count, check_number, check_range, is_number
from blockskim.errors import ConfigError
from blockskim.method.evidence import EvidenceModel

Unit = Literal["share", "characters", "tokens"]
BudgetGiven: TypeAlias = float | str | None
"""A share of the characters from 0 to 1, or such as "30%", "500 tokens" or "2000 characters"."""

ThresholdGiven: TypeAlias = float | str | None
"""A score from 0 to 1, or the name of a point of the model, such as "highlight-98"."""

KeepGiven: TypeAlias = str | Callable[[str], bool] | None
"""``"titles"``, or whether a sentence is to be kept beside the evidence of its document."""

ORDERS = ("score", "text")
TITLES = "titles"
_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(%|tokens?|char(?:acter)?s?)?\s*")
_WANTED = "it must be a share above 0 and up to 1, or such as '30%', '500 tokens' or '2000 characters'"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be kept at most, over all documents of a question.

    Attributes:
        amount: of the unit; a share is from 0 to 1.
        unit: ``"share"`` of the characters, ``"characters"``, or ``"tokens"`` of the model.
    """

    amount: float
    unit: Unit

    def limit(self, characters: int) -> int:
        """The most characters or tokens, of texts with so many characters."""
        # The number that a share means and not the one that its digits come to in binary.
        return int(self.amount) if self.unit != "share" else math.floor(round(self.amount * characters, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceOptions:
    """What is taken for evidence, and what goes with it; checked when it is made.

    Attributes:
        threshold: the least score of evidence, from 0 to 1, or a point of the model by its name; None for the model's
            own, or for none where ``top_k`` or ``budget`` says how much is wanted.
        top_k: sentences of evidence at most, over all documents of a question; None for any number.
        budget: how much may be kept; None for any amount.
        context: neighbouring sentences to either side of each piece of evidence.
        keep: what else of a document with evidence is kept; None for nothing.
        order: ``"score"``, best first over all documents, or ``"text"``, as they stand in the documents.

    Raises:
        ConfigError: a value is impossible.
    """

    threshold: ThresholdGiven = None
    top_k: int | None = None
    budget: BudgetGiven = None
    context: int = 0
    keep: KeepGiven = None
    order: str = "score"
    limit: Budget | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Refuse what is impossible, and bring numbers to Python's own."""
        if self.threshold is not None and not isinstance(self.threshold, str):
            object.__setattr__(self, "threshold", check_range("threshold", self.threshold, 0.0, 1.0))
        if self.top_k is not None:
            object.__setattr__(self, "top_k", check_count("top_k", self.top_k))
        object.__setattr__(self, "context", check_count("context", self.context, least=0))
        object.__setattr__(self, "limit", as_budget(self.budget))
        if self.keep is not None and self.keep != TITLES and not callable(self.keep):
            raise ConfigError(
                f"keep is {self.keep!r:.80}; it must be {TITLES!r}, or a function that says of a sentence "
                "whether it is kept"
            )
        if self.order not in ORDERS:
            raise ConfigError(f"order is {self.order!r:.80}; it must be 'score' or 'text'")

    def least_score(self, model: EvidenceModel) -> float:
        """The least score of evidence with a model.

        Raises:
            ConfigError: the model has no point of the name that was given.
        """
        wants_amount = self.top_k is not None or self.limit is not None
        return 0.0 if self.threshold is None and wants_amount else model.least_score(self.threshold)


def evidence_and_reading(given: Mapping[str, Any]) -> tuple[EvidenceOptions, AnswerOptions]:
    """Arguments of ``highlight`` and ``prune`` by name, as what is wanted and how to read.

    Raises:
        ConfigError: a value is impossible.
    """
    wanted = {name: value for name, value in given.items() if name in _WISHES}
    return EvidenceOptions(**wanted), AnswerOptions(**{name: given[name] for name in given.keys() - wanted.keys()})


_WISHES = frozenset(item.name for item in fields(EvidenceOptions) if item.init)


def as_budget(value: object) -> Budget | None:
    """A budget as it was given; None for none.

    Raises:
        ConfigError: it is no amount of anything, or of nothing.
    """
    if value is None or isinstance(value, Budget):
        return value
    if is_number(value):
        number = check_number("budget", value)
        if not 0 < number <= 1:
            raise ConfigError(f"budget is {number}; {_WANTED}")
        return Budget(float(number), "share")
    match = _BUDGET.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f"budget is {value!r:.80}; {_WANTED}")
    amount, unit = float(match[1]), match[2] or "share"
    if unit in ("%", "share"):
        amount = amount / 100 if unit == "%" else amount
        if not 0 < amount <= 1:
            raise ConfigError(f"budget is {value!r:.80}; {_WANTED}")
        return Budget(amount, "share")
    if amount < 1 or not amount.is_integer():
        raise ConfigError(f"budget is {value!r:.80}; of {unit} it must be a whole number of at least 1")
    return Budget(amount, "tokens" if unit.startswith("token") else "characters")
