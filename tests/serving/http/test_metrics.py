"""What is counted."""

import pytest

pytest.importorskip("prometheus_client")

from blockskim.serving.http.metrics import Metrics
from blockskim.serving.scheduler import JobReport


def test_of_what_was_given_up_the_stages_count_that_it_came_to():
    metrics = Metrics(lambda: 0, lambda: True)
    metrics.request_done(0, JobReport(3.0, 0.5))
    metrics.request_done(0, JobReport(1.0, 0.5, 0.25, 0.125))
    text = metrics.exposition().decode()
    for stage, count, total in (("wait", 2, 4.0), ("plan", 2, 1.0), ("model", 1, 0.25), ("finish", 1, 0.125)):
        assert f'blockskim_stage_seconds_count{{stage="{stage}"}} {count}.0' in text
        assert f'blockskim_stage_seconds_sum{{stage="{stage}"}} {total}' in text
