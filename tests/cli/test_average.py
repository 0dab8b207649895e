import json
import shutil
import time

import pytest

from impossible_sizes import IMPOSSIBLE_SIZES, SLOWEST, claim_impossible_size


def test_an_average_answers(call, model, tmp_path):
    code, out, _ = call("average", "--model", model, "--model", model, "--output", tmp_path / "average", "--json")
    assert code == 0
    assert json.loads(out) == {"models": [model] * 2, "weights": [0.5, 0.5], "output": str(tmp_path / "average")}
    code, out, _ = call("info", "--model", tmp_path / "average", "--json")
    assert json.loads(out)["skims"]
    code, out, _ = call("answer", "-q", "Where?", "-c", "It nests in Wales.", "--model", tmp_path / "average", "--json")
    assert code == 0


def test_people_are_told_where_it_is(call, model, tmp_path):
    arguments = ("--model", model, "--model", model, "--weights", "1,3", "--output", tmp_path / "average")
    code, out, _ = call("average", *arguments)
    assert code == 0
    assert out.startswith("the average of 2 models is in ")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--model", "MODEL", "--output", "OUT"), 2, "two or more models"),
        (("--model", "MODEL", "--model", "MODEL", "--weights", "1", "--output", "OUT"), 2, "1 weights for 2 models"),
        (("--model", "MODEL", "--model", "MODEL", "--weights", "a,b", "--output", "OUT"), 2, "no list of weights"),
        (("--model", "MODEL", "--model", "MODEL", "--weights", "inf,1", "--output", "OUT"), 2, "a weight is inf"),
        (("--model", "MODEL", "--model", "MODEL", "--weights", "1,1e999", "--output", "OUT"), 2, "a weight is inf"),
        (("--model", "MODEL", "--model", "MODEL", "--weights", "nan,1", "--output", "OUT"), 2, "weights is nan"),
        (("--model", "MODEL", "--model", "MODEL", "--weights", "-1,1", "--output", "OUT"), 2, "a weight is -1.0"),
        (("--model", "MODEL", "--model", "MODEL", "--weights", "0,0", "--output", "OUT"), 2, "all weights are 0"),
        (("--model", "MODEL", "--model", "PLAIN", "--output", "OUT"), 1, "no Block-Skim model"),
        (("--model", "MODEL", "--model", "./none", "--output", "OUT"), 1, "no such model directory"),
        (("--model", "MODEL", "--model", "MODEL", "--output", "MODEL"), 2, "exists already"),
    ],
)
def test_bad_input(call, model, plain, tmp_path, arguments, code, message):
    names = {"MODEL": model, "PLAIN": plain, "OUT": tmp_path / "out"}
    found, out, err = call("average", *(names.get(argument, argument) for argument in arguments))
    assert (found, out) == (code, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "spoil", [*IMPOSSIBLE_SIZES.values(), claim_impossible_size], ids=[*IMPOSSIBLE_SIZES, "the file of weights"]
)
def test_weights_of_impossible_size_are_refused(call, model, tmp_path, spoil):
    spoiled = shutil.copytree(model, tmp_path / "spoiled")
    spoil(spoiled)
    for models in ((model, spoiled), (spoiled, model)):
        began = time.monotonic()
        named = [word for name in models for word in ("--model", name)]
        code, out, err = call("average", *named, "--output", tmp_path / "out")
        assert (code, out) == (1, "")
        assert err.startswith(f"error: {spoiled}: ") and err.count("\n") == 1 and len(err) < 400
        assert time.monotonic() - began < SLOWEST
    assert [path.name for path in tmp_path.iterdir()] == ["spoiled"]
