"""What Optuna is asked for and what is made of its trials; a stand-in for it where it is not installed."""

import random
import sys
import types

import numpy as np
import pytest

from blockskim.calibration.calibrate import calibrate
from blockskim.calibration.refine import refine
from blockskim.calibration.search import Limits, search
from blockskim.errors import ConfigError


class Trial:
    def __init__(self, values, choose):
        self.values, self.choose, self.params = values, choose, {}

    def suggest_categorical(self, name, choices):
        self.params[name] = self.values.get(name, self.choose.choice(choices))
        assert self.params[name] in choices
        return self.params[name]

    def suggest_int(self, name, low, high):
        self.params[name] = self.values.get(name, self.choose.randint(low, high))
        assert low <= self.params[name] <= high
        return self.params[name]


class Study:
    def __init__(self, directions, sampler):
        assert directions == ["maximize", "minimize"]
        self.sampler, self.queue = sampler, []

    def enqueue_trial(self, values):
        self.queue.append(values)

    def optimize(self, objective, n_trials):
        choose = random.Random(self.sampler["seed"])
        for number in range(n_trials):
            speedup, f1_at_risk = objective(Trial(self.queue[number] if number < len(self.queue) else {}, choose))
            assert speedup > 0 <= f1_at_risk


@pytest.fixture
def stand_in(monkeypatch):
    """A module that answers to the calls of Optuna that are made, and tries at random."""
    optuna = types.ModuleType("optuna")
    optuna.create_study = Study
    optuna.samplers = types.SimpleNamespace(NSGAIISampler=lambda **settings: settings)
    optuna.logging = types.SimpleNamespace(get_verbosity=lambda: 20, set_verbosity=lambda level: None, WARNING=30)
    monkeypatch.setitem(sys.modules, "optuna", optuna)


def check_refined(simulator):
    limits = Limits(30.0)
    path = search(simulator, limits)
    refined, again, other = (refine(path, simulator, limits, 80, seed) for seed in (0, 0, 1))
    assert refined == again
    values = {point.thresholds: simulator.simulate(np.array(point.thresholds)) for point in [*path, *refined, *other]}
    for front in (refined, other):
        speedups = [values[point.thresholds].speedup for point in front]
        assert speedups == sorted(speedups)
        assert all(point.f1_at_risk <= 30.0 for point in front)
        # Every point of the path is there, or one that is as good.
        for point in path:
            assert any(
                values[one.thresholds].speedup >= values[point.thresholds].speedup
                and one.f1_at_risk <= point.f1_at_risk
                for one in front
            )


def test_a_refined_front_is_nowhere_worse_than_the_path(stand_in, simulator):
    check_refined(simulator)


def test_optuna_itself_refines(simulator):
    pytest.importorskip("optuna")
    check_refined(simulator)


def test_points_of_a_refined_front_are_confirmed(stand_in, model, windows, monkeypatch):
    calls = []
    first, again = (
        calibrate(
            model,
            windows,
            max_f1_drop=20.0,
            overhead=0.0,
            trials=40,
            seed=3,
            progress=lambda *one: calls.append(one),
        )
        for _ in range(2)
    )
    assert calls.count(("refining", 1)) >= 80
    assert first.chosen.thresholds == again.chosen.thresholds
    assert all(point.f1 is not None for point in first.front)
    plain = calibrate(model, windows, max_f1_drop=20.0, overhead=0.0)
    assert first.satisfied
    assert plain.satisfied


def test_without_optuna_it_is_said_before_the_model_runs(model, windows, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr("blockskim.calibration.calibrate.record", None)
    with pytest.raises(ConfigError, match=r"blockskim\[calibrate\]"):
        calibrate(model, windows, max_f1_drop=1.0, trials=10)
    with pytest.raises(ConfigError, match="trials"):
        calibrate(model, windows, max_f1_drop=1.0, trials=-1)
