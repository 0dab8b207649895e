"""docs/reference/json-output.md names every key that the commands print with ``--json``, and no other."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from blockskim.calibration.confidence import ConfidenceFit
from blockskim.calibration.points import Point
from blockskim.calibration.result import Calibration
from blockskim.calibration.targets import Target
from blockskim.cli.commands import app
from blockskim.evidence.calibrate import EvidenceFit
from blockskim.method.confidence import ConfidenceModel
from blockskim.method.evidence import UNCALIBRATED
from blockskim.profiling.benchmark import Record
from blockskim.scaling.bulk import BulkSummary
from cli_data import squad

PAGES = Path(__file__).parents[2] / "docs" / "reference"
ROW = re.compile(r"^\| (`[^|]*`) \| (.*) \|$", re.MULTILINE)
NAMES = re.compile(r"(?:^|(?<=[_/]))[A-Z]+$")
"""What stands for a name of the data, at the end of a part of a key."""
SHORT = ("--max-length", 150, "--device", "cpu", "--dtype", "float32")


def documented(page, heading):
    """The keys in the tables of a section, and what each is."""
    text = (PAGES / page).read_text(encoding="utf-8")
    section = re.split(rf"^#+ {re.escape(heading)}\n", text, flags=re.MULTILINE)[1]
    rows = ROW.findall(re.split(r"^#+ ", section, flags=re.MULTILINE)[0])
    return {key: told for keys, told in rows for key in re.findall(r"`([^`]+)`", keys)}


def parts(key):
    """A key of the page as the names on the way to it; "[]" stands for the items of a list."""
    return tuple(part for name in key.split(".") for part in ([name[:-2], "[]"] if name.endswith("[]") else [name]))


def told_of(command):
    """What the page says of a command: keys in parts, with those of what other tables describe."""
    found = set()
    for key, told in documented("json-output.md", command).items():
        found.add(parts(key))
        if "(#what-reading-cost)" in told:
            found |= {(*parts(key), *parts(inner)) for inner in documented("json-output.md", "What reading cost")}
    return found


def printed(value, way=()):
    """All ways into a value that a command printed."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield (*way, name)
            yield from printed(item, (*way, name))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for item in value:
            yield from printed(item, (*way, "[]") if way else way)


def matches(told, way):
    """Whether a key of the page is this way."""
    return len(told) == len(way) and all(
        re.fullmatch(NAMES.sub(lambda _: "\0", part).replace("[]", r"\[\]").replace("\0", ".+"), name)
        for part, name in zip(told, way, strict=True)
    )


def check(command, *values, below=()):
    """Compare what was printed, in all runs together, with the page.

    Args:
        command: its heading.
        values: what it printed.
        below: keys whose insides are described elsewhere.
    """
    told = told_of(command)
    ways = {way for value in values for way in printed(json.loads(json.dumps(value)))}
    ways = {way for way in ways if not any(len(way) > len(each) and matches(each, way[: len(each)]) for each in below)}
    # A key is told of where one inside of it is.
    known = told | {key[:length] for key in told for length in range(1, len(key))}
    unknown = {way for way in ways if way[-1] != "[]" and not any(matches(key, way) for key in known)}
    assert not unknown, f"the page does not tell of {sorted(unknown)}"
    missing = {key for key in told if not any(matches(key, way) for way in ways)}
    assert not missing, f"nothing prints {sorted(missing)}"


@pytest.fixture
def output(call):
    """Runs a command with ``--json``: what it printed."""

    def run(*arguments):
        code, out, err = call(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return run


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(squad(3, 2)))
    return path


@pytest.fixture
def version_2(tmp_path):
    content = squad(2, 2, prefix="v")
    content["data"][0]["paragraphs"][0]["qas"][0] |= {"answers": [], "is_impossible": True}
    path = tmp_path / "version-2.json"
    path.write_text(json.dumps(content | {"version": "v2.0"}))
    return path


@pytest.fixture
def hotpot(tmp_path):
    record = {"_id": "h", "question": "Where?", "answer": "Wales", "supporting_facts": [["T", 0]]}
    path = tmp_path / "hotpot.json"
    path.write_text(json.dumps([record | {"context": [["T", ["It nests in Wales.", "It eats."]]]}]))
    return path


def test_every_command_that_prints_has_a_section():
    headings = re.findall(r"^### (.+)$", (PAGES / "json-output.md").read_text(encoding="utf-8"), re.MULTILINE)
    names = {(command.name or command.callback.__name__).replace("_", "-") for command in app.registered_commands}
    assert {*names, "bulk"} - {"serve"} == set(headings) - {"What reading cost"}


