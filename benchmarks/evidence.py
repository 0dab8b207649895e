r"""Score sentences as evidence: this model skimming, the same reading everything, and peers.

    python benchmarks/evidence.py --set squad dev-v1.1.json --set newsqa NewsQA-dev.jsonl.gz \
        --embeddings all-MiniLM-L6-v2 --report evidence.json

Sets are SQuAD (the paragraph of a question among nine others of its article), HotpotQA (ten paragraphs, supporting
facts), NewsQA and MultiSpanQA (one text each). Reported are

- the share of tokens that has to stay so that 95 and 98 % of what is evidence stays. Every way has the cutting rule
  that serves it best: one threshold for all questions on its scores, one on scores relative to a question's best, or
  one share of every question's tokens;
- the recall at 20, 30 and 50 % of every question's tokens;
- the F1 of highlighted words at the threshold that is best for each way;
- of the two ways that read, the arithmetic against the plain model and the seconds, measured in turns.

The weights of the score come from ``blockskim calibrate-evidence``. ``--variants`` adds what the score is made of, each
part alone.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evidence_peers
import evidence_tasks
import numpy as np
from evidence_tasks import Task
from numpy.typing import NDArray

from blockskim.answering.answerer import Answerer
from blockskim.answering.reading import TextReader
from blockskim.answering.request import AnswerOptions, TextPair
from blockskim.atomic import write_whole
from blockskim.evidence.calibrate import sentences_holding
from blockskim.evidence.scoring import evidence_model, sentence_scores
from blockskim.evidence.sentences import split_sentences
from blockskim.evidence.signals import SentenceSignals, SignalCollector
from blockskim.inference.shipped import shipped_model
from blockskim.method.evidence import FEATURES
from blockskim.method.skim_trace import Asking

Floats = NDArray[np.float64]
SETS: dict[str, Callable[[Path, int | None], list[Task]]] = {
    "squad": lambda file, limit: evidence_tasks.squad([file], limit, 0),
    "hotpotqa": lambda file, limit: evidence_tasks.hotpotqa([file], limit, 0),
    "newsqa": lambda file, limit: evidence_tasks.one_text([file], limit, 0, every=False),
    "multispanqa": lambda file, limit: evidence_tasks.one_text([file], limit, 0, every=True),
}


@dataclass(frozen=True)
class Sentences:
    """The sentences of one task, over all its documents.

    Attributes:
        texts: what they say.
        tokens: of the model in each. Shape: (sentences,)
        needed: groups of sentences that stay or go together, each a piece of evidence.
        every: whether all pieces are needed.
    """

    texts: list[str]
    tokens: NDArray[np.int64]
    needed: list[NDArray[np.int64]]
    every: bool


@dataclass
class Run:
    """What one way of reading gave for a task."""

    signals: list[SentenceSignals]
    flops: int
    dense_flops: int
    seconds: float


def main() -> None:
    """Measure all ways on all sets and write a table, and JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--set",
        nargs=2,
        action="append",
        required=True,
        metavar=("NAME", "FILE"),
        help=f"a kind of questions, of {', '.join(SETS)}, and its file; may be repeated",
    )
    parser.add_argument("--limit", type=int, help="so many questions of each set, drawn at random")
    parser.add_argument("--model", default=str(shipped_model()))
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--point", help="operating point to skim at")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--embeddings", type=Path, help="a sentence-embedding model: its directory or a file in it")
    parser.add_argument("--no-bm25", action="store_true")
    parser.add_argument("--variants", action="store_true", help="parts of the score alone, too")
    parser.add_argument("--report", type=Path)
    chosen = parser.parse_args()
    unknown = [name for name, _ in chosen.set if name not in SETS]
    if unknown:
        parser.error(f"there is no set {unknown[0]!r}; there are {', '.join(SETS)}")
    answerer = Answerer(chosen.model, device="cpu", threads=chosen.threads, backend=chosen.backend, point=chosen.point)
    reader = answerer.reader
    report: dict[str, Any] = {
        "model": Path(chosen.model).name,
        "point": chosen.point,
        "threads": chosen.threads,
        "sets": {},
    }
    report["evidence"] = evidence_model(reader.model.skim_config).to_dict()
    sys.stdout.write(json.dumps(report["evidence"]) + "\n")
    peers: dict[str, evidence_peers.Scorer] = {"first tokens": evidence_peers.first}
    if not chosen.no_bm25:
        peers["BM25"] = evidence_peers.bm25()
    if chosen.embeddings is not None:
        folder = chosen.embeddings if chosen.embeddings.is_dir() else chosen.embeddings.parent
        peers["embeddings"] = evidence_peers.cosine(folder, chosen.threads)
    for name, file in chosen.set:
        tasks = SETS[name](Path(file), chosen.limit)
        rows = list(measured(reader, tasks, peers, chosen.variants))
        report["sets"][name] = {"questions": len(tasks), "ways": rows}
        sys.stdout.write(f"{name}: {len(tasks)} questions\n")
        for row in rows:
            sys.stdout.write("  " + "  ".join(f"{key} {_shown(value)}" for key, value in row.items()) + "\n")
        sys.stdout.flush()
    if chosen.report:
        write_whole(chosen.report, json.dumps(report, indent=1) + "\n")


