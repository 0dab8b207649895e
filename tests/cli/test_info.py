import json

from blockskim import __version__
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


def test_people_see_the_same(call, model):
    code, out, _ = call("info", "--model", model)
    assert code == 0
    for word in ("block_size 8", "predictors", "thresholds", __version__):
        assert word in out


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
