"""What evidence is calibrated on: questions, each over ten paragraphs one by one, as a search would give them.

    python benchmarks/default_model/retrieved.py --squad held-out/squad.json --hotpotqa hotpot_train100.json \
        --output retrieved.json

A question of SQuAD is asked of its paragraph and of nine others of its article, one of HotpotQA of its ten paragraphs;
what supports the answer stands as an answer there. Writes SQuAD's layout.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blockskim.atomic import write_whole

sys.path.insert(0, str(Path(__file__).parents[1]))
from evidence_tasks import Task, hotpotqa, squad

SQUAD_QUESTIONS = 200


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--squad", type=Path, required=True, help="articles that were not trained on")
    parser.add_argument("--hotpotqa", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args()
    tasks = [*squad([chosen.squad], SQUAD_QUESTIONS, 0), *hotpotqa([chosen.hotpotqa], None, 0)]
    articles = [
        {"title": str(number), "paragraphs": list(paragraphs(number, task))} for number, task in enumerate(tasks)
    ]
    write_whole(chosen.output, json.dumps({"version": "v2.0", "data": articles}))


def paragraphs(number: int, task: Task) -> Iterator[dict[str, Any]]:
    """The texts of a task, each with its question."""
    for name, text in task.documents.items():
        spans = dict.fromkeys((start, end) for document, start, end in task.evidence if document == name)
        answers = [{"text": text[start:end], "answer_start": start} for start, end in spans]
        question = {"id": f"{number}-{name}", "question": task.question, "answers": answers}
        yield {"context": text, "qas": [{**question, "is_impossible": not answers}]}


if __name__ == "__main__":
    main()
