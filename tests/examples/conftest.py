"""What the examples need that is not Python: Node, and what ``npm ci`` installs."""

import shutil
import subprocess

import pytest

from javascript import LIBRARY, Node


@pytest.fixture(scope="session")
def node() -> Node:
    """Node, if it is there and new enough."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("needs Node")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < 20:
        pytest.skip(f"needs Node 20; there is {version}")
    return Node(path)


@pytest.fixture(scope="session")
def node_with_onnx(node: Node) -> Node:
    """Node that finds onnxruntime-web."""
    if not LIBRARY.is_dir():
        pytest.skip("needs what `npm ci` in examples/browser installs")
    return node
