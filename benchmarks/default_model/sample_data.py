"""The questions of the shipped model's last stages, drawn from public data sets.

    python benchmarks/default_model/sample_data.py --data data --output runs/default-model/data

Writes SQuAD's layout, a file a data set: a share of what the model knew, and questions that have no answer.
``same-article.json`` holds questions of SQuAD asked of another paragraph of their article, one that shares words with
the question and holds none of its answers. ``other-article.json`` holds questions asked of a paragraph of another
article, and ``short.json`` questions asked of one to three sentences, with the answer or of another article.
``held-out/squad.json`` holds the articles that are not trained on.
"""

import argparse
import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blockskim.atomic import write_whole
from blockskim.data.other_contexts import WORD
from blockskim.data.splitting import place
from blockskim.evidence.sentences import split_sentences

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
"""Share of SQuAD's questions that are asked of another paragraph, of another article, of few sentences."""
MORE_ELSEWHERE = 0.3
"""The first of the three where everything is taken."""
HELD_OUT = 0.05
"""Share of articles that training holds out; a question stays on its side, whatever article it is asked of."""


def main() -> None:
    """Draw and write all files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets; see SHARES for the files in it")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--everything", action="store_true", help="all questions of every data set, not a share")
    chosen = parser.parse_args()
    missing = [file for file, _ in SHARES.values() if not (chosen.data / file).is_file()]
    if missing:
        parser.error(f"{chosen.data} has no {', '.join(missing)}")
    folder = chosen.output / "held-out"
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(SEED)
    for name, (file, share) in SHARES.items():
        articles = read(chosen.data / file)
        # All of a file is taken as it is; only shares are drawn.
        whole = share == 1 or chosen.everything
        write(chosen.output / f"{name}.json", articles if whole else sampled(articles, share, rng))
        if name == "squad":
            asked = MORE_ELSEWHERE if chosen.everything else ELSEWHERE
            write(chosen.output / "same-article.json", asked_of_others(articles, asked, rng))
            # Numbers of their own, so that the other files stay as they are.
            write(chosen.output / "other-article.json", asked_of_other_articles(articles, random.Random(SEED + 1)))
            write(chosen.output / "short.json", asked_of_few_sentences(articles, random.Random(SEED + 2)))
            write(folder / "squad.json", [article for article in articles if held_out(article["title"])])


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


def asked_of_others(articles: list[dict[str, Any]], share: float, rng: random.Random) -> list[dict[str, Any]]:
    """A share of the questions, each over the paragraph of its article that shares most words and holds no answer."""
    made = []
    for article in articles:
        paragraphs = article["paragraphs"]
        words = [set(WORD.findall(paragraph["context"].lower())) for paragraph in paragraphs]
        asked = defaultdict(list)
        for own, paragraph in enumerate(paragraphs):
            for question in paragraph["qas"] if len(paragraphs) >= 3 else ():
                if rng.random() > share:
                    continue
                texts = [answer["text"].lower() for answer in question["answers"]]
                others = [
                    spot
                    for spot, other in enumerate(paragraphs)
                    if spot != own and not any(text in other["context"].lower() for text in texts)
                ]
                if others:
                    wanted = set(WORD.findall(question["question"].lower()))
                    spot = max(others, key=lambda other: (len(wanted & words[other]), rng.random()))
                    asked[spot].append(unanswerable(question, "other"))
        chosen = [{"context": paragraphs[spot]["context"], "qas": found} for spot, found in sorted(asked.items())]
        if chosen:
            made.append({"title": article["title"], "paragraphs": chosen})
    return made


def asked_of_other_articles(articles: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """A share of the questions, each over a paragraph of another article that holds none of its answers."""
    asked: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for article, question in drawn(articles, rng):
        title, context = elsewhere(articles, article, question, rng)
        asked[title, context].append(unanswerable(question, "far"))
    return [{"title": title, "paragraphs": [{"context": text, "qas": found}]} for (title, text), found in asked.items()]


def asked_of_few_sentences(articles: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """A share of the questions over the sentence of the answer and up to one on either side, two in five elsewhere."""
    made = []
    for article, question, context in drawn_with_context(articles, rng):
        title = article["title"]
        if rng.random() < 0.4:
            title, other = elsewhere(articles, article, question, rng)
            text, asked = few_sentences(other, rng.randrange(len(other)), rng)[0], unanswerable(question, "few")
        else:
            answer = question["answers"][0]
            text, start = few_sentences(context, answer["answer_start"], rng)
            moved = {"text": answer["text"], "answer_start": answer["answer_start"] - start}
            if text[moved["answer_start"] :][: len(answer["text"])] != answer["text"]:
                continue
            asked = {"id": f"{question['id']}-short", "question": question["question"], "answers": [moved]}
        made.append({"title": title, "paragraphs": [{"context": text, "qas": [asked]}]})
    return made


def drawn(articles: list[dict[str, Any]], rng: random.Random) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """A share of the questions, each with its article."""
    for article, question, _ in drawn_with_context(articles, rng):
        yield article, question


def drawn_with_context(
    articles: list[dict[str, Any]], rng: random.Random
) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    """A share of the questions, each with its article and its paragraph."""
    for article in articles:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                if rng.random() < ELSEWHERE:
                    yield article, question, paragraph["context"]


def elsewhere(
    articles: list[dict[str, Any]], own: dict[str, Any], question: dict[str, Any], rng: random.Random
) -> tuple[str, str]:
    """Title and text of a paragraph of another article, on the same side of the hold-out, without the answers."""
    texts = [answer["text"].lower() for answer in question["answers"]]
    side = held_out(own["title"])
    while True:
        article = rng.choice(articles)
        context = rng.choice(article["paragraphs"])["context"]
        if article is own or held_out(article["title"]) != side or any(text in context.lower() for text in texts):
            continue
        return article["title"], context


def held_out(title: str) -> bool:
    """Whether training holds an article out."""
    return place(title, 0) < HELD_OUT


def few_sentences(text: str, position: int, rng: random.Random) -> tuple[str, int]:
    """The sentence at a position with up to one before and one after it, and where it begins in the text."""
    spans = list(split_sentences(text))
    at = max((number for number, (start, _) in enumerate(spans) if start <= position), default=0)
    first, last = max(0, at - rng.randrange(2)), min(len(spans) - 1, at + rng.randrange(2))
    start, end = spans[first][0], spans[last][1]
    return text[start:end], start


def unanswerable(question: dict[str, Any], name: str) -> dict[str, Any]:
    """A question as one without an answer."""
    return {"id": f"{question['id']}-{name}", "question": question["question"], "answers": [], "is_impossible": True}


if __name__ == "__main__":
    main()
