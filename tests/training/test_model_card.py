"""The card beside a trained model."""

import math

from blockskim.model.data_record import DataRecord
from blockskim.training.model_card import finite, model_card
from blockskim.training.recipe import Recipe

SCORES = {"step": 20, "eval_exact_match": 70.0, "eval_f1": 80.5, "eval_auc_1": math.nan, "eval_kept98_1": math.nan}


def test_data_is_told_as_it_was_used():
    record = DataRecord({"a.json": 1200, "b.json": 7}, 31, {"a.json": 60}, 0.05)
    card = model_card("base", record, Recipe(), [SCORES], 20)
    for line in ("| a.json | 1,200 |", "| b.json | 7 |", "| the same, of another text | 31 |", "| a.json | 60 |"):
        assert line in card.splitlines()
    assert "Of 0.05 of the articles, which were held out." in card
    bare = model_card("base", DataRecord({"examples": 8}, 0, {}), Recipe(), [], None)
    assert "held out" not in bare and "another text" not in bare and "## Development data" not in bare
    assert "There was no development data." in bare


def test_figures_that_do_not_exist_are_dashes():
    card = model_card("base", DataRecord({"examples": 8}, 0, {"examples": 2}), Recipe(), [SCORES], 20)
    assert "Exact match 70.00, F1 80.50 (step 20)." in card
    assert "| 1 | – | – |" in card
    assert "nan" not in card.split("## Development scores")[1].split("## Recipe")[0]


def test_entries_of_the_log_are_plain_json():
    assert finite({"step": 1, "a": math.nan, "b": -math.inf, "c": 0.5}) == {"step": 1, "a": None, "b": None, "c": 0.5}
