"""A Ray cluster of several nodes on this machine, reached by loopback alone."""

import signal
import time
from contextlib import contextmanager

SECONDS = 240.0


@contextmanager
def ray_nodes(count=2):
    """A cluster whose head has no processors and whose other nodes have one each; this process belongs to it.

    Yields:
        The cluster, with ``worker_nodes``, ``add_node`` and ``remove_node``.
    """
    import ray
    from ray.cluster_utils import Cluster

    size = {"object_store_memory": 100_000_000, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **size})
    try:
        for _ in range(count):
            cluster.add_node(num_cpus=1, **size)
        ray.init(address=cluster.address, _node_ip_address="127.0.0.1", log_to_driver=False, logging_level="ERROR")
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def bounded(seconds=SECONDS):
    """What takes longer is interrupted: a cluster that lost its nodes waits for ever."""

    def late(_number, _frame):
        raise TimeoutError(f"not done after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def wait_until(condition, seconds=60.0):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
