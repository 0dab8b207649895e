"""Supporting facts from blocks that were kept."""

from dataclasses import replace

import pytest
import torch

from blockskim.data.hotpotqa import read_hotpotqa
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import DataError
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.evaluation.supporting_facts import FactCollector
from blockskim.inference.runner import run_windows
from blockskim.method.config import SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from hashing_backend import HashingBackend
from tiny_models import new_dense_model, spread_opinions
from tiny_tokenizers import fixed_tokenizer

TOKENIZER = fixed_tokenizer("wordpiece")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    skim = SkimConfig(block_size=8, predictor_width=8)
    model = BlockSkimForQuestionAnswering.from_backbone(new_dense_model("bert", vocab_size=len(TOKENIZER)), skim)
    spread_opinions(model, "bert")
    return model.eval()


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    import json

    sentences = ["the kite eat a red worm .", "in wales the nest .", "who eat a kite ? a worm in the nest ."]
    records = [
        {
            "_id": f"h{number}",
            "question": "who eat ?",
            "answer": "worm",
            "supporting_facts": [["A", 0], ["B", 2]],
            "context": [["A", sentences[: 1 + number]], ["B", sentences * (1 + number)]],
        }
        for number in range(3)
    ]
    # Real records have blank sentences.
    records[1]["context"][1][1][1:1] = ["", " "]
    path = tmp_path_factory.mktemp("facts") / "hotpot.json"
    path.write_text(json.dumps(records))
    return list(read_hotpotqa(path))


@pytest.fixture(scope="module", params=[200, 40])
def windows(request, examples):
    return make_windows(examples, TOKENIZER, WindowSettings(request.param, 8, 10))


@pytest.mark.parametrize("threshold", [1e-6, 0.5, 1.0])
def test_sentences_of_kept_and_likely_blocks_are_facts(model, windows, threshold):
    """Counted again from the characters of each kept block."""
    cut = 0.5
    collector = FactCollector(windows, cut)
    likely: dict[tuple[int, int], float] = {}
    for batch in run_windows(model, windows, batch_size=64, thresholds=threshold):
        collector.add(batch)
        trace = batch.scores.trace
        for row, index in enumerate(batch.indices.tolist()):
            example = int(windows.windows[index, 0])
            shift = int(windows.windows[index, 1]) - windows.context_start(index)
            for block in trace.kept[-1][row].nonzero()[0].tolist():
                first = int(trace.layout.starts[row, block]) + shift
                last = first + int(trace.layout.lengths[row, block]) - 1
                begin, end = windows.character_span(example, first, last)
                for sentence, (span, _, _) in enumerate(dict(windows.examples[example].metadata)["sentences"]):
                    if set(range(*span)) & set(range(begin, end)):
                        chance = float(trace.probabilities[-1][row, block])
                        likely[example, sentence] = max(chance, likely.get((example, sentence), 0.0))
    facts = collector.results()
    assert list(facts) == list(range(len(windows.examples)))
    for number, example in enumerate(windows.examples):
        chances = {sentence: chance for (owner, sentence), chance in likely.items() if owner == number}
        wanted = {sentence for sentence, chance in chances.items() if chance >= min(cut, max(chances.values()))}
        sentences = dict(example.metadata)["sentences"]
        assert set(facts[number]) == {(sentences[sentence][1], sentences[sentence][2]) for sentence in wanted}
        assert facts[number]


def test_a_blank_sentence_is_no_fact(model, examples):
    windows = make_windows(examples, TOKENIZER, WindowSettings(200, 8, 10))
    collector = FactCollector(windows, 0.0)
    for batch in run_windows(model, windows, batch_size=64, thresholds=1e-6):
        collector.add(batch)
    numbers = {number for title, number in collector.results()[1] if title == "B"}
    assert numbers == set(range(8)) - {1, 2}


@pytest.mark.parametrize("threshold", [0.3, 0.6, 1.0])
def test_facts_do_not_depend_on_the_batch_size(model, examples, threshold):
    windows = make_windows(examples, TOKENIZER, WindowSettings(30, 4, 10))
    for backend in (model, HashingBackend()):
        together, *apart = (evaluate_windows(backend, windows, size, threshold) for size in (64, 1, 2, 3))
        assert len(windows) > 3 * len(examples)
        assert together.facts
        for found in apart:
            assert found.facts == together.facts
            assert found.scores == together.scores


def test_examples_of_two_files_with_the_same_ids_keep_their_facts(model, examples):
    other = [
        replace(example, source="b.json", metadata=tuple({**dict(example.metadata), "sentences": moved}.items()))
        for example in examples
        for moved in [tuple((span, f"other {title}", place) for span, title, place in sentences_of(example))]
    ]
    files = [replace(example, source="a.json") for example in examples]
    alone, elsewhere, both = (
        evaluate_windows(model, make_windows(each, TOKENIZER, WindowSettings(40, 8, 10)), thresholds=0.5)
        for each in (files, other, files + other)
    )
    assert alone.scores["sp_f1"] > elsewhere.scores["sp_f1"] == 0
    assert both.files == {"a.json": alone.scores, "b.json": elsewhere.scores}
    assert len(both.answers) == 2 * len(examples)
    for name in ("facts", "predictions"):
        with pytest.raises(DataError, match=r"two questions have the id 'h0' \(of a.json and of b.json\)"):
            getattr(both, name)


def sentences_of(example):
    return dict(example.metadata)["sentences"]


def test_facts_are_scored_when_predictors_were_asked_and_only_then(model, windows):
    scores = evaluate_windows(model, windows, thresholds=0.5).scores
    assert {"sp_f1", "joint_f1", "joint_exact_match"} <= set(scores)
    assert scores["sp_missing"] == 0
    assert "sp_f1" not in evaluate_windows(model, windows, thresholds=0.0).scores
    assert "sp_f1" in evaluate_windows(model, windows, thresholds=0.0, score_all_layers=True).scores


def test_a_lower_threshold_gives_more_facts(model, windows):
    few, many = (evaluate_windows(model, windows, thresholds=1e-6, fact_threshold=cut).facts for cut in (0.99, 0.0001))
    for name, facts in few.items():
        assert set(facts) <= set(many[name])
    assert sum(map(len, many.values())) > sum(map(len, few.values()))
