"""Fitting confidence: what was put in comes out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blockskim.calibration import confidence
from blockskim.calibration.confidence import (
    NONE,
    RIGHT,
    WRONG,
    Judged,
    calibrate_confidence,
    choose_threshold,
    fit_confidence,
    judge,
    save_with_confidence,
)
from blockskim.data.examples import Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError, DataError, ModelError
from blockskim.evaluation.evaluate import evaluate_windows
from blockskim.inference import first_stage
from blockskim.inference.answers import Candidate, ExampleAnswers
from blockskim.inference.backend import LoadedBackend
from blockskim.inference.loading import load
from blockskim.method.confidence import ConfidenceModel, features, softmax
from blockskim.surgery import settings_copy
from full_disk import full_disk
from hashing_backend import HashingBackend
from tiny_answerers import TEXT, new_model, save_model, save_plain
from tiny_tokenizers import fixed_tokenizer

TRUE = ConfidenceModel((0.3, 0.5, -0.3, 1.2), (-0.8, -0.7, 0.4, 0.2))


def drawn(count, seed=0):
    """Questions whose outcomes are drawn from a known model."""
    generator = np.random.default_rng(seed)
    margins, logs = generator.normal(1, 4, count), -generator.exponential(1.0, count)
    known = np.array([features(margin, 0.0, margin - log) for margin, log in zip(margins, logs, strict=True)])
    chances = TRUE.outcomes(known)
    outcomes = (generator.random(count)[:, None] > chances.cumsum(1)).sum(1)
    # Outcomes of the model come as right, wrong, none, which is the order of the numbers, too.
    f1 = np.where(outcomes == RIGHT, 1.0, np.where(outcomes == WRONG, 0.3, 0.0))
    return Judged(known, outcomes, f1)


def test_the_fit_is_the_model_that_outcomes_were_drawn_from():
    judged = drawn(40_000)
    fitted = fit_confidence(judged)
    wanted, found = TRUE.outcomes(judged.known), fitted.outcomes(judged.known)
    assert np.abs(wanted - found).mean() < 0.01


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_another_share_without_an_answer_is_taken_into_account(share):
    judged = drawn(40_000)
    none = judged.outcomes == NONE
    weights = np.where(none, share / none.mean(), (1 - share) / (~none).mean())
    found = fit_confidence(judged, share).outcomes(judged.known)
    # Among questions of that share each outcome is as likely as it is said to be.
    for outcome in (RIGHT, WRONG, NONE):
        said = np.average(found[:, outcome], weights=weights)
        assert said == pytest.approx(np.average(judged.outcomes == outcome, weights=weights), abs=0.01)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan"), "much"])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ConfigError, match="no_answer_share"):
        fit_confidence(drawn(400), share)


def test_the_fit_is_the_likeliest():
    judged = drawn(400)
    fitted = fit_confidence(judged)

    def loss(right, none):
        chances = softmax(judged.known @ np.array([right, np.zeros(4), none]).T)
        return -np.log(chances[np.arange(400), judged.outcomes]).mean()

    least = loss(np.array(fitted.right), np.array(fitted.none))
    for change in np.random.default_rng(1).normal(0, 0.3, (50, 2, 4)):
        # A ridge holds the weights, so what is near the minimum may be a little likelier.
        assert loss(fitted.right + change[0], fitted.none + change[1]) > least - 2e-3


def test_outcomes_that_are_all_but_certain_have_a_fit():
    margins = np.concatenate([np.full(50, 9.0), np.full(50, 2.0), np.full(50, -9.0)])
    known = np.array([features(margin, 0.0, margin) for margin in margins])
    fitted = fit_confidence(Judged(known, np.repeat([RIGHT, WRONG, NONE], 50), np.repeat([1.0, 0.0, 0.0], 50)))
    chances = fitted.outcomes(known)
    assert chances[0, RIGHT] > 0.9
    assert chances[75, WRONG] > 0.9
    assert chances[-1, NONE] > 0.9


def test_the_threshold_is_the_highest_within_a_standard_error_of_the_best():
    judged = drawn(500)
    chances = TRUE.outcomes(judged.known)[:, NONE]
    threshold = choose_threshold(chances, judged)

    def gained(limit):
        declined = chances > limit
        return np.where(declined, judged.outcomes == NONE, judged.f1)

    limits = np.sort([0.0, *(np.sort(chances)[:-1] + np.diff(np.sort(chances)) / 2), 1.0])
    scores = np.array([gained(limit).mean() for limit in limits])
    best = gained(limits[scores.argmax()])
    enough = scores >= best.mean() - best.std() / 500**0.5
    assert gained(threshold).mean() == pytest.approx(scores[enough][-1])
    assert threshold > limits[scores.argmax()]


def test_where_few_have_no_answer_half_of_what_declining_gains_is_kept():
    outcomes = np.repeat([RIGHT, WRONG, NONE], [60, 40, 3])
    chances = np.concatenate([np.linspace(0.01, 0.3, 100), [0.5, 0.6, 0.7]])
    judged = Judged(np.zeros((103, 4)), outcomes, (outcomes == RIGHT).astype(float))
    # One standard error of the mean of 103 is more than all three weigh.
    assert choose_threshold(chances, judged) == pytest.approx(0.55)


def test_questions_that_are_told_apart_have_their_threshold_between_them():
    outcomes = np.repeat([RIGHT, NONE], 30)
    judged = Judged(np.zeros((60, 4)), outcomes, (outcomes == RIGHT).astype(float))
    assert choose_threshold(np.repeat([0.2, 0.6], 30), judged) == pytest.approx(0.4)


def test_equal_chances_have_no_threshold_between_them():
    outcomes = np.array([RIGHT, NONE, NONE, RIGHT] * 20)
    judged = Judged(np.zeros((80, 4)), outcomes, (outcomes == RIGHT).astype(float))
    assert choose_threshold(np.full(80, 0.5), judged) in (0.25, 0.75)


@pytest.mark.parametrize("outcome", [RIGHT, WRONG, NONE])
def test_each_outcome_is_needed(outcome):
    judged = drawn(400)
    rest = judged.outcomes != outcome
    with pytest.raises(DataError, match="at least 20 of each; of these data the model has"):
        fit_confidence(Judged(judged.known[rest], judged.outcomes[rest], judged.f1[rest]))


def test_answers_are_judged_by_the_official_normalisation():
    start = TEXT.index("red kite")
    found = ExampleAnswers((Candidate(5.0, start, start + 8, 0),), 1.0, 6.0)
    examples = [
        Example("a", "?", TEXT, (), ("The Red Kite",)),
        Example("b", "?", TEXT, (), ("a kite",)),
        Example("c", "?", TEXT),
        Example("d", "?", TEXT, (), ("kite",)),
    ]
    judged = judge(examples, [found, found, found, ExampleAnswers((), np.inf, -np.inf)])
    assert judged.outcomes.tolist() == [RIGHT, WRONG, NONE]
    assert judged.f1.tolist() == [1.0, pytest.approx(2 / 3), 0.0]
    assert judged.known.tolist() == [features(5.0, 1.0, 6.0).tolist()] * 3


def windows(count=90):
    """Questions of which a model of random weights answers every third rightly, and every third has no answer."""
    model, tokenizer, settings = new_model(), fixed_tokenizer("wordpiece"), WindowSettings(60, 10, 20)
    examples = [Example(str(n), f"Where is nest {n}?", TEXT[5 * (n % 10) :], (), ("x",)) for n in range(count)]
    found = evaluate_windows(model, make_windows(examples, tokenizer, settings)).predictions
    references = [(found[example.id],) if n % 3 == 0 else ("else",) * (n % 3 - 1) for n, example in enumerate(examples)]
    examples = [replace(one, references=texts) for one, texts in zip(examples, references, strict=True)]
    return model, make_windows(examples, tokenizer, settings)


def test_a_model_is_calibrated_on_what_it_answers():
    model, asked = windows()
    fitted = calibrate_confidence(model, asked, 16)
    assert (fitted.right, fitted.wrong, fitted.none) == (30, 30, 30)
    assert 0 <= fitted.error < 0.3
    assert json.loads(json.dumps(fitted.summary()))["without_answer"] == 30


def test_of_long_documents_it_is_fitted_on_the_passages_that_are_read(monkeypatch):
    """As they are when a question is answered, and not on all windows."""
    monkeypatch.setattr(first_stage, "LEAST_TOKENS", 32)
    model = HashingBackend(document_threshold=0.7)
    judged = []
    monkeypatch.setattr(confidence, "judge", lambda examples, answers: judged.append(answers) or drawn(100))
    monkeypatch.setattr(confidence, "check_outcomes", lambda examples: None)
    text = "A man walks by the sea. " * 30 + "In 2024 the nests were counted by a kite. " + "The sea is red. " * 30
    example = Example("0", "Who counted the nests in 2024?", text, (), ("a kite",), metadata=(("format", "squad"),))
    asked = make_windows([example], fixed_tokenizer("wordpiece"), WindowSettings(60, 16, 20))
    done = []
    calibrate_confidence(model, asked, 8, progress=done.append)
    assert judged[0] == evaluate_windows(model, asked).answers
    assert judged[0] != evaluate_windows(model, asked, max_cost=1.0).answers
    assert sum(done) == len(asked)


def test_a_copy_has_it_and_all_else_as_it_was(tmp_path):
    source = save_model(tmp_path / "source")
    (source / "notes.txt").write_text("kept")
    save_with_confidence(load(source), TRUE, tmp_path / "copy")
    copy = load(tmp_path / "copy")
    assert copy.model.confidence == TRUE
    for name in ("notes.txt", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (source / name).read_bytes()
    assert load(source).model.confidence is None
    with pytest.raises(ConfigError, match="exists"):
        save_with_confidence(load(source), TRUE, tmp_path / "copy")


@pytest.mark.parametrize("limit", [0, 5000])
def test_a_full_disk_leaves_no_copy(tmp_path, limit):
    source = load(save_model(tmp_path / "source"))
    with full_disk(limit), pytest.raises(OSError, match="File too large"):
        save_with_confidence(source, TRUE, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that stands for the repository ``someone/model``, with links to files as the hub's cache has them."""
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    asked = {"revision": "v2"}

    def fetch(name, patterns, hub, ignored):
        assert (name, hub, ignored) == ("someone/model", asked, ["*/*"])
        return snapshot

    def find(name, file, hub):
        assert hub == (asked if name == "someone/model" else {})
        return (snapshot if name == "someone/model" else Path(name)) / file

    monkeypatch.setattr(settings_copy, "offline_aware", lambda name, hub: dict(hub))
    monkeypatch.setattr(settings_copy, "fetch_directory", fetch)
    monkeypatch.setattr(settings_copy, "find_file", find)

    def save(directory):
        for path in directory.iterdir():
            (snapshot / path.name).symlink_to(path)
        return directory

    return save


