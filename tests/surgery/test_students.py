"""Students have the very layers that were asked for, and are checkpoints of transformers."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, AutoModelForQuestionAnswering

from blockskim.encoders import adapter_for
from blockskim.errors import ConfigError, ModelError
from blockskim.model.data_record import DATA_FILE, DataRecord, data_records, records_text
from blockskim.model.head_removal import shares_weights
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.surgery.students import choose_layers, make_student
from blockskim.training import train as training
from blockskim.training.recipe import Recipe
from strategies import every_family
from synthetic_task import examples
from tiny_encoders import save_encoder
from tiny_models import dense_model, make_batch, new_dense_model, new_skim_model
from tiny_tokenizers import word_piece


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def separate(family):
    """Whether a family's layers have weights of their own."""
    model = dense_model(family)
    return not shares_weights(adapter_for(family).layers(model.base_model))


@every_family
@pytest.mark.parametrize("kind", ["dense", "encoder", "skimming"])
def test_a_student_runs_the_layers_that_it_got(family, kind, tmp_path):
    dense = new_dense_model(family)
    source = {"dense": dense, "encoder": dense.base_model, "skimming": new_skim_model(family)}[kind]
    source.save_pretrained(tmp_path / "base")
    word_piece().save_pretrained(tmp_path / "base")
    if not separate(family):
        with pytest.raises(ModelError, match="share their weights"):
            make_student(tmp_path / "base", tmp_path / "student", [1, 3])
        return
    assert make_student(tmp_path / "base", tmp_path / "student", [1, 3]) == (1, 3)
    loader = AutoModel if kind == "encoder" else AutoModelForQuestionAnswering
    student, info = loader.from_pretrained(tmp_path / "student", output_loading_info=True)
    assert not {key for key in info["missing_keys"] if "pooler" not in key}
    assert not info["unexpected_keys"]
    batch = make_batch(family, [(4, 30), (2, 12)])
    # Layer by layer by hand, from the weights of the base.
    adapter, encoder = adapter_for(family), dense.base_model
    whole = BlockSkimForQuestionAnswering.from_backbone(dense).eval()
    layers = list(adapter.layers(whole.encoder))
    lists = [part for part in whole.encoder.modules() if isinstance(part, nn.ModuleList) and list(part) == list(layers)]
    del lists[0][1]
    with torch.no_grad():
        expected = whole(**batch.without_context(), output_hidden_states=True)
        found = student.eval()(**batch.without_context())
    if kind == "encoder":
        # Some families have a norm behind the last layer.
        left = expected.hidden_states[-1]
        left = left if adapter.final_norm is None else adapter.final_norm(whole.encoder, left)
        close(found.last_hidden_state[batch.real], left[batch.real])
    else:
        close(found.start_logits[batch.real], expected.start_logits[batch.real])
        close(found.end_logits[batch.real], expected.end_logits[batch.real])
    assert encoder.config.num_hidden_layers == 3
    assert json.loads((tmp_path / "student" / "student.json").read_text()) == {"base": "base", "layers": [1, 3]}
    assert student.config.num_hidden_layers == 2


@pytest.mark.parametrize(
    ("count", "every", "expected"),
    [(6, 2, (2, 4, 6)), (12, 3, (3, 6, 9, 12)), (7, 2, (1, 3, 5, 7)), (3, 1, (1, 2, 3)), (5, 3, (2, 5))],
)
def test_every_so_many_layers_with_the_last(count, every, expected):
    assert choose_layers(count, every=every) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "one of them"),
        ({"layers": [1, 2], "every": 2}, "one of them"),
        ({"every": 0}, "at least 1"),
        ({"every": 6}, "a student of 1 of 6 layers is too small"),
        ({"layers": [2]}, "too small"),
        ({"layers": []}, "too small"),
        ({"layers": [0, 2]}, "no layer 0; the model has layers 1 to 6"),
        ({"layers": [2, 7]}, "no layer 7"),
        ({"layers": [3, 2]}, "must rise"),
        ({"layers": [2, 2]}, "must rise"),
    ],
)
def test_impossible_layers_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        choose_layers(6, **values)


def test_a_student_keeps_what_its_layers_were_trained_on(tmp_path):
    new_skim_model("bert").save_pretrained(tmp_path / "base")
    word_piece().save_pretrained(tmp_path / "base")
    record = DataRecord({"a.json": 7}, 0, {})
    (tmp_path / "base" / DATA_FILE).write_text(records_text([record]))
    make_student(tmp_path / "base", tmp_path / "student", every=2)
    assert data_records(tmp_path / "student") == [record]


def test_layers_that_share_their_weights_make_no_student(tmp_path, monkeypatch):
    base = save_encoder(tmp_path / "base", answers=True)
    monkeypatch.setattr("blockskim.surgery.students.shares_weights", lambda _layers: True)
    with pytest.raises(ModelError, match="share their weights"):
        make_student(base, tmp_path / "student", [1, 2])
    assert not (tmp_path / "student").exists()


def test_a_model_that_lost_heads_makes_no_student(tmp_path):
    model = new_skim_model("bert")
    model.prune_heads({1: [1]})
    model.save_pretrained(tmp_path / "pruned")
    word_piece().save_pretrained(tmp_path / "pruned")
    with pytest.raises(ModelError, match="prune it then"):
        make_student(tmp_path / "pruned", tmp_path / "student", [1, 2])


def test_nothing_is_overwritten(tmp_path):
    base = save_encoder(tmp_path / "base")
    with pytest.raises(ConfigError, match="exists already"):
        make_student(base, base, [1, 2])
    with pytest.raises(ModelError, match="no such model"):
        make_student(tmp_path / "none", tmp_path / "student", [1, 2])


def test_a_student_is_taught_by_the_model_that_it_was_made_of(tmp_path):
    recipe = Recipe.from_dict(
        {
            "skim": {"block_size": 8, "predictor_width": 8, "layers": [1]},
            "windows": {"max_length": 80, "doc_stride": 10, "max_question_length": 10},
            "distillation": {"hidden_weight": 1.0, "layers": [[1, 1], [2, 3]]},
            "epochs": 1,
            "batch_size": 8,
            "precision": "float32",
        }
    )
    base = save_encoder(tmp_path / "base", answers=True)
    make_student(base, tmp_path / "student", every=2)
    model = training.train(
        tmp_path / "student", examples(16, 0), [], tmp_path / "taught", recipe, device="cpu", teacher=base
    )
    assert len(model.cost.layers) == 2
    log = json.loads((tmp_path / "taught" / "training_log.json").read_text())
    assert log
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("student", "taught"))
    name = "encoder.layer.1.output.dense.weight"
    assert not torch.equal(before[f"bert.{name}"], after[f"encoder.{name}"])
