"""An average has the averages of all weights, of models that belong together alone."""

import json

import pytest
import torch

from blockskim.errors import ConfigError, ModelError
from blockskim.method.evidence import FEATURES, EvidenceModel
from blockskim.model.data_record import DATA_FILE, DataRecord, data_records, records_text
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.surgery.averaging import average_models
from strategies import every_family
from tiny_answerers import save_model, save_plain
from tiny_models import new_skim_model
from tiny_tokenizers import fixed_tokenizer, word_piece


def changed(folder, source, seed):
    """A model directory with other weights."""
    model = BlockSkimForQuestionAnswering.from_pretrained(source)
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    model.save_pretrained(folder)
    word_piece().save_pretrained(folder)
    return folder


def weights_of(folder):
    return BlockSkimForQuestionAnswering.from_pretrained(folder).state_dict()


@every_family
def test_every_weight_is_averaged_and_nothing_is_dropped_yet(family, tmp_path):
    new_skim_model(family, thresholds=0.5).save_pretrained(tmp_path / "start")
    models = [changed(tmp_path / str(seed), tmp_path / "start", seed) for seed in (1, 2, 3)]
    assert average_models(models, tmp_path / "average", [1, 2, 1]) == (0.25, 0.5, 0.25)
    first, second, third = map(weights_of, models)
    found = weights_of(tmp_path / "average")
    assert found.keys() == first.keys()
    for name, value in found.items():
        expected = (first[name] + 2 * second[name] + third[name]) / 4 if value.is_floating_point() else first[name]
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
    assert set(BlockSkimForQuestionAnswering.from_pretrained(tmp_path / "average").thresholds) == {0.0}
    told = json.loads((tmp_path / "average" / "average.json").read_text())
    assert told == {"models": ["1", "2", "3"], "weights": [0.25, 0.5, 0.25]}


def test_an_average_learned_from_what_its_models_learned_from(tmp_path):
    start, first, second = (DataRecord({name: 9}, 0, {}) for name in ("start.json", "first.json", "second.json"))
    models = [save_model(tmp_path / name) for name in ("one", "two", "none")]
    for folder, own in zip(models, (first, second), strict=False):
        (folder / DATA_FILE).write_text(records_text([start, own]))
    average_models(models, tmp_path / "average")
    assert data_records(tmp_path / "average") == [start, first, second]
    average_models([models[2], models[2]], tmp_path / "unknown")
    assert not (tmp_path / "unknown" / DATA_FILE).exists()


def test_a_model_and_itself_are_itself(tmp_path):
    evidence = EvidenceModel((0.0,) * len(FEATURES), 0.5)
    one = save_model(tmp_path / "one", points={"fast": 0.6}, evidence=evidence)
    assert average_models([one, one], tmp_path / "average") == (0.5, 0.5)
    found = weights_of(tmp_path / "average")
    assert all(torch.equal(value, found[name]) for name, value in weights_of(one).items())
    model = BlockSkimForQuestionAnswering.from_pretrained(tmp_path / "average")
    assert (model.skim_config.points, model.skim_config.evidence, set(model.thresholds)) == ({}, None, {0.0})


@pytest.mark.parametrize("trained", [(True, True), (True, False), (False, True)])
def test_an_average_of_trained_predictors_alone_is_trained(trained, tmp_path):
    new_skim_model("bert").save_pretrained(tmp_path / "start")
    models = [changed(tmp_path / str(seed), tmp_path / "start", seed) for seed in (1, 2)]
    for folder, value in zip(models, trained, strict=True):
        model = BlockSkimForQuestionAnswering.from_pretrained(folder)
        model.has_trained_predictors = value
        model.save_pretrained(folder)
    average_models(models, tmp_path / "average")
    found = BlockSkimForQuestionAnswering.from_pretrained(tmp_path / "average")
    assert found.has_trained_predictors is all(trained)


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (1, None, "two or more models, not 1"),
        (2, [1.0], "1 weights for 2 models"),
        (2, [1.0, -1.0], "-1.0"),
        (2, [float("nan"), 1.0], "nan"),
        (2, [0.0, 0.0], "all weights are 0"),
    ],
)
def test_impossible_weights(tmp_path, count, weights, message):
    with pytest.raises(ConfigError, match=message):
        average_models([tmp_path / "none"] * count, tmp_path / "average", weights)


@pytest.mark.slow
def test_models_that_do_not_belong_together(tmp_path):
    one = save_model(tmp_path / "one")
    save_plain(tmp_path / "plain")
    new_skim_model("mpnet").save_pretrained(tmp_path / "family")
    new_skim_model("bert", ("tiles",)).save_pretrained(tmp_path / "inputs")
    save_model(tmp_path / "alignment", alignment="sequence")
    for name, message in (
        ("plain", "no Block-Skim model"),
        ("family", "'mpnet'"),
        ("inputs", "has alignment|has inputs"),
        ("alignment", "has alignment 'sequence'"),
        ("none", "no such model directory"),
    ):
        if name in ("family", "inputs"):
            fixed_tokenizer("wordpiece").save_pretrained(tmp_path / name)
        with pytest.raises(ModelError, match=message):
            average_models([one, tmp_path / name], tmp_path / "average")
        assert not (tmp_path / "average").exists()


@pytest.mark.parametrize(("name", "value"), [("hidden_act", "relu"), ("layer_norm_eps", 1e-3)])
def test_encoders_that_compute_differently_are_refused(name, value, tmp_path):
    one, other = save_model(tmp_path / "one"), save_model(tmp_path / "other")
    values = json.loads((other / "config.json").read_text())
    # What training changes, and what transformers writes, makes no other encoder.
    values["encoder_config"] |= {"hidden_dropout_prob": 0.3, "transformers_version": "5.3.0", "pad_token_id": 7}
    (other / "config.json").write_text(json.dumps(values))
    average_models([one, other], tmp_path / "average")
    values["encoder_config"][name] = value
    (other / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match=f"other has {name} {value!r} in its encoder_config where .*one has "):
        average_models([one, other], tmp_path / "refused")


def test_another_vocabulary_is_refused(tmp_path):
    one = save_model(tmp_path / "one")
    other = save_model(tmp_path / "other")
    path = other / "tokenizer.json"
    path.write_text(path.read_text().replace('"when"', '"whenever"'))
    with pytest.raises(ModelError, match="another vocabulary"):
        average_models([one, other], tmp_path / "average")


@pytest.mark.parametrize(("weights", "shares"), [([1e308, 1e308], (0.5, 0.5)), ([5e-324, 15e-324], (0.25, 0.75))])
def test_shares_of_huge_and_tiny_weights_are_numbers(weights, shares, tmp_path):
    one = save_model(tmp_path / "one")
    assert average_models([one, one], tmp_path / "average", weights) == shares
    assert weights_of(tmp_path / "average")["qa_outputs.weight"].equal(weights_of(one)["qa_outputs.weight"])


@pytest.mark.parametrize("weights", ["12", [True, 1], ["1", 1], [None, 1], [10**400, 1], [-1, 1], 5])
def test_weights_that_are_none_are_refused(weights, tmp_path):
    with pytest.raises(ConfigError, match="weight"):
        average_models(["one", "other"], tmp_path / "average", weights)
