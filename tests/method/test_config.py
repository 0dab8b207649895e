import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockskim.errors import BlockSkimError, ConfigError
from blockskim.method.config import ALIGNMENTS, BLOCK_SIZES, INPUTS, SkimConfig, setting_names
from blockskim.method.evidence import EvidenceModel

NAN = float("nan")
INFINITE = float("inf")


@st.composite
def configs(draw):
    layers = draw(st.none() | st.lists(st.integers(1, 40), min_size=1, max_size=8, unique=True).map(sorted))
    one = st.floats(0, 1)
    size = {} if layers is None else {"min_size": len(layers), "max_size": len(layers)}
    return SkimConfig(
        block_size=draw(st.sampled_from(BLOCK_SIZES)),
        alignment=draw(st.sampled_from(ALIGNMENTS)),
        inputs=tuple(draw(st.lists(st.sampled_from(INPUTS), min_size=1, unique=True))),
        layers=layers,
        thresholds=draw(one | st.lists(one, **size)),
        points=draw(
            st.dictionaries(
                st.from_regex(r"[A-Za-z0-9][\w.-]{0,8}", fullmatch=True).filter(str.isascii),
                one | st.lists(one, **size),
                max_size=3,
            )
        ),
        skim_factor=draw(st.floats(0, 1e6) | st.lists(st.floats(0, 1e6), **size)),
        neighbor_relevance=draw(st.floats(0, 1)),
        document_threshold=draw(st.floats(0, 1)),
        evidence=draw(st.none() | st.just(EvidenceModel((1, 0.5, -2, 0.25, 0, 3, -1), 0.3))),
        teaching_factor=draw(st.floats(0, 1e6)),
        balance_factor=draw(st.floats(1e-6, 1e6)),
        predictor_width=draw(st.integers(1, 4096)),
    )


@given(configs())
def test_json_round_trip(config):
    text = json.dumps(config.to_dict(), allow_nan=False)
    assert SkimConfig.from_dict(json.loads(text)) == config


@given(configs())
def test_replacing_nothing_gives_an_equal_copy(config):
    copy = config.replace()
    assert copy == config
    assert copy is not config


def test_replace_changes_a_copy_and_checks_it():
    config = SkimConfig()
    assert config.replace(thresholds=0.25).thresholds == 0.25
    assert config.thresholds == 0.0
    with pytest.raises(ConfigError, match=r"2\.0"):
        config.replace(thresholds=2.0)
    with pytest.raises(ConfigError, match="'threshold'"):
        config.replace(threshold=0.5)


def test_paper_preset_keeps_the_choices_of_the_paper():
    config = SkimConfig.paper()
    assert (config.block_size, config.alignment, config.inputs) == (32, "sequence", ("tiles",))
    assert (config.skim_factor, config.balance_factor) == (0.1, 20.0)
    assert config.resolve_layers(12) == tuple(range(1, 12))
    assert SkimConfig.paper(balance_factor=100.0).balance_factor == 100.0


def test_unknown_settings_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"'blocksize'.*block_size"):
        SkimConfig.from_dict({"blocksize": 32})


