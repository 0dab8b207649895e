"""The comparison of compression methods in ``benchmarks/``: it makes, trains and scores variants, each step once."""

import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest
import torch
import yaml

from blockskim.method.config import SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_models import make_batch, new_dense_model, new_skim_model
from tiny_tokenizers import WORDS, word_piece

FOLDER = Path(__file__).parents[2] / "benchmarks"
RECIPE = {
    "skim": {"block_size": 8, "predictor_width": 8, "inputs": ["match"]},
    "windows": {"max_length": 80, "doc_stride": 10, "max_question_length": 10},
    "distillation": {"hidden_weight": 0.1},
    "epochs": 1,
    "batch_size": 8,
    "precision": "float32",
}


@pytest.fixture(scope="module")
def smaller_models():
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("smaller_models", FOLDER / "smaller_models.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["smaller_models"] = module
    spec.loader.exec_module(module)
    yield module
    for name in ("smaller_models", "shared_layers", "grid"):
        sys.modules.pop(name, None)
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smaller_models")
    choose = random.Random(1)
    words = [word for word in WORDS if word.isalpha()]
    data = []
    for number in range(60):
        tokens = [choose.choice(words) for _ in range(40)]
        tokens[choose.randrange(40)] = "2024"
        context = " ".join(tokens)
        answer = {"text": "2024", "answer_start": context.index("2024")}
        question = {"id": str(number), "question": "when ?", "answers": [answer]}
        data.append({"title": str(number), "paragraphs": [{"context": context, "qas": [question]}]})
    (folder / "data.json").write_text(json.dumps({"version": "1.1", "data": data}), encoding="utf-8")
    (folder / "dev.json").write_text(json.dumps({"version": "1.1", "data": data[:5]}), encoding="utf-8")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    tokenizer = word_piece()
    new_dense_model("bert", vocab_size=len(tokenizer)).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    return folder


def arguments(inputs, *more):
    names = ("--data", "--base", "--output", "--recipe", "--train", "--hold-out")
    values = (inputs, inputs / "base", inputs / "runs", inputs / "recipe.yaml", "data.json", 0.4)
    given = [str(part) for pair in zip(names, values, strict=True) for part in pair]
    return ["smaller_models.py", *given, *map(str, more)]


@pytest.mark.slow
def test_variants_are_made_and_measured_once(smaller_models, inputs, monkeypatch, capsys):
    monkeypatch.setattr(smaller_models, "supported_types", lambda: ("bert",))
    monkeypatch.setattr(sys, "argv", arguments(inputs, "--target-speedup", 1.05))
    assert smaller_models.main() == 0
    text = capsys.readouterr().out
    results = json.loads((inputs / "runs" / "results.json").read_text())
    assert [item["variant"] for item in results["records"]] == ["base", "student", "pruned"]
    assert "no adapter for ALBERT" in results["left_out"]["shared"]
    base, student, pruned = results["records"]
    assert (base["layers"], student["layers"], pruned["layers"]) == (3, 2, 3)
    assert (base["heads"], student["heads"], pruned["heads"]) == (12, 8, 8)
    for item in results["records"]:
        assert item["skimming"]["flops_per_example"] <= item["dense"]["flops_per_example"]
        assert item["dense"]["flops_per_example"] <= base["dense"]["flops_per_example"]
        assert f"| {item['variant']} | {item['layers']} |" in text
        found = BlockSkimForQuestionAnswering.from_pretrained(inputs / "runs" / item["variant"] / "calibrated")
        assert list(found.thresholds) == item["thresholds"]
    assert (inputs / "runs" / "results.md").read_text() == text
    assert "Left out: shared" in text
    assert json.loads((inputs / "runs" / "student" / "teacher.json").read_text())["name"] == "base"
    assert not (inputs / "runs" / "pruned" / "teacher.json").exists()

    def never(*_args, **_kwargs):
        raise AssertionError("everything is there already")

    for name in ("make_student", "head_importance", "calibrate", "evaluate_windows"):
        monkeypatch.setattr(smaller_models, name, never)
    monkeypatch.setattr(sys.modules["grid"], "train", never)
    assert smaller_models.main() == 0
    assert capsys.readouterr().out == text
    # Results for another target are not taken for those of this one.
    monkeypatch.setattr(sys, "argv", arguments(inputs, "--target-speedup", 1.2))
    assert smaller_models.main() == 1
    assert "another target" in " ".join(capsys.readouterr().err.split())


def test_articles_are_held_out_for_calibration_and_for_the_report(smaller_models, inputs):
    parts = smaller_models.divide(inputs, ["data.json"], [], 0.4, None)
    ids = [{example.id for example in part} for part in (parts.train, parts.calibration, parts.evaluation)]
    assert sum(map(len, ids)) == len(set().union(*ids)) == 60
    assert min(map(len, ids)) > 4
    with_dev = smaller_models.divide(inputs, ["data.json"], ["dev.json"], 0.4, 2)
    assert {example.id for example in with_dev.calibration} == ids[1] | ids[2]
    # What was trained on is not reported on.
    assert {example.id for example in with_dev.evaluation} <= (ids[1] | ids[2]) & {str(number) for number in range(5)}
    every = smaller_models.divide(inputs, ["data.json"], [], 0.4, None, 3)
    assert list(every.train) == list(parts.train)[::3]
    with pytest.raises(smaller_models.DataError, match="nothing is left for calibration"):
        smaller_models.divide(inputs, ["data.json"], [], 0.0, None)


@pytest.mark.parametrize(("groups", "weights"), [(1, [0, 0, 0, 0]), (2, [0, 0, 2, 2]), (4, [0, 1, 2, 3])])
def test_a_shared_model_does_in_every_layer_what_the_base_does_in_the_first_of_a_group(smaller_models, groups, weights):
    dense = new_dense_model("bert", num_hidden_layers=4)
    model = BlockSkimForQuestionAnswering.from_backbone(dense, SkimConfig(block_size=8)).eval()
    shared = smaller_models.share_layers(model, groups).eval()
    layers = model.encoder.encoder.layer
    for number, first in enumerate(weights):
        layers[number].load_state_dict(layers[first].state_dict())
    batch = make_batch("bert", [(4, 30), (2, 12)])
    with torch.no_grad():
        found, expected = (one(**batch.without_context()) for one in (shared, model))
    torch.testing.assert_close(found.start_logits[batch.real], expected.start_logits[batch.real], atol=1e-5, rtol=0)
    with pytest.raises(smaller_models.LeftOut, match="'mpnet'"):
        smaller_models.share_layers(new_skim_model("mpnet"))
    for impossible in (0, 3):
        with pytest.raises(smaller_models.ConfigError, match=f"4 layers can't be divided into {impossible} groups"):
            smaller_models.share_layers(model, impossible)


def test_savings_are_given_against_the_dense_base(smaller_models, tmp_path):
    def record(name, dense, skimming):
        runs = {
            part: {"f1": 80.0 - flops / 1e9, "exact_match": 1.0, "flops_per_example": flops, "seconds": 1.0}
            for part, flops in (("dense", dense), ("skimming", skimming))
        }
        return {"variant": name, "layers": 6, "heads": 72, "parameters": 2.26e7, **runs}

    results = {"records": [record("base", 4e9, 2e9), record("student", 2e9, 1.6e9)], "left_out": {}}
    assert smaller_models.speedups(results) == {"base": (1.0, 2.0), "student": (2.0, 2.5)}
    assert "| student | 6 | 72 | 22.6 | 78.00 | 78.40 | 2.000 | 1.600 | 1.25× | 2.50× |" in smaller_models.table(
        results
    )
    pytest.importorskip("matplotlib")
    smaller_models.plot(results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000