def test_of_a_model_of_the_hub_files_are_copied_whatever_is_in_memory(tmp_path, hub):
    directory = hub(save_model(tmp_path / "source"))
    (directory / "README.md").write_text("kept")
    (tmp_path / "snapshot" / "README.md").symlink_to(directory / "README.md")
    source = load(directory, dtype="bfloat16")
    save_with_confidence(
        LoadedBackend(source.model, source.tokenizer, "someone/model", {"revision": "v2"}), TRUE, tmp_path / "copy"
    )
    assert load(tmp_path / "copy").model.confidence == TRUE
    for name in ("model.safetensors", "README.md"):
        assert (tmp_path / "copy" / name).read_bytes() == (directory / name).read_bytes()
        assert not (tmp_path / "copy" / name).is_symlink()
    assert load(directory).model.confidence is None


def test_a_model_that_was_made_here_is_saved(tmp_path):
    source = load(save_model(tmp_path / "source"))
    save_with_confidence(LoadedBackend(source.model, source.tokenizer, "the model"), TRUE, tmp_path / "copy")
    assert load(tmp_path / "copy").model.confidence == TRUE


@pytest.mark.parametrize("from_hub", [False, True])
def test_a_plain_model_has_no_place_for_it(tmp_path, hub, from_hub):
    plain = load(hub(save_plain(tmp_path / "plain")))
    if from_hub:
        plain = LoadedBackend(plain.model, plain.tokenizer, "someone/model", {"revision": "v2"})
    with pytest.raises(ModelError, match="no Block-Skim model"):
        save_with_confidence(plain, TRUE, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
