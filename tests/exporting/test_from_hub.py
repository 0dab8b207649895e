"""Exported models of the hub, which is a folder here."""

import huggingface_hub
import pytest

from blockskim.answering import backend_choice
from blockskim.answering.backend_choice import choose_exported
from blockskim.answering.model_choice import ModelChoice
from blockskim.errors import ModelError
from blockskim.exporting.from_hub import FILES, fetch_exported
from blockskim.exporting.manifest import FILE


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A repository, and what is asked of the hub."""
    asked = []

    def snapshot_download(name, **given):
        asked.append((name, given))
        if not isinstance(given.get("revision", ""), str):
            raise TypeError("expected string")
        if name == "nobody/nothing":
            raise huggingface_hub.errors.LocalEntryNotFoundError("offline,\nand not in the cache")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return tmp_path, asked


def test_a_model_of_the_hub_is_fetched_with_the_callers_arguments(hub):
    folder, asked = hub
    (folder / FILE).write_text("{}")
    assert fetch_exported("ann/reader", {"revision": "v2", "token": "t"}) == folder
    assert asked == [("ann/reader", {"allow_patterns": list(FILES), "revision": "v2", "token": "t"})]


def test_a_subfolder_is_looked_for_alone(hub):
    folder, asked = hub
    (folder / "small").mkdir()
    (folder / "small" / FILE).write_text("{}")
    assert fetch_exported("ann/reader", {"subfolder": "small"}) == folder / "small"
    assert asked[0][1]["allow_patterns"] == [f"small/{file}" for file in FILES]


def test_what_was_not_exported_or_is_not_there_gives_a_line(hub):
    with pytest.raises(ModelError, match=r"^ann/reader was not exported: it has no export.json"):
        fetch_exported("ann/reader", {})
    with pytest.raises(
        ModelError, match=r"^nobody/nothing can't be fetched from the hub: offline, and not in the cache"
    ):
        fetch_exported("nobody/nothing", {})
    with pytest.raises(ModelError, match=r"^ann/reader can't be fetched from the hub: expected string"):
        fetch_exported("ann/reader", {"revision": 5})


def test_only_the_backend_that_was_asked_for_or_is_there_fetches(hub, monkeypatch):
    folder, asked = hub
    (folder / FILE).write_text("{}")
    monkeypatch.setattr(backend_choice, "has", lambda package: True)
    assert choose_exported(ModelChoice(name="ann/reader")) is None
    assert not asked
    assert choose_exported(ModelChoice(name="ann/reader", backend="onnx")) == folder
    monkeypatch.setattr(backend_choice, "has", lambda package: package != "torch")
    assert choose_exported(ModelChoice(name="ann/reader")) == folder
