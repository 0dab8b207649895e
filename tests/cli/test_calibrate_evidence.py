"""``blockskim calibrate-evidence``."""

import json

import pytest

from blockskim.inference.loading import load
from cli_data import squad

SHORT = ("--max-length", 150, "--device", "cpu", "--dtype", "float32")


def test_a_copy_scores_sentences_anew(call, model, document, tmp_path):
    data, output = tmp_path / "data.json", tmp_path / "out"
    data.write_text(json.dumps(squad(6, 12)))
    usual = ("calibrate-evidence", "--data", data, "--model", model, *SHORT, "--output", output)
    code, out, err = call(*usual, "--elsewhere", 1.0, "--json")
    # The answer stands in every text.
    assert (code, err.count("\n")) == (0, 1) and "72 questions were to be asked" in err and "but none is" in err
    values = json.loads(out)
    assert values["output"] == str(output)
    assert values["evidence"] > 0 and values["recall"]["highlight-98"] >= 0.98
    evidence = load(output).model.skim_config.evidence
    assert list(evidence.weights) == values["weights"]
    assert evidence.points == values["points"]
    found = ("highlight", "-q", "Who?", "-f", document, "--model", output, "--threshold")
    assert call(*found, "highlight-98", "--json")[0] == 0
    code, out, err = call(*found, "highlight-99")
    assert (code, out) == (2, "")
    assert "one of its points: highlight-95, highlight-98" in err
    code, out, err = call(*usual)
    assert (code, out) == (2, "")
    assert "exists already" in err


@pytest.mark.slow
def test_people_are_told_what_came_out(call, model, tmp_path):
    data = tmp_path / "data.json"
    data.write_text(json.dumps(squad(6, 12)))
    usual = ("calibrate-evidence", "--data", data, "--model", model, *SHORT)
    code, out, err = call(*usual, "--output", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "sentences are evidence" in out and "highlight-98: keeps" in out
    assert call(*usual, "--output", tmp_path / "other", "--quiet") == (0, "", "")


def test_data_without_evidence_are_refused(call, model, tmp_path):
    data = tmp_path / "data.json"
    content = squad(1, 2)
    for question in content["data"][0]["paragraphs"][0]["qas"]:
        question |= {"answers": [], "is_impossible": True}
    data.write_text(json.dumps(content | {"version": "v2.0"}))
    code, out, err = call("calibrate-evidence", "--data", data, "--model", model, *SHORT, "--output", tmp_path / "out")
    assert (code, out) == (1, "")
    assert "at least 20 sentences" in err and not (tmp_path / "out").exists()
