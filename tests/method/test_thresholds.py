import numpy as np
import pytest

from blockskim.errors import ConfigError
from blockskim.method.thresholds import (
    asked_thresholds,
    check_point_name,
    check_threshold,
    layer_factors,
    layer_thresholds,
)


@pytest.mark.parametrize("value", [0, 0.0, 1, 1.0, 0.5])
def test_thresholds_from_0_to_1_are_possible(value):
    assert check_threshold(value) == value
    assert isinstance(check_threshold(value), float)


def test_layer_thresholds_spread_a_number_and_count_a_sequence():
    assert layer_thresholds(0.5, (2, 4, 6)) == (0.5, 0.5, 0.5)
    assert layer_thresholds([0, 0.5, 1], (2, 4, 6)) == (0.0, 0.5, 1.0)
    with pytest.raises(ConfigError, match=r"1 thresholds for 3 layers.*2, 4, 6"):
        layer_thresholds([0.5], (2, 4, 6))
    with pytest.raises(ConfigError, match="-1"):
        layer_thresholds([0.5, -1], (1, 2))
    with pytest.raises(ConfigError, match="2"):
        layer_thresholds(2, (1, 2))


def test_a_skim_factor_for_all_layers_or_one_each():
    assert layer_factors(0.1, (1, 2, 5)) == (0.1, 0.1, 0.1)
    assert layer_factors((1, 0.5, 0), (1, 2, 5)) == (1.0, 0.5, 0.0)
    with pytest.raises(ConfigError, match=r"2 skim_factor for 3 layers.*1, 2, 5"):
        layer_factors((1, 0.5), (1, 2, 5))


def test_numbers_of_numpy_are_thresholds():
    for value in (np.float32(0.5), np.float64(0.5)):
        assert layer_thresholds(value, (2, 4)) == (0.5, 0.5)
        assert layer_thresholds([value, 0], (2, 4)) == (0.5, 0.0)
        assert {type(number) for number in layer_thresholds([value, np.int64(1)], (2, 4))} == {float}
    assert layer_thresholds(np.array([0.25, 1.0]), (2, 4)) == (0.25, 1.0)
    assert layer_factors(np.int64(2), (1, 3)) == (2.0, 2.0)


@pytest.mark.parametrize("value", [True, None, "0.5", np.bool_(True), np.float32("nan")])
def test_what_is_no_number_is_no_threshold(value):
    with pytest.raises(ConfigError, match="it must be a number"):
        check_threshold(value)


@pytest.mark.parametrize("name", ["fast", "0", "a.b-c_d", "x" * 100])
def test_names_of_points(name):
    assert check_point_name(name) == name


@pytest.mark.parametrize("name", ["", "-fast", "very fast", "fäst", "fast\n", None, 3])
def test_impossible_names_of_points(name):
    with pytest.raises(ConfigError, match="can't be called"):
        check_point_name(name)


def test_layers_with_a_threshold_of_0_are_asked_where_all_are():
    assert asked_thresholds(None, (0.5, 0.0), (2, 4)) == {2: 0.5}
    assert asked_thresholds(0.0, (0.5, 0.0), (2, 4)) == {}
    assert asked_thresholds([0, 0.25], (0.5, 0.0), (2, 4), all_layers=True) == {2: 0.0, 4: 0.25}
    with pytest.raises(ConfigError):
        asked_thresholds([0.5], (0.5, 0.0), (2, 4))
