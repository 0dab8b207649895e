"""``benchmarks/results.py``: what is measured anew, and what is kept of it."""

import json
import re
import sys

import pytest


@pytest.fixture
def results(script):
    return script("results")


@pytest.fixture
def files(script):
    return script("result_files")


def test_parts_name_data_that_is_listed_and_commands_that_there_are(files):
    parts, data = files.read_parts()
    assert len({part.name for part in parts}) == len(parts) > 30
    for part in parts:
        program, *words = part.command.split()
        assert program in ("blockskim", "python"), part
        if program == "python":
            assert (files.ROOT / words[0]).is_file(), part
        assert set(re.findall(r"{([\w-]+)}", part.command)) <= {*data, "report"}, part
        assert part.minutes > 0


def test_options_of_every_part_are_options_of_its_command(files):
    from typer.main import get_command

    from blockskim.cli.commands import app

    commands = get_command(app).commands
    for part in files.read_parts()[0]:
        program, name, *words = part.command.split()
        if program == "blockskim":
            known = {option for parameter in commands[name].params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, part


@pytest.mark.parametrize(
    ("values", "complaint"),
    [({"command": "blockskim info", "minuts": 3}, "minuts"), ({"minutes": 3}, "no command")],
)
def test_a_part_that_means_nothing_is_refused(files, tmp_path, values, complaint):
    file = tmp_path / "results.yaml"
    file.write_text(json.dumps({"data": {}, "parts": {"one": values}}))
    with pytest.raises(ValueError, match=complaint):
        files.read_parts(file)


def test_the_digest_follows_every_file_that_decides_answers(files, tmp_path):
    names = ("config.json", "model.onnx", "model.safetensors", "tokenizer.json")
    for name in names:
        (tmp_path / name).write_bytes(b'{"as": "it was"}')
    digests = {files.weights_digest(tmp_path)}
    for name in names:
        (tmp_path / name).write_bytes(b'{"other": "now"}')
        digests.add(files.weights_digest(tmp_path))
    assert len(digests) == 5


def test_how_sentences_are_scored_counts_where_they_are(files, tmp_path):
    for name in ("model.onnx", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"")
    digests: dict[bool, set[str]] = {False: set(), True: set()}
    for threshold in (0.2, 0.4):
        config = {"skim": {"block_size": 16, "evidence": {"threshold": threshold}}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        for evidence, found in digests.items():
            found.add(files.weights_digest(tmp_path, evidence))
    assert [len(digests[evidence]) for evidence in (False, True)] == [1, 2]
    scores, evidence = (
        files.digest_for(files.Part(name, "blockskim", True, False, 1)) for name in ("scores/a", "evidence/a")
    )
    assert scores != evidence
    assert files.digest_for(files.Part("scores/a", "blockskim", False, False, 1)) is None


def test_the_threshold_for_no_answer_counts_where_none_may_be_given(files, tmp_path):
    for name in ("model.onnx", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"")
    digests: dict[bool, set[str]] = {False: set(), True: set()}
    for threshold in (0.2, 0.4):
        config = {"confidence": {"right": [1, 2], "no_answer_threshold": threshold}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        for counts, found in digests.items():
            found.add(files.weights_digest(tmp_path, no_answer=counts))
    assert [len(digests[counts]) for counts in (False, True)] == [1, 2]
    commands = ("--data {squad2}", "--data {squad2} --no-answer-threshold 1", "--data {squad}")
    may, must, all_have_one = (files.digest_for(files.Part("scores/a", each, True, False, 1)) for each in commands)
    assert may != must == all_have_one
    # Where every question has an answer, the rules of SQuAD 2.0 may be those of the file all the same.
    assert files.digest_for(files.Part("scores/a", "--data {policyqa}", True, False, 1)) == may


def test_only_the_operating_point_counts_that_a_part_skims_at(files, tmp_path):
    for name in ("model.onnx", "model.safetensors", "tokenizer.json", "calibration.json"):
        (tmp_path / name).write_bytes(b"")

    def digests(own, fast):
        config = {"skim": {"thresholds": own, "points": {"balanced": own, "fast": fast}}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        chosen = ({}, {"point": "balanced"}, {"point": "fast"}, {"all_points": True})
        return [files.weights_digest(tmp_path, **each) for each in chosen]

    before, faster, safer = digests([0.1], [0.3]), digests([0.1], [0.4]), digests([0.05], [0.3])
    assert before[0] == before[1] != before[2] != before[3]
    assert [one == two for one, two in zip(before, faster, strict=True)] == [True, True, False, False]
    assert [one == two for one, two in zip(before, safer, strict=True)] == [False, False, True, False]
    (tmp_path / "calibration.json").write_bytes(b"another front")
    after = digests([0.05], [0.3])
    assert [one == two for one, two in zip(after, safer, strict=True)] == [True, True, True, False]
    commands = ("--data {squad}", "--data {squad} --point fast", "--data {squad} --calibrated")
    assert len({files.digest_for(files.Part("scores/a", each, True, False, 1)) for each in commands}) == 3


@pytest.fixture
def trial(results, files, tmp_path, monkeypatch):
    """Parts of our own whose command prints a file, run against a folder of our own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.json").write_text('{"f1": 50.0, "seconds": 2.0}')
    code = "import sys; text = open(sys.argv[1]).read(); sys.stdout.write(text); sys.exit('false' in text or not text)"
    (tmp_path / "show.py").write_text(code)
    yaml = tmp_path / "results.yaml"
    command = f"python {tmp_path / 'show.py'} {{a}}"
    parts = {
        "scores/one": {"command": command},
        "scores/two": {"command": command.replace("{a}", "{b}")},
        "long/three": {"command": command, "on_request": True},
    }
    yaml.write_text(json.dumps({"data": {"a": "a.json", "b": "b.json"}, "parts": parts}))
    monkeypatch.setattr(files, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "read_parts", lambda: files.read_parts(yaml))
    monkeypatch.setattr(results, "read_results", lambda parts: files.read_results(tmp_path / "results", parts))
    monkeypatch.setattr(results, "digest_for", lambda part: "digest")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["results.py", "--data-folder", str(tmp_path / "data"), *arguments])
        return results.main()

    run.folder, run.yaml = tmp_path, yaml
    return run


def test_a_part_is_kept_with_all_there_is_to_know_of_it(trial, capsys):
    assert trial() == 0
    kept = json.loads((trial.folder / "results" / "scores" / "one.json").read_text())
    assert kept["result"] == {"f1": 50.0, "seconds": 2.0}
    assert kept["weights"] == "digest"
    assert kept["machine"]["cores"] >= 1
    assert kept["versions"]["numpy"]
    assert list(kept["data"]) == ["a.json"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", kept["date"])
    assert str(trial.folder / "data") not in json.dumps(kept["command"])
    assert "scores/two: left out, no " in capsys.readouterr().err
    assert not (trial.folder / "results" / "scores" / "two.json").exists()


def test_a_model_is_known_by_its_weights(files, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert files.file_digest(tmp_path) == files.file_digest(tmp_path / "model.safetensors")


def test_what_a_command_printed_before_it_failed_replaces_no_report(trial, capsys):
    writing = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('[1]')"
    failing = "import sys; sys.stdout.write('{}'); sys.exit(1)"
    for code, status in ((writing, 0), (failing, 1)):
        (trial.folder / "write.py").write_text(code)
        command = f"python {trial.folder / 'write.py'} {{report}}"
        trial.yaml.write_text(json.dumps({"data": {}, "parts": {"scores/one": {"command": command}}}))
        assert trial("--again") == status
    assert json.loads((trial.folder / "results" / "scores" / "one.json").read_text())["result"] == [1]
    assert capsys.readouterr().err.endswith("scores/one: its command failed\n")


def test_where_all_is_done_it_says_so(trial, capsys):
    trial("--only", "scores/one")
    capsys.readouterr()
    assert trial("--only", "scores/one") == 0
    assert capsys.readouterr().err == "nothing to measure; measured with these weights: scores/one\n"


def test_what_is_done_is_not_repeated_unless_something_changed(trial, results, monkeypatch, capsys):
    trial()
    capsys.readouterr()
    assert trial() == 0
    assert "scores/one" not in capsys.readouterr().err
    monkeypatch.setattr(results, "digest_for", lambda part: "another")
    trial("--list")
    assert re.search(
        r"^outdated +\S+ scores/one\nmissing +scores/two\nmissing +long/three$", capsys.readouterr().out, re.MULTILINE
    )
    trial()
    assert "[1/2] scores/one" in capsys.readouterr().err


def test_scores_that_differ_the_second_time_are_told_and_times_are_not(trial, capsys):
    trial()
    data = trial.folder / "data" / "a.json"
    data.write_text('{"f1": 50.0, "seconds": 9.0}')
    assert trial("--again", "--only", "scores/one") == 0
    data.write_text('{"f1": 50.5, "seconds": 9.0}')
    assert trial("--again", "--only", "scores/one") == 1
    assert "scores/one: not as before: f1 was 50.0 and is 50.5" in capsys.readouterr().err


def test_what_does_not_hold_is_kept_and_told(trial, capsys):
    (trial.folder / "data" / "b.json").write_text("")
    (trial.folder / "data" / "a.json").write_text('{"holds": false}')
    assert trial() == 1
    told = capsys.readouterr().err
    assert "scores/one: its command ended with 1" in told
    assert "scores/two: its command failed" in told
    assert json.loads((trial.folder / "results" / "scores" / "one.json").read_text())["result"] == {"holds": False}
    assert not (trial.folder / "results" / "scores" / "two.json").exists()


def test_what_runs_on_request_runs_where_it_is_named(trial):
    assert trial() == 0
    assert not (trial.folder / "results" / "long").exists()
    assert trial("--only", "long/*") == 0
    assert (trial.folder / "results" / "long" / "three.json").exists()


def test_all_that_is_not_on_request_takes_under_four_hours(files):
    assert sum(part.minutes for part in files.read_parts()[0] if not part.on_request) < 240


def test_what_clients_get_at_random_moments_is_not_compared(trial):
    parts = json.loads(trial.yaml.read_text())
    parts["parts"]["serving/load"] = parts["parts"].pop("scores/one")
    trial.yaml.write_text(json.dumps(parts))
    assert trial() == 0
    (trial.folder / "data" / "a.json").write_text('{"f1": 60.5}')
    assert trial("--again", "--only", "serving/load") == 0


def test_differences_are_found_in_lists_and_by_names_that_only_one_has(results):
    assert list(results.differences([{"f1": 1}], [{"f1": 1}])) == []
    assert list(results.differences([{"f1": 1}], [{"f1": 2}])) == ["[0].f1 was 1 and is 2"]
    assert list(results.differences({"a": {"b": 1}}, {"a": {}})) == ["a.b was 1 and is None"]
    assert list(results.differences([1], [1, 2])) == [" was [1] and is [1, 2]"]


def test_a_pattern_that_matches_nothing_names_the_parts(trial, capsys):
    with pytest.raises(SystemExit):
        trial("--only", "score/*")
    assert "scores/one, scores/two" in capsys.readouterr().err


def test_every_line_may_be_a_record(results):
    assert results.parsed('{"a": 1}\n{"a": 2}\n') == [{"a": 1}, {"a": 2}]
    assert results.parsed("[1]\n") == [1]
