"""What every test shares: no network, one thread a test process, fixed random examples, no deprecated calls."""

import os

# Read when the libraries are imported, so set before any test module imports them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if _WORKER:
    os.environ["OMP_NUM_THREADS"] = "1"

import importlib.util
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests run the same examples everywhere; HYPOTHESIS_PROFILE=search looks for new ones, and takes its time.
settings.register_profile(
    "ci", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
# Where another environment runs the same tests in full.
settings.register_profile("few", parent=settings.get_profile("ci"), max_examples=5)
settings.register_profile("search", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


_HAS_TORCH = importlib.util.find_spec("torch") is not None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what leaves out tests that another environment runs."""
    parser.addoption("--with-torch", action="store_true", help="only modules whose tests need PyTorch")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out what imports PyTorch or transformers where they are not installed: the rest must work without."""
    from torch_free import mentions_extras, needs_torch

    # A folder's conftest is for all of its tests.
    file = collection_path / "conftest.py" if collection_path.is_dir() else collection_path
    if file.suffix != ".py" or not file.is_file():
        return None
    if not _HAS_TORCH:
        return True if needs_torch(file) else None
    chosen = config.getoption("--with-torch") and file.name.startswith("test_")
    return True if chosen and not (needs_torch(file) or mentions_extras(file)) else None


def pytest_configure(config: pytest.Config) -> None:
    """Keeps test processes that run side by side from taking each other's cores."""
    if _WORKER and _HAS_TORCH:
        import torch

        torch.set_num_threads(1)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Takes back the threads that a command under test asked for: with two processes they would wait for each other."""
    torch = sys.modules.get("torch")
    if _WORKER and torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what needs a CUDA device where there is none."""
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


class _DeprecationRecords(logging.Handler):
    """Collects the log messages that announce a deprecation."""

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "deprecated" in message.lower():
            self.messages.append(message)


@pytest.fixture(autouse=True)
def no_deprecated_transformers_calls() -> Iterator[None]:
    """Fails a test during which transformers logs that something is deprecated.

    Deprecations that it raises as warnings are errors already (``filterwarnings`` in pyproject.toml).
    """
    logger = logging.getLogger("transformers")
    handler = _DeprecationRecords()
    logger.addHandler(handler)
    level = logger.level
    if level > logging.WARNING:  # an earlier test may have silenced it
        logger.setLevel(logging.WARNING)
    if "transformers.utils.logging" in sys.modules:
        # `warning_once` remembers across tests; forget, or only the first of them would fail.
        sys.modules["transformers.utils.logging"].warning_once.cache_clear()
    try:
        yield
    finally:
        logger.removeHandler(handler)
    if handler.messages:
        pytest.fail("transformers calls this deprecated:\n" + "\n".join(handler.messages), pytrace=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of public data sets, ``shared/data`` beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared/data beside the checkout")
    return folder
