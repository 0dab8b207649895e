"""What a run is told of its inputs."""

from dataclasses import replace

import pytest

from blockskim.training import train as training
from synthetic_task import examples
from tiny_encoders import save_encoder
from training_runs import short_recipe

RECIPE = short_recipe(epochs=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("base"))


def long_ones(count, seed, every):
    """Examples of which some have a question that is longer than a window takes."""
    return [
        replace(example, question=example.question + " where" * 20) if number % every == 0 else example
        for number, example in enumerate(examples(count, seed))
    ]


def test_questions_that_are_cut_are_counted_in_one_warning(base, tmp_path, caplog):
    train, dev, cache = long_ones(8, 0, 2), long_ones(6, 1, 3), tmp_path / "cache"
    counts = "4 of 8 to learn from, 2 of 6 to measure by"
    # Also where the windows are there already.
    for name in ("one", "two"):
        caplog.clear()
        training.train(base, train, dev, tmp_path / name, RECIPE, device="cpu", cache_dir=cache)
        found = [record.getMessage() for record in caplog.records if "questions" in record.getMessage()]
        assert found == [f"questions longer than 10 tokens: {counts}; the rest of them is not read"]


def test_no_warning_counts_nothing(base, tmp_path, caplog):
    training.train(base, examples(8, 0), [], tmp_path / "run", RECIPE, device="cpu")
    assert "questions longer" not in caplog.text
