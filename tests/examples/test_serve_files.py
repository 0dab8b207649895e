"""What stands beside the service: files to run it with, and the page that says how. All of it has to name what is."""

import re
from pathlib import Path

import pytest
import typer
import yaml

from blockskim.cli.commands import app

ROOT = Path(__file__).parents[2]
FILES = ROOT / "examples" / "serve"
HOW_TO = (ROOT / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def options():
    """Names of the options of the command, as they are typed."""
    command = typer.main.get_command(app).commands["serve"]
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def test_settings_of_the_containers_are_options(options):
    compose = yaml.safe_load((FILES / "compose.yaml").read_text(encoding="utf-8"))
    named = set(compose["services"]["blockskim"]["environment"])
    named |= set(re.findall(r"BLOCKSKIM_[A-Z_]+", (FILES / "Dockerfile").read_text(encoding="utf-8")))
    assert len(named) > 4
    for name in named:
        assert f"--{name.removeprefix('BLOCKSKIM_').lower().replace('_', '-')}" in options


def test_the_parts_of_the_composition_fit_together():
    compose = yaml.safe_load((FILES / "compose.yaml").read_text(encoding="utf-8"))
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            assert (FILES / volume.split(":")[0]).is_file()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    build = compose["services"]["blockskim"]["build"]
    assert (FILES / build["context"] / build["dockerfile"]).samefile(FILES / "Dockerfile")
    (scraped,) = yaml.safe_load((FILES / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    assert scraped["dns_sd_configs"][0]["names"] == ["blockskim"]


def test_what_the_container_copies_is_there():
    text = (FILES / "Dockerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()]
    assert len(copied) > 3
    assert all((ROOT / name).exists() for name in copied)


def test_options_that_the_how_to_names_are_there(options):
    named = set(re.findall(r"`(--[a-z-]+)", HOW_TO))
    assert len(named) > 12
    assert named - options - {"--help"} == set()


def test_counters_that_the_how_to_names_are_there():
    pytest.importorskip("prometheus_client")
    from blockskim.serving.http.metrics import Metrics

    metrics = Metrics(lambda: 0, lambda: True)
    declared = set(re.findall(r"# TYPE blockskim_(\w+)", metrics.exposition().decode()))
    declared = {name for name in declared if not name.endswith("_created")}
    table = HOW_TO[HOW_TO.index("| name | what |") : HOW_TO.index("`wait` grows first")]
    named = set()
    for row in table.splitlines()[2:]:
        if row.startswith("|"):
            named |= {name.split("{")[0] for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named == declared
