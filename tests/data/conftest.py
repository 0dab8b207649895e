"""A way to write data files."""

import pytest


@pytest.fixture
def save(tmp_path):
    """Writes text or bytes into a file of the test's folder."""

    def write(content, name="file"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