def measured(
    reader: TextReader, tasks: Sequence[Task], peers: dict[str, evidence_peers.Scorer], variants: bool
) -> Iterator[dict[str, Any]]:
    """Figures of each way; the two ways of reading take turns, question by question."""
    known, skimmed, dense = [], [], []
    for task in tasks:
        run, sentences = read(reader, task, dense=False)
        known.append(sentences)
        skimmed.append(run)
        dense.append(read(reader, task, dense=True)[0])
    for name, runs in (("skimmed", skimmed), ("dense", dense)):
        costs = {
            "flops_speedup": sum(run.dense_flops for run in runs) / sum(run.flops for run in runs),
            "seconds": sum(run.seconds for run in runs),
        }
        yield {"way": name, **figures(known, [_head(run, reader) for run in runs]), **costs}
    if variants:
        for name in ("keep", "best span", "shared"):
            yield {"way": name, **figures(known, [_part(run, name) for run in skimmed])}
    for name, scorer in peers.items():
        started = time.perf_counter()
        scores = [scorer(task.question, own.texts) for task, own in zip(tasks, known, strict=True)]
        yield {"way": name, **figures(known, scores), "seconds": time.perf_counter() - started}


def read(reader: TextReader, task: Task, dense: bool) -> tuple[Run, Sentences]:
    """Read the documents of a task, and find out which of their sentences are evidence."""
    started = time.perf_counter()
    pairs = [TextPair(task.question, text, name) for name, text in task.documents.items()]
    spans = [split_sentences(pair.context) for pair in pairs]
    asking = Asking(all_layers=reader.model.has_trained_predictors)
    run = reader.read(pairs, AnswerOptions(dense=dense), asking=asking)
    collector = SignalCollector(run.windows, spans, reader.model.skim_layers)
    flops = dense_flops = 0
    for group, windows in run.groups(reader.model):
        collector.add(group, windows)
        flops += sum(int(batch.scores.trace.flops.sum()) for batch in group)
        dense_flops += sum(int(batch.scores.trace.dense_flops.sum()) for batch in group)
    seconds = time.perf_counter() - started
    texts, tokens, needed, first = [], [], [], 0
    for number, (pair, own) in enumerate(zip(pairs, spans, strict=True)):
        offsets = run.windows.contexts.offsets_of(int(run.windows.context_of[number]))
        texts += [pair.context[start:end] for start, end in own]
        tokens += [int(((offsets[:, 0] < end) & (offsets[:, 1] > start)).sum()) for start, end in own]
        places = np.array(own, dtype=np.int64).reshape(-1, 2)
        marked = [(start, end) for name, start, end in task.evidence if name == pair.document]
        pieces = [first + sentences_holding(places, start, end) for start, end in marked]
        needed += [piece for piece in pieces if len(piece)]
        first += len(own)
    return Run(collector.signals, flops, dense_flops, seconds), Sentences(
        texts, np.array(tokens, dtype=np.int64), needed, task.every
    )


def figures(known: Sequence[Sentences], scores: Sequence[Floats]) -> dict[str, float]:
    """What a way's scores are worth on a set."""
    rows = [(own, score) for own, score in zip(known, scores, strict=True) if own.needed]
    relative = [(own, score / max(float(score.max()), 1e-9)) for own, score in rows]
    shares = np.concatenate([_shares(own, score) for own, score in rows])
    found = {
        f"tokens_at_{level}": min(
            _tokens_at(rows, level / 100), _tokens_at(relative, level / 100), _quantile(shares, level / 100)
        )
        for level in (95, 98)
    }
    found |= {f"recall_at_{level}": float((shares <= level / 100).mean()) for level in (20, 30, 50)}
    return found | {"word_f1": max(_best_word_f1(rows), _best_word_f1(relative))}


def _shares(own: Sentences, scores: Floats) -> Floats:
    """The share of the tokens that has to be kept, best first, until each piece of evidence is there."""
    order = np.argsort(-scores, kind="stable")
    kept = np.empty(len(order))
    kept[order] = np.cumsum(own.tokens[order]) / max(1, own.tokens.sum())
    shares = np.array([kept[piece].max() for piece in own.needed])
    return shares if own.every else shares.min(keepdims=True)


def _tokens_at(rows: Sequence[tuple[Sentences, Floats]], recall: float) -> float:
    """Mean share of tokens kept at the highest threshold that keeps so much of the evidence."""
    needed = []
    for own, scores in rows:
        pieces = [float(scores[piece].min()) for piece in own.needed]
        needed += pieces if own.every else [max(pieces)]
    threshold = np.sort(needed)[int((1.0 - recall) * len(needed) + 1e-9)]
    return float(np.mean([own.tokens[scores >= threshold].sum() / own.tokens.sum() for own, scores in rows]))


def _quantile(shares: Floats, recall: float) -> float:
    """The share of every question's tokens that keeps so much of the evidence."""
    return float(np.quantile(shares, recall, method="higher"))


def _best_word_f1(rows: Sequence[tuple[Sentences, Floats]]) -> float:
    """F1 of the words of kept sentences against those of sentences that are evidence, all questions together."""
    scores = np.concatenate([score for _, score in rows])
    words = np.concatenate([[len(re.findall(r"\w+", text)) for text in own.texts] for own, _ in rows])
    right = np.concatenate([np.isin(np.arange(len(own.texts)), np.concatenate(own.needed)) for own, _ in rows])
    order = np.argsort(-scores, kind="stable")
    found, kept = np.cumsum((words * right)[order]), np.cumsum(words[order])
    return float((2 * found / (kept + (words * right).sum())).max())


def _head(run: Run, reader: TextReader) -> Floats:
    model = evidence_model(reader.model.skim_config)
    return np.concatenate([sentence_scores(signals, model) for signals in run.signals])


def _part(run: Run, name: str) -> Floats:
    """One feature alone; what was not read to the end comes last for the best span."""
    known = np.concatenate([signals.features for signals in run.signals])
    part, gone = (known[:, FEATURES.index(each)] for each in (name, "gone"))
    return part - 100.0 * gone * (name == "best span")


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
