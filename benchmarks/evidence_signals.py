r"""What each signal of a sentence adds to its score as evidence (docs/experiments/evidence.md).

    python benchmarks/evidence_signals.py --squad held-out/squad.json --hotpotqa hotpot_train100.json \
        --multispanqa multispanqa-valid.json --report results/experiments/evidence.json

Scores are fitted on questions over ten paragraphs each, with some signals and without the others. The figures of SQuAD
and HotpotQA are of five folds: each question is scored by a fit on the others. Those of MultiSpanQA are of a fit on all
of these. ``benchmarks/default_model/sample_data.py`` writes the file of held-out articles.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import evidence_tasks
import numpy as np
from evidence import Run, Sentences, figures, read
from evidence_tasks import Task
from numpy.typing import NDArray

from blockskim.answering.answerer import Answerer
from blockskim.atomic import write_whole
from blockskim.evidence.fitting import fit_evidence
from blockskim.evidence.scoring import sentence_scores
from blockskim.inference.shipped import shipped_model
from blockskim.method.evidence import FEATURES, EvidenceModel

FOLDS = 5
VARIANTS = {
    "keep, span": {"one", "keep", "gone", "best span"},
    "and shared": {"one", "keep", "gone", "best span", "shared"},
    "and shared, length": {"one", "keep", "gone", "best span", "shared", "length"},
    "and shared, length, text": set(FEATURES),
}
SHOWN = ("tokens_at_95", "tokens_at_98", "recall_at_20", "word_f1")

Known = tuple[Sentences, Run, Run]
"""The sentences of a task, and what was read of them skimming and dense."""


def main() -> None:
    """Read every task twice, fit every variant, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--squad", type=Path, required=True, help="articles that the model was not trained on")
    parser.add_argument("--hotpotqa", type=Path, required=True)
    parser.add_argument("--multispanqa", type=Path)
    parser.add_argument("--limit", type=int, default=200, help="so many questions of SQuAD and of MultiSpanQA")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report", type=Path)
    chosen = parser.parse_args()
    answerer = Answerer(str(shipped_model()), device="cpu", threads=chosen.threads)

    def known(tasks: Sequence[Task]) -> list[Known]:
        found = []
        for task in tasks:
            skimmed, sentences = read(answerer.reader, task, dense=False)
            found.append((sentences, skimmed, read(answerer.reader, task, dense=True)[0]))
        return found

    sets = {
        "squad": known(evidence_tasks.squad([chosen.squad], chosen.limit, 0)),
        "hotpotqa": known(evidence_tasks.hotpotqa([chosen.hotpotqa], None, 0)),
    }
    others = {}
    if chosen.multispanqa:
        others["multispanqa"] = known(evidence_tasks.one_text([chosen.multispanqa], chosen.limit, 0, every=True))
    report = {variant: measured(sets, others, names) for variant, names in VARIANTS.items()}
    for variant, found in report.items():
        for name, row in found.items():
            shown = "  ".join(f"{key} {row[key]:.3f}" for key in SHOWN)
            sys.stdout.write(f"{variant:26} {name:12} {shown}\n")
    if chosen.report:
        write_whole(chosen.report, json.dumps(report, indent=1) + "\n")


def measured(sets: dict[str, list[Known]], others: dict[str, list[Known]], names: set[str]) -> dict[str, Any]:
    """Figures of scores made of some signals, skimmed, by set."""
    fits = [fitted(sets, names, leave_out) for leave_out in range(FOLDS)]
    everything = fitted(sets, names, None)
    found = {name: scored(known, fits) for name, known in sets.items()}
    return found | {name: scored(known, [everything]) for name, known in others.items()}


def fitted(sets: dict[str, list[Known]], names: set[str], leave_out: int | None) -> EvidenceModel:
    """The fit on all sets but for one fold of the questions; signals that are not used count as 0."""
    used = np.array([name in names for name in FEATURES], dtype=np.float64)
    rows, labels = [], []
    for known in sets.values():
        for number, (sentences, *runs) in enumerate(known):
            if number % FOLDS == leave_out:
                continue
            for run in runs:
                read_too = np.concatenate([signals.read for signals in run.signals])
                rows.append((np.concatenate([signals.features for signals in run.signals]) * used)[read_too])
                labels.append(_is_evidence(sentences)[read_too])
    return fit_evidence(np.concatenate(rows), np.concatenate(labels))


def scored(known: Sequence[Known], fits: Sequence[EvidenceModel]) -> dict[str, float]:
    """Figures of a set, each question by the fit of its fold."""
    scores = [
        np.concatenate([sentence_scores(signals, fits[number % len(fits)]) for signals in skimmed.signals])
        for number, (_, skimmed, _) in enumerate(known)
    ]
    return figures([sentences for sentences, *_ in known], scores)


def _is_evidence(sentences: Sentences) -> NDArray[np.bool_]:
    found = np.zeros(len(sentences.texts), dtype=np.bool_)
    for piece in sentences.needed:
        found[piece] = True
    return found


if __name__ == "__main__":
    main()
