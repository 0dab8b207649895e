"""The service behind LitServe, which need not be installed."""

import sys

import pytest

pytest.importorskip("torch")


def test_that_it_is_not_installed_is_said_on_a_line(script, monkeypatch):
    monkeypatch.setitem(sys.modules, "litserve", None)
    with pytest.raises(SystemExit, match=r"^error: this needs LitServe.*: pip install litserve$"):
        script("serve_litserve")
