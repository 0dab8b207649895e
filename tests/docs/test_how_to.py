"""What the how-to pages show is run as it stands there."""

import os
import re
import shlex
from pathlib import Path

import pytest

from blockskim.cli.main import run

ROOT = Path(__file__).parents[2]
# Pages whose every block runs as it stands; those about frameworks run in tests/integrations.
PAGES = [ROOT / "docs" / "how-to" / f"{name}.md" for name in ("highlight", "prune")]


def fenced(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(autouse=True)
def in_a_copy(tmp_path, monkeypatch):
    """The working directory has the files that the pages name, and may be written to."""
    (tmp_path / "examples").mkdir()
    for name in ("examples/demo.txt", "README.md"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    environment = dict(os.environ)
    yield
    for name in set(os.environ) - set(environment):
        del os.environ[name]


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_code_runs(page):
    names = {}
    blocks = fenced(page, "python")
    assert blocks
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_commands_run(page, capsys):
    lines = [line for block in fenced(page, "bash") for line in block.splitlines()]
    assert lines
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "blockskim"
        assert run(arguments) == 0
        assert "5 September 1977" in capsys.readouterr().out or arguments[0] == "rank"