def test_config_errors_are_value_errors_that_users_can_put_right():
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, BlockSkimError)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("block_size", 0, "0"),
        ("block_size", 31, "31"),
        ("block_size", -32, "-32"),
        ("block_size", 128, "128"),
        ("block_size", "32", "'32'"),
        ("block_size", None, "None"),
        ("block_size", True, "True"),
        ("alignment", "left", "'left'"),
        ("alignment", None, "None"),
        ("inputs", (), r"\[\]"),
        ("inputs", "tile", "'tile'"),
        ("inputs", ("tiles", "tiles"), "'tiles', 'tiles'"),
        ("inputs", ("tiles", "words"), "'words'"),
        ("inputs", None, "None"),
        ("inputs", 3, "3"),
        ("layers", (), "empty"),
        ("layers", (0, 1), "0"),
        ("layers", (-1,), "-1"),
        ("layers", (3, 2), r"\[3, 2\]"),
        ("layers", (2, 2), r"\[2, 2\]"),
        ("layers", (1.5,), r"1\.5"),
        ("layers", ("1",), "'1'"),
        ("layers", (True,), "True"),
        ("layers", "12", "'12'"),
        ("layers", 3, "3"),
        ("thresholds", -0.1, r"-0\.1"),
        ("thresholds", 1.5, r"1\.5"),
        ("thresholds", NAN, "nan"),
        ("thresholds", INFINITE, "inf"),
        ("thresholds", True, "True"),
        ("thresholds", "0.5", r"'0\.5'"),
        ("thresholds", None, "None"),
        ("thresholds", (0.5, 1.5), r"1\.5"),
        ("thresholds", (0.5, NAN), "nan"),
        ("thresholds", (0.5, None), "None"),
        ("points", [0.5], r"\[0\.5\]"),
        ("points", {"fast": 1.5}, r"'fast'.*1\.5"),
        ("points", {"fast": (0.5, "0")}, "'fast'.*'0'"),
        ("points", {"fast": None}, "'fast'.*None"),
        ("points", {"": 0.5}, "''"),
        ("points", {"very fast": 0.5}, "'very fast'"),
        ("points", {"-fast": 0.5}, "'-fast'"),
        ("points", {3: 0.5}, "3"),
        ("thresholds", ("0.5",), r"'0\.5'"),
        ("skim_factor", -0.1, r"-0\.1"),
        ("skim_factor", NAN, "nan"),
        ("skim_factor", INFINITE, "inf"),
        ("skim_factor", "0.1", r"'0\.1'"),
        ("skim_factor", None, "None"),
        ("skim_factor", (0.1, -0.2), r"-0\.2"),
        ("skim_factor", (0.1, "1"), "'1'"),
        ("document_threshold", -0.1, r"-0\.1"),
        ("document_threshold", 1.5, r"1\.5"),
        ("document_threshold", NAN, "nan"),
        ("document_threshold", "0.5", r"'0\.5'"),
        ("evidence", 0.5, r"0\.5"),
        ("evidence", {"weights": [1, 2]}, r"\[1\.0, 2\.0\]"),
        ("evidence", {"weights": [1, 2, NAN, 3, 4, 5, 6]}, "nan"),
        ("evidence", {"weights": [1, 2, 3, 4, 5, 6, 7], "threshold": 2}, "2"),
        ("evidence", {"weights": [1, 2, 3, 4, 5, 6, 7], "bias": 2}, "bias"),
        ("neighbor_relevance", -0.1, r"-0\.1"),
        ("neighbor_relevance", 1.5, r"1\.5"),
        ("neighbor_relevance", NAN, "nan"),
        ("neighbor_relevance", "0.5", r"'0\.5'"),
        ("teaching_factor", -1, "-1"),
        ("teaching_factor", INFINITE, "inf"),
        ("teaching_factor", None, "None"),
        ("balance_factor", 0, "0"),
        ("balance_factor", -20, "-20"),
        ("balance_factor", INFINITE, "inf"),
        ("balance_factor", True, "True"),
        ("predictor_width", 0, "0"),
        ("predictor_width", -1, "-1"),
        ("predictor_width", 1.5, r"1\.5"),
        ("predictor_width", None, "None"),
    ],
)
def test_impossible_values_are_refused_by_name_and_value(name, value, shown):
    with pytest.raises(ConfigError, match=f"{name.removesuffix('s')}.*{shown}"):
        SkimConfig(**{name: value})
    with pytest.raises(ConfigError, match=f"{name.removesuffix('s')}.*{shown}"):
        SkimConfig.from_dict({name: value})


def test_a_block_size_is_a_whole_number():
    # 32.0 equals 32, but tensors can't be cut by it.
    with pytest.raises(ConfigError, match=r"block_size.*32\.0"):
        SkimConfig(block_size=32.0)


@pytest.mark.parametrize("name", setting_names())
def test_every_setting_has_a_test_of_its_impossible_values(name):
    rows = test_impossible_values_are_refused_by_name_and_value.pytestmark[0].args[1]
    assert name in {row[0] for row in rows}


def test_sequences_of_any_kind_become_tuples():
    config = SkimConfig(inputs=["tiles"], layers=[1, 2], thresholds=[0, 1])
    assert (config.inputs, config.layers, config.thresholds) == (("tiles",), (1, 2), (0.0, 1.0))
    assert SkimConfig(inputs="tiles").inputs == ("tiles",)


def test_one_threshold_a_layer_must_match_the_layers():
    assert SkimConfig(layers=(1, 3), thresholds=(0.1, 0.2)).thresholds == (0.1, 0.2)
    with pytest.raises(ConfigError, match="3 thresholds for 2 layers"):
        SkimConfig(layers=(1, 3), thresholds=(0.1, 0.2, 0.3))


def test_operating_points_are_thresholds_by_name():
    config = SkimConfig(layers=(1, 3), points={"exact": 0, "fast": [0.1, 0.2]})
    assert config.point("exact") == 0
    assert config.point("fast") == (0.1, 0.2)
    assert config.to_dict()["points"] == {"exact": 0, "fast": [0.1, 0.2]}
    with pytest.raises(ConfigError, match=r"'slow'.*exact, fast"):
        config.point("slow")
    with pytest.raises(ConfigError, match=r"'slow'.*none"):
        SkimConfig().point("slow")
    with pytest.raises(ConfigError, match="3 thresholds of point 'fast' for 2 layers"):
        SkimConfig(layers=(1, 3), points={"fast": (0.1, 0.2, 0.3)})


def test_settings_that_were_saved_before_there_were_points_are_read():
    values = SkimConfig(thresholds=0.2).to_dict()
    del values["points"]
    assert SkimConfig.from_dict(values) == SkimConfig(thresholds=0.2)


