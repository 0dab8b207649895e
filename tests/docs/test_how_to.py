"""What README, quickstart and how-to pages show is run as it stands there.

A fenced block runs that stands right under ``<!-- run -->``. Those of a page run in their order, in one folder.
"""

import contextlib
import importlib.util
import io
import logging
import os
import re
import shlex
from pathlib import Path

import pytest

from blockskim.cli.main import run
from how_to_folder import DATA, MODELS, ROOT, fill

PAGES = [ROOT / "README.md", ROOT / "docs" / "quickstart.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))]
BLOCK = re.compile(r"^<!-- run -->\n```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
LANGUAGES = {"python", "bash"}
QUICK = {"README.md", "quickstart.md", "highlight.md"}
"""Pages that are run where there is little time."""
# What a page needs beside the plain installation.
EXTRAS = {"haystack": "haystack", "langchain": "langchain_core", "llama-index": "llama_index"}
TORCH = (*MODELS, "load(", 'backend="torch"', "register_pipeline", "transformers")
BY_PAGE = {page.relative_to(ROOT): BLOCK.findall(page.read_text(encoding="utf-8")) for page in PAGES}


@pytest.fixture(autouse=True)
def as_found():
    """Leaves the environment and logging as they were."""
    environment = dict(os.environ)
    logger = logging.getLogger("blockskim")
    handlers, level, propagate = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)
    for name in set(os.environ) - set(environment):
        del os.environ[name]


def need(*modules):
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page), marks=() if page.name in QUICK else pytest.mark.slow)
        for page, blocks in BY_PAGE.items()
        if blocks
    ],
)
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    blocks = BY_PAGE[page]
    text = "".join(code for _, code in blocks)
    need(*(module for name, module in EXTRAS.items() if page.stem == name))
    if any(name in text for name in TORCH):
        need("torch", "accelerate" if "train" in text else "torch")
    if ".parquet" in text:
        need("pyarrow")
    fill(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for language, code in blocks:
        assert language in LANGUAGES
        if language == "python":
            exec(compile(code, str(page), "exec"), names)
        else:
            run_commands(code)


def run_commands(code):
    """Runs the ``blockskim`` commands of a block in this process."""
    lines = re.sub(r"\\\n", " ", code).splitlines()
    commands = [words for line in lines if (words := shlex.split(line, comments=True))]
    assert commands
    for program, *arguments in commands:
        assert program == "blockskim"
        words = [name for word in arguments for name in expanded(word)]
        with contextlib.redirect_stdout(io.StringIO()):
            assert run(words) == 0, words


def expanded(word):
    """What a shell makes of a word."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def test_every_page_that_shows_how_has_something_that_runs():
    silent = {page.stem for page, blocks in BY_PAGE.items() if not blocks}
    # Those that tell how to change the library itself; a service, which examples/ runs; and several processes.
    assert silent == {"add-a-family", "add-a-predictor", "serve", "train-at-scale"}


def test_marks_are_in_the_form_that_is_looked_for():
    for page, blocks in BY_PAGE.items():
        assert (ROOT / page).read_text(encoding="utf-8").count("<!-- run -->") == len(blocks), page


def test_data_and_models_have_the_names_that_pages_use():
    text = "".join(code for blocks in BY_PAGE.values() for _, code in blocks)
    assert all(name in text for name in (*DATA, *MODELS))
