"""Heads are ranked by what the loss loses with them, removed, and the model goes on learning."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.examples import Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError, DataError
from blockskim.evaluation.evaluate import evaluate
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.stored_weights import provenance
from blockskim.surgery.head_pruning import answerable_windows, head_importance, least_important, save_pruned
from blockskim.training import train as training
from strategies import every_family
from synthetic_task import examples
from tiny_encoders import save_encoder
from tiny_models import make_batch, new_skim_model
from tiny_tokenizers import word_piece
from training_runs import short_recipe

SETTINGS = WindowSettings(80, 10, 10)
SKIM = {"block_size": 8, "predictor_width": 8, "skim_factor": 0.5, "inputs": ["match", "tiles"]}
RECIPE = short_recipe(skim=SKIM, hidden_dropout=0.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruning")
    base = save_encoder(folder / "base")
    training.train(base, examples(240, 0), [], folder / "trained", RECIPE, device="cpu")
    return folder / "trained"


def loaded(folder):
    return BlockSkimForQuestionAnswering.from_pretrained(folder).eval()


@pytest.mark.slow
def test_importance_is_the_mean_size_of_each_windows_derivative(trained):
    model = loaded(trained)
    windows = answerable_windows(examples(5, 1), word_piece(), SETTINGS)
    found = head_importance(model, windows, batch_size=2)
    expected = {layer: np.zeros(4) for layer in (1, 2, 3)}
    # By differences instead of derivatives: one window and one head at a time.
    model.double()
    for item in windows:
        inputs = {name: torch.from_numpy(item[name])[None].long() for name in ("input_ids", "token_type_ids")}
        start, end = item["target"].tolist()
        for layer in expected:
            for head in range(4):
                values = []
                for factor in (1 + 1e-4, 1 - 1e-4):
                    factors = torch.ones(1, 4, dtype=torch.float64)
                    factors[0, head] = factor
                    with torch.no_grad():
                        output = model(**inputs, head_masks={layer: factors})
                    both = (output.start_logits[0].log_softmax(-1)[start], output.end_logits[0].log_softmax(-1)[end])
                    values.append(-float(sum(both)) / 2)
                expected[layer][head] += abs(values[0] - values[1])
    for layer, values in expected.items():
        assert list(found[layer]) == [1, 2, 3, 4]
        assert list(found[layer].values()) == pytest.approx((values / np.linalg.norm(values)).tolist(), abs=0.01)
        assert np.linalg.norm(list(found[layer].values())) == pytest.approx(1.0)


@pytest.mark.slow
def test_importance_does_not_depend_on_batches_and_leaves_no_gradients(trained):
    model = loaded(trained)
    windows = answerable_windows(examples(12, 1), word_piece(), SETTINGS)
    done = []
    one, many = head_importance(model, windows, 1), head_importance(model, windows, 12, done.append)
    assert sum(done) == len(windows)
    for layer, scores in one.items():
        assert list(scores.values()) == pytest.approx(list(many[layer].values()), abs=1e-4)
    assert all(value.grad is None for value in model.parameters())
    assert all(value.requires_grad for value in model.parameters())


@pytest.mark.slow
def test_a_head_that_does_nothing_is_the_first_to_go(trained):
    model = loaded(trained)
    projection = model.encoder.encoder.layer[1].attention.output.dense
    with torch.no_grad():
        projection.weight[:, 16:24] = 0
    windows = answerable_windows(examples(6, 1), word_piece(), SETTINGS)
    importance = head_importance(model, windows)
    assert importance[2][3] == 0
    assert 3 in least_important(importance, per_layer=1)[2]
    assert least_important(importance, total=1) == {2: (3,)}
    # What is left keeps its numbers.
    model.prune_heads({2: [3]})
    again = head_importance(model, windows)
    assert list(again[2]) == [1, 2, 4]
    assert list(again[2].values()) == pytest.approx([importance[2][head] for head in (1, 2, 4)], abs=1e-5)


@every_family
def test_every_family_has_importances(family):
    model = new_skim_model(family)
    batch = make_batch(family, [(4, 30), (2, 20)])
    inputs = batch.without_context()
    masks = {layer: torch.ones(2, 4, requires_grad=True) for layer in (1, 2, 3)}
    places = torch.tensor([9, 8])
    loss = model(**inputs, start_positions=places, end_positions=places, head_masks=masks).loss
    for gradient in torch.autograd.grad(loss, list(masks.values())):
        assert gradient.shape == (2, 4)
        assert (gradient != 0).all()


SCORES = {1: {1: 0.9, 2: 0.1, 4: 0.4}, 2: {1: 0.2, 2: 0.3, 3: 0.05, 4: 0.9}, 3: {2: 1.0}}


def test_heads_are_chosen_by_layer_or_overall():
    assert least_important(SCORES, total=3) == {1: (2,), 2: (1, 3)}
    # A layer keeps its best head, however unimportant.
    assert least_important({1: {1: 0.1, 2: 0.2}, 2: {1: 0.5, 2: 0.6}}, total=2) == {1: (1,), 2: (1,)}
    assert least_important({1: SCORES[1], 2: SCORES[2]}, per_layer=2) == {1: (2, 4), 2: (1, 3)}


@given(st.dictionaries(st.integers(1, 4), st.dictionaries(st.integers(1, 6), st.floats(0, 1), min_size=1), min_size=1))
def test_as_many_heads_go_as_were_asked_for_and_one_stays(scores):
    most = sum(len(heads) - 1 for heads in scores.values())
    for total in range(1, most + 1):
        removed = least_important(scores, total=total)
        assert sum(map(len, removed.values())) == total
        for layer, heads in removed.items():
            stay = set(scores[layer]) - set(heads)
            assert stay
            assert max(scores[layer][head] for head in heads) <= min(scores[layer][head] for head in stay)
    with pytest.raises(ConfigError, match=f"{most} can"):
        least_important(scores, total=most + 1)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({}, "one of them"),
        ({"per_layer": 1, "total": 1}, "one of them"),
        ({"per_layer": 0}, "at least 1"),
        ({"per_layer": 1}, "1 of the 1 heads of layer 3"),
        ({"total": 6}, "6 heads can't be removed; 5 can"),
    ],
)
def test_impossible_numbers_are_refused(numbers, message):
    with pytest.raises(ConfigError, match=message):
        least_important(SCORES, **numbers)


def test_questions_without_answers_tell_nothing():
    lost = [Example("x", "when ?", "no number here", (), ("2024",)), Example("y", "who ?", "nobody")]
    with pytest.raises(DataError, match="none of 2 examples has an answer"):
        answerable_windows(lost, word_piece(), SETTINGS)
    assert len(answerable_windows([*lost, *examples(2, 0)], word_piece(), SETTINGS).examples) == 2


def test_a_question_that_the_tokenizer_can_not_read_is_read_as_when_answering():
    unread = replace(examples(1, 0)[0], question="\x00")
    assert len(answerable_windows([unread], word_piece(), SETTINGS)) > 0


@pytest.mark.slow
def test_a_pruned_model_is_saved_trained_on_and_pruned_again(trained, tmp_path):
    model = loaded(trained)
    windows = answerable_windows(examples(20, 1), word_piece(), SETTINGS)
    importance = head_importance(model, windows)
    removed = least_important(importance, per_layer=2)
    model.prune_heads(removed)
    save_pruned(model, word_piece(), provenance(trained, {}), importance, removed, tmp_path / "pruned")
    found = loaded(tmp_path / "pruned")
    fresh = examples(40, 2)
    figures = [evaluate(one, make_windows(fresh, word_piece(), SETTINGS), thresholds=0.5) for one in (model, found)]
    for values in figures:
        values.pop("seconds")
    assert figures[0] == figures[1]
    record = json.loads((tmp_path / "pruned" / "pruning.json").read_text())
    assert record["removed"] == {str(layer): list(heads) for layer, heads in removed.items()}
    assert (tmp_path / "pruned" / "recipe.json").read_text() == (trained / "recipe.json").read_text()
    card = (tmp_path / "pruned" / "README.md").read_text()
    assert "## Heads removed after that" in card and "## Recipe" in card
    with pytest.raises(ConfigError, match="exists already"):
        save_pruned(model, word_piece(), provenance(trained, {}), importance, removed, tmp_path / "pruned")

    trained_on = training.train(tmp_path / "pruned", examples(120, 3), [], tmp_path / "more", RECIPE, device="cpu")
    assert trained_on.pruned_heads == model.pruned_heads
    again = loaded(tmp_path / "more")
    assert evaluate(again, make_windows(fresh, word_piece(), SETTINGS), thresholds=0.0)["f1"] > 90
    # New predictors fit the heads that are left, too.
    others = RECIPE.replace(epochs=0.2, skim={"inputs": ["question", "hidden"]})
    training.train(tmp_path / "more", examples(20, 3), [], tmp_path / "others", others, device="cpu")
    assert loaded(tmp_path / "others").pruned_heads == model.pruned_heads

    more = least_important(head_importance(again, windows), total=1)
    again.prune_heads(more)
    again.save_pretrained(tmp_path / "twice")
    twice = loaded(tmp_path / "twice")
    assert sum(map(len, twice.pruned_heads.values())) == 7
    first, second = (
        evaluate(one, make_windows(fresh, word_piece(), SETTINGS), thresholds=0.5) for one in (again, twice)
    )
    assert first["f1"] == second["f1"]
    assert first["flops_per_example"] == second["flops_per_example"]


def test_a_pruned_model_says_where_it_came_from(trained, tmp_path):
    source = shutil.copytree(trained, tmp_path / "source")
    (source / "average.json").write_text("{}")
    save_pruned(loaded(source), word_piece(), provenance(source, {}), {}, {1: (2,)}, tmp_path / "pruned")
    for name in ("recipe.json", "data.json", "average.json"):
        assert (tmp_path / "pruned" / name).read_bytes() == (source / name).read_bytes()


def test_a_card_in_another_encoding_is_kept(trained, tmp_path):
    source = shutil.copytree(trained, tmp_path / "source")
    (source / "README.md").write_bytes(b"caf\xe9\n")
    save_pruned(loaded(source), word_piece(), provenance(source, {}), {}, {1: (2,)}, tmp_path / "pruned")
    card = (tmp_path / "pruned" / "README.md").read_bytes()
    assert card.startswith(b"caf\xe9\n\n## Heads removed after that") and b"| 1 | 2 |" in card


def test_a_failed_save_leaves_nothing(trained, tmp_path, monkeypatch):
    model = loaded(trained)

    def broken(*_given):
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr("blockskim.surgery.head_pruning._card_section", broken)
    with pytest.raises(OSError, match="No space"):
        save_pruned(model, word_piece(), {"README.md": trained / "README.md"}, {}, {}, tmp_path / "folder" / "pruned")
    assert list((tmp_path / "folder").iterdir()) == []
