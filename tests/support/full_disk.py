"""A disk that is full: files can't get larger than a limit, so that the system itself refuses what anybody writes."""

import resource
from contextlib import contextmanager


@contextmanager
def full_disk(limit):
    """No file gets larger than ``limit`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
