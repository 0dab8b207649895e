"""When a worker seems to hang, and when it surely does."""

import pytest

from blockskim.serving.pulse import HANGING, HANGING_TIMES, SILENT, SLOW, Pulse


def test_it_is_asked_once_until_it_answers():
    pulse = Pulse(3.0)
    assert [pulse.tick() for _ in range(3)] == [True, False, False]
    pulse.answered(None)
    assert pulse.silence == 0
    assert pulse.tick()


@pytest.mark.parametrize("timeout", [3.0, 45.0])
def test_without_an_answer_it_is_slow_first_and_then_lost(timeout):
    pulse, told = Pulse(timeout), []
    for _ in range(100):
        pulse.tick()
        told.append((pulse.well, bool(pulse.fault)))
    assert told.index((False, False)) == SLOW
    assert told.index((False, True)) == max(SILENT, timeout)


@pytest.mark.parametrize("timeout", [0.1, 3.0, 30.0])
def test_on_one_batch_for_long_it_is_slow_first_and_then_lost(timeout):
    pulse, told = Pulse(timeout), []
    for _ in range(400):
        pulse.tick()
        pulse.answered(7)
        told.append((pulse.well, bool(pulse.fault)))
    assert told.index((False, False)) == max(SLOW, timeout)
    assert told.index((False, True)) == max(HANGING, HANGING_TIMES * timeout)
    assert "the same batch" in pulse.fault
    pulse.answered(8)
    assert pulse.well and not pulse.fault


def test_seconds_of_a_late_answer_belong_to_the_batch():
    pulse = Pulse(3.0)
    pulse.answered(7)
    for _ in range(4):
        pulse.tick()
    pulse.answered(7)
    assert pulse.running == 4
