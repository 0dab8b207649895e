"""What git may change when it checks files out: nothing that a digest or an exact length of the shipped model holds."""

import shutil
import subprocess
from pathlib import Path

import pytest

from blockskim.exporting.manifest import read_manifest
from blockskim.inference.shipped import shipped_model

ROOT = Path(__file__).parents[1]


def attribute(folder: Path, name: str, files: list[str]) -> dict[str, str]:
    """What git says of an attribute of some files in a folder with the repository's rules, and none of this machine."""
    shutil.copy(ROOT / ".gitattributes", folder)
    for command in (["init", "--quiet"], ["check-attr", "-z", name, "--", *files]):
        done = subprocess.run(
            ["git", "-c", "core.attributesFile=", *command], cwd=folder, capture_output=True, text=True, check=True
        )
    parts = done.stdout.split("\0")
    return dict(zip(parts[::3], parts[2::3], strict=False))


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_line_endings_of_the_shipped_model_stay(tmp_path):
    manifest = read_manifest(shipped_model())
    files = [f"src/blockskim/default_model/{name}" for name in (*manifest.digests, *manifest.weights, "config.json")]
    assert all((ROOT / file).is_file() for file in files)
    found = attribute(tmp_path, "text", [*files, "Makefile"])
    assert [found[file] for file in files] == ["unset"] * len(files)
    assert attribute(tmp_path, "eol", ["Makefile"]) == {"Makefile": "lf"}
