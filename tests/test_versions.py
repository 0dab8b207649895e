"""The oldest versions that are tested are the oldest ones that are allowed."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Frameworks with an adapter, Ray, and what development takes have environments of their own.
APART = {"haystack", "langchain", "llama-index", "ray", "dev"}


def allowed() -> Iterator[tuple[str, str]]:
    """Each package that may be needed, and its oldest version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert extras.keys() >= APART - {"dev"}
    for requirement in [*project["dependencies"], *(line for name in extras.keys() - APART for line in extras[name])]:
        found = re.match(r"([a-z0-9-]+)>=([0-9.]+)", requirement)
        if found is None:
            assert requirement.startswith("blockskim["), requirement
        else:
            yield found[1], found[2]


def oldest_environment() -> Iterator[tuple[str, str]]:
    """Each package of the oldest environment, and its version."""
    for line in (ROOT / "constraints-lowest.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            yield name, version


def test_the_oldest_versions_that_are_allowed_are_tested():
    oldest, tried = dict(allowed()), dict(oldest_environment())
    # Builds of older ones bring CUDA.
    assert tried.pop("torch") in (ROOT / "constraints.txt").read_text()
    assert oldest.pop("torch")
    assert {name: f"{version}.*" for name, version in oldest.items()} == tried
