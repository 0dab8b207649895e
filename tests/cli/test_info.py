import json

import pytest

from blockskim import __version__
from blockskim.processor import processor
from tiny_answerers import new_model


def test_json(call, model):
    code, out, err = call("info", "--model", model, "--json", "--device", "cpu", "--dtype", "float32")
    assert (code, err) == (0, "")
    values = json.loads(out)
    expected = new_model()
    assert values["model"] == model
    assert values["config"] == expected.skim_config.to_dict()
    assert values["thresholds"] == {"1": 0.4, "2": 0.4}
    assert values["parameters"] == {
        "total": sum(value.numel() for value in expected.parameters()),
        "predictors": sum(value.numel() for value in expected.predictors.parameters()),
    }
    assert values["encoder"] == {"type": "bert", "layers": 3, "hidden_size": 32, "max_tokens": 200}
    assert (values["device"], values["dtype"]) == ("cpu", "float32")
    assert values["versions"]["blockskim"] == __version__
    assert "numpy" in values["versions"] and "onnxruntime" in values["versions"]
    assert values["processor"]["name"] == processor()[0]
    assert values["calibrated"] == {"confidence": False, "evidence": False}
    assert values["exported"] == []
    assert values["answers_with"] == {"backend": "torch", "device": "cpu", "dtype": "float32"}


def test_people_see_the_same(call, model):
    code, out, _ = call("info", "--model", model)
    assert code == 0
    for word in ("block_size 8", "predictors", "thresholds", __version__):
        assert word in out
    # None are named in its settings, which does not mean that there are none.
    assert "layers all but the last" in " ".join(out.split())


def test_a_plain_checkpoint_has_no_predictors(call, plain):
    values = json.loads(call("info", "--model", plain, "--json")[1])
    assert values["skims"] is False
    assert values["parameters"]["predictors"] == 0
    assert values["thresholds"] == {}
    assert values["points"] == {}


def test_operating_points_are_shown(call, pointed):
    values = json.loads(call("info", "--model", pointed, "--json")[1])
    assert values["points"] == {"exact": {"1": 0.0, "2": 0.0}, "fast": {"1": 0.6, "2": 0.7}}
    out = call("info", "--model", pointed)[1]
    assert "1 0.6, 2 0.7" in out


def test_what_answers_with_an_exported_model_is_told(call):
    from tiny_exports import exported_answerer

    directory = exported_answerer().directory
    values = json.loads(call("info", "--model", directory, "--json")[1])
    assert values["exported"] == ["float32"]
    # What PyTorch would take for it is told by itself.
    assert values["answers_with"] == {"backend": "onnx", "device": "cpu", "dtype": "float32"}
    code, out, _ = call("info", "--model", directory, "--json", "--dtype", "bfloat16")
    assert json.loads(out)["answers_with"] == {"backend": "torch", "device": "cpu", "dtype": "bfloat16"}
    # The network that is described is that of PyTorch, which has no int8.
    code, _, err = call("info", "--model", directory, "--dtype", "int8")
    assert code == 2 and "int8" in err


def test_what_was_calibrated_is_told(call, confident):
    assert json.loads(call("info", "--model", confident, "--json")[1])["calibrated"]["confidence"]


@pytest.mark.parametrize("command", ["calibrate", "sweep"])
def test_number_formats_that_pytorch_lacks_are_not_offered(call, command):
    code, _, err = call(command, "--data", "none", "--dtype", "int8")
    assert code == 2 and "int8" in err
    assert "int8" not in call(command, "--help")[1]
