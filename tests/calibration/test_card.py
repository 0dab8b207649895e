"""The card of a calibrated copy."""

import pytest
import yaml

from blockskim.calibration.card import calibration_card
from blockskim.calibration.points import Point
from blockskim.calibration.result import Calibration
from blockskim.calibration.targets import Target
from blockskim.training.model_card import HEADER

DENSE = Point((0.0,), 1.0, 0.0, f1=80.0, exact_match=70.0)
FAST = Point((0.3,), 1.5, 0.2, f1=79.5, exact_match=69.25)
FOUND = Calibration(FAST, True, DENSE, (FAST,), 100, Target(max_f1_drop=0.5))


def header_of(card):
    return yaml.safe_load(calibration_card("base", FOUND, {}, {}, card).split("---\n")[1])


def test_the_head_of_the_models_card_stays_without_its_scores():
    head = "---\nlibrary_name: other\nlicense: apache-2.0\nlanguage:\n- no\n- en\nmodel-index:\n- f1: 99\n---\n"
    assert header_of(f"{head}# Base\n\n---\n") == {
        **HEADER,
        "library_name": "other",
        "license": "apache-2.0",
        "language": ["no", "en"],
    }


@pytest.mark.parametrize("card", ["", "# Base\n---\n", "---\n", "---\na: [\n---\n", "---\n- a\n---\n", "---\n\n---\n"])
def test_a_card_without_a_head_that_can_be_read_gets_that_of_every_model(card):
    assert header_of(card) == HEADER


@pytest.mark.parametrize("card", ["---\nlicense: mit\n---", "\ufeff---\nlicense: mit\ntags:\n---\n# Base\n"])
def test_a_head_is_read_wherever_the_hub_reads_one(card):
    """A card may be all head, begin with a byte-order mark, or have a key with nothing behind it."""
    assert header_of(card) == {**HEADER, "license": "mit"}


def test_every_point_of_the_copy_has_a_row():
    before = {"slow": {"target": {"max_f1_drop": 0.1}, "chosen": {"thresholds": [0.1], "flops_speedup": 1.1}}}
    before["slow"] |= {"satisfied": True}
    before["slow"]["chosen"] |= {"f1_at_risk": 0.0, "f1": 79.9}
    card = calibration_card(
        "base", FOUND, {"quick": FOUND}, {**before, "unknown": None, "odd": {"target": "of long ago"}}
    )
    rows = [line for line in card.splitlines() if line.startswith("|")][2:]
    assert rows == [
        "| nothing dropped | | 80.00 | 70.00 | 1.000 |",
        "| default, where no point is named | at most 0.5 F1 lost | 79.50 | 69.25 | 1.500 |",
        "| quick | at most 0.5 F1 lost | 79.50 | 69.25 | 1.500 |",
        "| slow | at most 0.1 F1 lost; of before | 79.90 | – | 1.100 |",
        "| unknown | of before | – | – | – |",
        "| odd | of before | – | – | – |",
    ]


def test_it_says_what_the_weights_were_trained_on():
    assert "What base was trained on stands in its own card" in calibration_card("base", FOUND, {}, {})
    card = calibration_card("base", FOUND, {}, {}, trained_on=["kites.json", "caf\udce9.json"])
    assert "Its weights were trained on kites.json, caf?.json." in card
