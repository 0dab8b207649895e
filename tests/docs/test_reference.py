"""Pages of the reference say what the code says, and everything that is public is documented."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
from reference import FOLDER, PAGES
from reference_api import GROUPS, RETURNED, first_line, public_homes

import blockskim

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_what_the_code_says(name):
    if name == "server.md":
        pytest.importorskip("fastapi")
        pytest.importorskip("prometheus_client")
    if name == "cli.md" and tuple(map(int, version("typer").split(".")[:2])) < (0, 29):
        pytest.skip("this version of typer tells of choices in another way")
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run scripts/reference.py"


def test_every_public_name_is_in_the_reference_once():
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(set(blockskim.__all__) - {"__version__"})


@pytest.mark.parametrize("name", sorted(public_homes()))
def test_every_public_name_says_what_it_is(name):
    assert len(first_line(public_homes()[name], name)) > 20


def test_what_is_returned_says_what_it_is():
    for path in RETURNED:
        home, _, name = path.rpartition(".")
        assert first_line(f"blockskim.{home}", name)


def test_every_option_is_explained():
    page = PAGES["cli.md"]()
    rows = [line for line in page.splitlines() if line.startswith("| `-")]
    assert len(rows) > 150
    assert not [row for row in rows if row.rstrip().endswith("|  |")]


def test_settings_are_all_in_their_docstrings():
    # A setting that its class does not explain would have failed to be written.
    assert "`skim_factor`" in PAGES["recipe.md"]()


def test_files_that_are_listed_are_written_by_the_code():
    page = (ROOT / "docs" / "reference" / "file-formats.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    table = page[page.index("## A model's directory") : page.index("## A point of")]
    names = re.findall(r"`([\w-]+\.(?:json|safetensors|onnx|md))`", table)
    assert len(names) > 12
    # transformers' own.
    assert not [name for name in names if name not in source]
