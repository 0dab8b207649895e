"""Cut retrieved passages to what matters before a language model reads them.

    python examples/prune_for_llm.py

The language model is any function from a prompt to a text: the client of a service, a local model. The one here only
counts what it is given.
"""

from collections.abc import Callable
from pathlib import Path

from blockskim import QuestionAnswerer

LanguageModel = Callable[[str], str]

PROMPT = "Answer from these passages, and name the passage.\n\n{passages}\n\nQuestion: {question}\nAnswer:"


LEAST_SCORE = 0.25
"""Of a sentence that is taken for evidence. A budget alone would be filled with sentences that hardly matter."""


def answer_from(
    question: str, passages: dict[str, str], language_model: LanguageModel, budget: float | str = 0.4
) -> tuple[str, float]:
    """What a language model says of pruned passages, and the share of their characters that it was given.

    Args:
        question: what to ask.
        passages: as a retriever gives them, by name.
        language_model: takes the prompt.
        budget: the most of the passages together that is kept: a share, or such as "500 tokens".
    """
    pruned = QuestionAnswerer().prune(question, passages, budget=budget, threshold=LEAST_SCORE)
    texts = "\n\n".join(f"[{name}]\n{text}" for name, text in pruned.documents.items())
    return language_model(PROMPT.format(passages=texts, question=question)), pruned.kept


def main() -> None:
    passages = {path.name: path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("notes/*.md")}

    def language_model(prompt: str) -> str:
        print(prompt, end="\n\n")
        return f"(a prompt of {len(prompt.split())} words)"

    answer, kept = answer_from("How long is the warranty of the pump?", passages, language_model)
    print(f"{answer}; {kept:.0%} of the passages were kept")


if __name__ == "__main__":
    main()
