"""Ask questions over a folder of Markdown; answers come with their file and line.

python examples/ask_folder.py FOLDER QUESTION...
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from blockskim import QuestionAnswerer


def read_folder(folder: Path) -> dict[str, str]:
    """The Markdown files of a folder and of those in it, by their paths."""
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.md"))}


def ask(
    documents: dict[str, str], questions: Sequence[str], top_k: int = 3
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each question with its best answers over all documents; an answer has its line as well."""
    qa = QuestionAnswerer()
    for result in qa.search(list(questions), documents, top_k=top_k):
        answers = []
        for answer in result.answers:
            line = documents[answer["document"]].count("\n", 0, answer["start"]) + 1
            answers.append({**answer, "line": line})
        yield result.question, answers


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit((__doc__ or "").strip())
    documents = read_folder(Path(sys.argv[1]))
    if not documents:
        sys.exit(f"there is no Markdown in {sys.argv[1]}")
    for question, answers in ask(documents, sys.argv[2:]):
        print(question)
        for answer in answers:
            print(
                f"  {answer['answer']}  ({answer['document']}:{answer['line']}, confidence {answer['confidence']:.2f})"
            )


if __name__ == "__main__":
    main()
