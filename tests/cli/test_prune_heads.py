import json

import pytest
from safetensors.torch import load_file

from blockskim.model.modeling import BlockSkimForQuestionAnswering
from cli_data import squad


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(3, 2)))
    return path


def arguments(data, model, output, *more):
    return ("prune-heads", "--data", data, "--model", model, "--output", output, "--max-length", 150, *more)


def test_heads_are_removed_and_can_be_removed_again(call, model, data, tmp_path):
    code, out, err = call(*arguments(data, model, tmp_path / "one", "--per-layer", 1, "--json"))
    assert (code, err) == (0, "")
    values = json.loads(out)
    assert values["examples"] == 6
    assert values["flops_speedup"] > 1
    assert values["pruned_heads"] == values["removed"]
    assert {len(heads) for heads in values["removed"].values()} == {1}
    for layer, heads in values["removed"].items():
        assert values["importance"][layer][str(heads[0])] == min(values["importance"][layer].values())
    code, out, err = call(*arguments(data, tmp_path / "one", tmp_path / "two", "--total", 2))
    assert (code, err) == (0, "")
    assert "written to" in out and "6 examples" in out
    found = BlockSkimForQuestionAnswering.from_pretrained(tmp_path / "two")
    assert sum(map(len, found.pruned_heads.values())) == 5
    code, out, _ = call("info", "--model", tmp_path / "two", "--json")
    assert code == 0
    stored = json.loads(out)["encoder"]["pruned_heads"]
    assert {int(layer): tuple(heads) for layer, heads in stored.items()} == found.pruned_heads
    code, out, _ = call("answer", "-q", "Where?", "-c", "It nests in Wales.", "--model", tmp_path / "two", "--json")
    assert code == 0


def test_a_plain_checkpoint_gets_predictors_that_know_nothing_and_says_so(call, plain, data, tmp_path):
    code, _, err = call(*arguments(data, plain, tmp_path / "one", "--total", 1))
    assert code == 0
    assert "new and know nothing" in err
    assert any(name.startswith("predictors.") for name in load_file(tmp_path / "one" / "model.safetensors"))
    # The copy knows it, too.
    code, out, _ = call("info", "--model", tmp_path / "one", "--json")
    assert (code, json.loads(out)["skims"]) == (0, False)
    code, _, err = call("answer", "-q", "Where?", "-c", "In Wales.", "--model", tmp_path / "one", "--threshold", 0.5)
    assert code == 2
    assert "predictors" in err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ((), 2, "either --per-layer or --total"),
        (("--per-layer", 1, "--total", 2), 2, "either --per-layer or --total"),
        (("--per-layer", 0), 2, "--per-layer"),
        (("--per-layer", 4), 2, "4 of the 4 heads of layer 1 can't be removed"),
        (("--total", 10), 2, "10 heads can't be removed; 9 can"),
        (("--total", 1, "--model", "./none"), 1, "no such model directory"),
        (("--total", 1, "--data", "nowhere"), 1, "nowhere: no such file"),
        (("--total", 1, "--output", "DATA"), 2, "exists already"),
    ],
)
def test_bad_input(call, model, data, tmp_path, more, code, message):
    more = [data if part == "DATA" else part for part in more]
    found, out, err = call(*arguments(data, model, tmp_path / "out", *more, "--json"))
    assert (found, out) == (code, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_questions_without_answers_are_refused(call, model, tmp_path):
    content = squad(2)
    for question in content["data"][0]["paragraphs"][0]["qas"]:
        question.update(answers=[], is_impossible=True)
    path = tmp_path / "data.json"
    path.write_text(json.dumps({**content, "version": "v2.0"}))
    code, out, err = call(*arguments(path, model, tmp_path / "out", "--total", 1))
    assert (code, out) == (1, "")
    assert err.startswith("error: none of 2 examples has an answer")