def test_a_copy_has_points_of_its_own():
    config = SkimConfig(points={"fast": 0.5})
    config.replace().points["slow"] = 0.1
    assert config.points == {"fast": 0.5}


@given(st.integers(2, 48))
def test_every_layer_but_the_last_has_a_predictor(num_layers):
    assert SkimConfig().resolve_layers(num_layers) == tuple(range(1, num_layers))


def test_named_layers_are_taken_as_they_are():
    assert SkimConfig(layers=(2, 5, 11)).resolve_layers(12) == (2, 5, 11)


@pytest.mark.parametrize("layers", [(12,), (1, 12), (13,), (3, 40)])
def test_no_predictor_on_the_last_layer(layers):
    with pytest.raises(ConfigError, match=f"{layers[-1]}.*12 layers.*1 to 11"):
        SkimConfig(layers=layers).resolve_layers(12)


@pytest.mark.parametrize("num_layers", [0, 1])
def test_a_model_of_one_layer_has_nothing_to_skim(num_layers):
    with pytest.raises(ConfigError, match=f"{num_layers} layer"):
        SkimConfig().resolve_layers(num_layers)


def test_one_skim_factor_a_layer_must_match_the_layers():
    assert SkimConfig(layers=(1, 2), skim_factor=(0.1, 0.2)).skim_factor == (0.1, 0.2)
    with pytest.raises(ConfigError, match="skim_factor"):
        SkimConfig(layers=(1, 2), skim_factor=(0.1,))


@pytest.mark.parametrize(
    ("factor", "expected"), [(0, False), (0.0, False), (0.1, True), ((0, 0.0), False), ((0, 0.1), True)]
)
def test_there_is_a_skim_loss_where_a_layer_has_a_factor(factor, expected):
    assert SkimConfig(layers=(1, 2), skim_factor=factor).has_skim_loss is expected


def test_numbers_of_numpy_become_those_of_python():
    config = SkimConfig(
        block_size=np.int64(8),
        layers=[*np.arange(1, 3).tolist(), np.int32(5)],
        thresholds=[np.float32(0.5), np.float64(0.25), np.int8(0)],
        points={"fast": np.float32(0.5)},
        skim_factor=np.float32(0.5),
        balance_factor=np.int64(20),
        neighbor_relevance=np.float16(0.5),
        predictor_width=np.uint8(64),
    )
    expected = SkimConfig(
        block_size=8,
        layers=(1, 2, 5),
        thresholds=(0.5, 0.25, 0),
        points={"fast": 0.5},
        skim_factor=0.5,
        balance_factor=20,
        neighbor_relevance=0.5,
        predictor_width=64,
    )
    assert config == expected
    assert repr(config) == repr(expected)
    assert json.dumps(config.to_dict()) == json.dumps(expected.to_dict())


def test_whole_numbers_stay_whole():
    assert repr(SkimConfig(balance_factor=20, thresholds=0).to_dict()["balance_factor"]) == "20"


@pytest.mark.parametrize("value", [np.bool_(True), np.float32("nan"), np.array([0.5]), np.str_("1")])
@pytest.mark.parametrize("name", ["balance_factor", "thresholds", "block_size"])
def test_what_numpy_has_besides_numbers_is_refused(name, value):
    with pytest.raises(ConfigError, match=name.removesuffix("s")):
        SkimConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("block_size", 32), ("alignment", "sequence"), ("inputs", ("tiles",)), ("layers", (1,)), ("predictor_width", 8)],
)
@pytest.mark.parametrize(
    "duplicate",
    [
        lambda config: config,
        copy.copy,
        copy.deepcopy,
        dataclasses.replace,
        lambda config: config.replace(thresholds=0.5),
        lambda config: pickle.loads(pickle.dumps(config)),
    ],
)
def test_what_predictors_are_built_for_can_not_change_in_place(duplicate, name, value):
    config = duplicate(SkimConfig(thresholds=0.5, points={"fast": 0.75}))
    with pytest.raises(ConfigError, match=f"{name} can't change from .* in place"):
        setattr(config, name, value)
    assert config == SkimConfig(thresholds=0.5, points={"fast": 0.75})
    assert getattr(config.replace(**{name: value}), name) == value


def test_all_else_can_change_in_place():
    config = SkimConfig(layers=[1, 2])
    config.thresholds = (0.25, 0.5)
    config.points["fast"] = 0.75
    config.skim_factor, config.balance_factor, config.neighbor_relevance, config.teaching_factor = 0.1, 2.0, 0.5, 0.2
    assert config == SkimConfig(
        layers=(1, 2),
        thresholds=(0.25, 0.5),
        points={"fast": 0.75},
        skim_factor=0.1,
        balance_factor=2.0,
        neighbor_relevance=0.5,
        teaching_factor=0.2,
    )
