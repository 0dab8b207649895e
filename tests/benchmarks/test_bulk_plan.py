"""``benchmarks/bulk_plan.py``: the simulation gives what can be worked out by hand; no share of time is missing."""

import pytest


@pytest.fixture
def plan(script):
    module = script("bulk_plan")
    shard = module.Measured(rows=100, num_bytes=1000, seconds=(10.0,))

    def simulate(rows, machines, workers_each, **settings):
        settings = {"spread": 0.0, "restart": 0.0, **settings}
        return module.simulate(shard, module.Cluster(machines, workers_each, **settings), rows)

    return simulate


def test_one_worker_does_one_shard_after_the_other(plan):
    found = plan(1000, 1, 1, storage=1e12, price=36.0)
    assert found.hours == pytest.approx(100 / 3600)
    assert found.rows_per_second == pytest.approx(10)
    assert found.efficiency == pytest.approx(1)
    assert found.cost == pytest.approx(1)


def test_many_workers_share_the_shards(plan):
    assert plan(100_000, 10, 10, storage=1e12).hours == pytest.approx(100 / 3600)
    # Eleven shards for ten workers take as long as twenty.
    assert plan(1100, 10, 1, storage=1e12).idle == pytest.approx(0.45)


def test_storage_limits_them(plan):
    found = plan(100_000, 10, 10, storage=100.0)
    assert found.rows_per_second == pytest.approx(10, rel=0.01)
    assert found.waiting > 0.8


def test_failures_cost_time(plan):
    whole, failing = (plan(100_000, 10, 10, hours_to_failure=hours, restart=60.0) for hours in (0, 0.05))
    assert whole.lost == 0
    assert failing.lost > 0.02
    assert failing.hours > whole.hours
    for found in (whole, failing):
        shares = found.efficiency + found.waiting + found.lost + found.idle
        assert shares == pytest.approx(1, abs=0.01)
