"""What is said of packages that come with an extra and are not there."""

import sys

import pytest

from blockskim.errors import BlockSkimError, ConfigError
from blockskim.extras import has, load_matplotlib, load_optuna, load_pyarrow, load_ray, raise_missing, torch_needed


def test_whether_a_package_is_installed():
    assert has("numpy")
    assert not has("no_such_package")


@pytest.mark.parametrize(
    ("package", "load", "message"),
    [
        (
            "optuna",
            load_optuna,
            "refining thresholds needs optuna, which is not installed: pip install 'blockskim[calibrate]'",
        ),
        (
            "matplotlib",
            load_matplotlib,
            "a plot needs matplotlib, which is not installed: pip install 'blockskim[plot]'",
        ),
        (
            "pyarrow",
            load_pyarrow,
            "reading and writing Parquet needs pyarrow, which is not installed: pip install 'blockskim[bulk]'",
        ),
        ("ray", load_ray, "running on a cluster needs Ray, which is not installed: pip install 'blockskim[ray]'"),
    ],
)
def test_the_error_names_the_extra(package, load, message, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert not has(package)
    with pytest.raises(ConfigError) as error:
        load()
    assert str(error.value) == message


def test_matplotlib_draws_to_files_alone():
    matplotlib = pytest.importorskip("matplotlib")
    pyplot = load_matplotlib()
    assert matplotlib.get_backend().lower() == "agg"
    assert pyplot.subplots


def test_the_class_of_the_error_is_the_callers_choice():
    with pytest.raises(BlockSkimError) as error:
        raise_missing("training needs the training extra", "train", BlockSkimError)
    assert not isinstance(error.value, ConfigError)
    assert str(error.value) == "training needs the training extra: pip install 'blockskim[train]'"


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_pytorch_and_transformers_are_one_extra(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError) as error, torch_needed():
        __import__(package)
    assert str(error.value) == (
        f"this needs PyTorch and transformers, and {package} is not installed: pip install 'blockskim[torch]'"
    )
