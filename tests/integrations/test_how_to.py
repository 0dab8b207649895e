"""The Python of the pages about frameworks runs as it stands."""

import importlib.util
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
NEEDS = {"haystack": "haystack", "langchain": "langchain_core", "llama-index": "llama_index"}


@pytest.mark.parametrize("page", sorted(NEEDS))
def test_a_page_runs(page):
    if importlib.util.find_spec(NEEDS[page]) is None:
        pytest.skip(f"{NEEDS[page]} is not installed")
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, f"{page}.md", "exec"), names)
    assert "query" in names or "answers" in names
