"""The questions of the shipped model's last stages, drawn from public data sets.

    python benchmarks/default_model/sample_data.py --data data --output runs/default-model/data

Writes SQuAD's layout, a file a data set: a share of what the model knew, and questions that have no answer.
``same-article.json`` holds questions of SQuAD asked of another paragraph of their article, one that shares words with
the question and holds none of its answers.
"""

import argparse
import gzip
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from blockskim.atomic import write_whole
from blockskim.data.other_contexts import WORD

SEED = 7
SHARES = {
    "squad": ("squad/train-partial-v1.1.json", 0.66),
    "unanswerable": ("more/squad2-train-unanswerable.json.gz", 1.0),
    "policy": ("more/policyqa-dev.json.gz", 0.5),
    "reddit": ("squadshifts/reddit-v1.0.json", 0.18),
    "amazon": ("squadshifts/amazon_reviews-v1.0.json", 0.18),
    "fairytale": ("other/fairytaleqa-train.json", 0.4),
    "nqswap": ("other/nq-swap-train.json", 0.4),
    "quoref": ("other/quoref-superni-train.json", 1.0),
}
ELSEWHERE = 0.14
"""Share of SQuAD's questions that are asked of another paragraph."""


def main() -> None:
    """Draw and write all files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets; see SHARES for the files in it")
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    rng = random.Random(SEED)
    for name, (file, share) in SHARES.items():
        articles = read(chosen.data / file)
        # All of a file is taken as it is; only shares are drawn.
        write(chosen.output / f"{name}.json", sampled(articles, share, rng) if share < 1 else articles)
        if name == "squad":
            write(chosen.output / "same-article.json", asked_of_others(articles, rng))


def read(file: Path) -> list[dict[str, Any]]:
    """The articles of a file, plain or gzip."""
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8") as stream:
        articles: list[dict[str, Any]] = json.load(stream)["data"]
    return articles


def write(file: Path, articles: list[dict[str, Any]]) -> None:
    """Write articles in SQuAD's layout."""
    write_whole(file, json.dumps({"version": "v2.0", "data": articles}))


def sampled(articles: list[dict[str, Any]], share: float, rng: random.Random) -> list[dict[str, Any]]:
    """A share of the questions; paragraphs and articles that lose all of theirs are left out."""
    kept = []
    for article in articles:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            questions = [question for question in paragraph["qas"] if rng.random() < share]
            if questions:
                paragraphs.append({"context": paragraph["context"], "qas": questions})
        if paragraphs:
            kept.append({"title": article.get("title", ""), "paragraphs": paragraphs})
    return kept


def asked_of_others(articles: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """A share of the questions, each over the paragraph of its article that shares most words and holds no answer."""
    made = []
    for article in articles:
        paragraphs = article["paragraphs"]
        words = [set(WORD.findall(paragraph["context"].lower())) for paragraph in paragraphs]
        asked = defaultdict(list)
        for own, paragraph in enumerate(paragraphs):
            for question in paragraph["qas"] if len(paragraphs) >= 3 else ():
                if rng.random() > ELSEWHERE:
                    continue
                texts = [answer["text"].lower() for answer in question["answers"]]
                others = [
                    place
                    for place, other in enumerate(paragraphs)
                    if place != own and not any(text in other["context"].lower() for text in texts)
                ]
                if others:
                    wanted = set(WORD.findall(question["question"].lower()))
                    place = max(others, key=lambda other: (len(wanted & words[other]), rng.random()))
                    name = f"{question['id']}-other"
                    values = {"id": name, "question": question["question"], "answers": [], "is_impossible": True}
                    asked[place].append(values)
        chosen = [{"context": paragraphs[place]["context"], "qas": found} for place, found in sorted(asked.items())]
        if chosen:
            made.append({"title": article["title"], "paragraphs": chosen})
    return made


if __name__ == "__main__":
    main()
