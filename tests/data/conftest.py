"""A way to write data files."""

import json

import pytest


@pytest.fixture
def save(tmp_path):
    """Writes text, bytes, or anything else as JSON, into a file of the test's folder."""

    def write(content, name="data.json"):
        path = tmp_path / name
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