def test_answers_and_evidence(output, document):
    # By the model that ships, whose answers are sure enough to be told beside sentences.
    asked = ("-q", "Where does the red kite nest?", document)
    check("answer", output("answer", *asked))
    check("highlight", output("highlight", *asked))
    check("prune", output("prune", *asked))
    check("rank", output("rank", *asked))


def test_evaluations(output, model, confident, data, version_2, hotpot, tmp_path):
    usual = ("evaluate", *SHORT, "--model")
    compared = output(*usual, model, "--data", data, "--compare-dense", "--batch-size", 4)
    several = output(*usual, confident, "--data", data, "--data", version_2)
    values = compared, several, output(*usual, confident, "--data", version_2), output(*usual, model, "--data", hotpot)
    check("evaluate", *values, below=[("files", "FILE")])
    # Of a file there is what there is of all.
    assert set(several["files"][version_2.name]) <= set().union(*values)
    written = ("--predictions", tmp_path / "found.json")
    check("predict", output("predict", *SHORT, "--model", model, "--data", data, *written))


def test_a_sweep(output, pointed, data):
    check("sweep", output("sweep", *SHORT, "--data", data, "--model", pointed, "--thresholds", "0.5", "--calibrated"))


def test_a_model(output, model, pointed, data, tmp_path):
    pruned = tmp_path / "pruned"
    check(
        "prune-heads",
        output("prune-heads", *SHORT[:4], "--data", data, "--model", model, "--total", 1, "--output", pruned),
    )
    values = output("info", "--model", pointed), output("info", "--model", pruned)
    check("info", *values, below=[("config",), ("encoder", "pruned_heads")])


def test_models_of_models(output, model, plain, tmp_path):
    check("average", output("average", "--model", model, "--model", model, "--output", tmp_path / "average"))
    check("make-student", output("make-student", "--base", plain, "--every", 2, "--output", tmp_path / "student"))


@pytest.mark.slow
def test_an_export(output, model, data, tmp_path):
    from tiny_exports import shared_traces

    with shared_traces():
        check("export", output("export", "--model", model, "--output", tmp_path / "out", "--data", data, "--limit", 2))


@pytest.mark.slow
def test_a_training(call, plain, tmp_path):
    small = ("epochs=1", "batch_size=4", "precision=float32", "windows.max_length=120", "windows.doc_stride=20")
    changes = [word for change in (*small, "skim.block_size=8", "skim.predictor_width=8") for word in ("--set", change)]
    files = [tmp_path / name for name in ("a.json", "b.json")]
    for number, path in enumerate(files):
        path.write_text(json.dumps(squad(2, 6, prefix=f"{number}-")))
    given = ("--train", files[0], "--train", files[1], "--hold-out", 0.5, "--output", tmp_path / "out")
    code, out, err = call("train", "--base", plain, *given, *changes, "--device", "cpu", "--quiet", "--json")
    assert code == 0, err
    check("train", *map(json.loads, out.splitlines()))


def test_what_takes_long_has_the_keys_of_what_it_prints():
    """Not run here: their results are plain values whose fields are printed."""
    check("bulk", BulkSummary().values())
    names = dict.fromkeys(["dense-sdpa"])
    check(
        "benchmark",
        dict.fromkeys(field.name for field in fields(Record)) | {"speedup_over": names, "speedup_spread": names},
    )
    target = dict.fromkeys(field.name for field in fields(Target))
    point = dict.fromkeys(field.name for field in fields(Point))
    found = dict.fromkeys(field.name for field in fields(Calibration)) | {"target": target, "chosen": point}
    inside = [("chosen",), ("dense",), ("front",), ("points", "NAME")]
    check("calibrate", found | {"points": {"fast": found}}, below=inside)
    assert set(documented("file-formats.md", "A point of `calibration.json`")) == set(point)
    confidence = ConfidenceFit(ConfidenceModel((0.0,) * 4, (0.0,) * 4), 1, 1, 1, 0.5).summary()
    check("calibrate-confidence", confidence | {"output": ""})
    evidence = EvidenceFit(UNCALIBRATED, 2, 1, {"threshold": 0.5}, {"threshold": 0.5}).summary()
    check("calibrate-evidence", evidence | {"output": "", "points": {"highlight-98": 0.1}})


def test_a_key_that_the_page_lacks_or_nothing_prints_is_told():
    whole = {"examples": 1, "windows": 1, "seconds": 1.0, "predictions": "x"}
    check("predict", whole)
    with pytest.raises(AssertionError, match="does not tell of"):
        check("predict", whole | {"more": 1})
    with pytest.raises(AssertionError, match="nothing prints"):
        check("predict", {name: value for name, value in whole.items() if name != "windows"})
