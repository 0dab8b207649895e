"""Scripts that write files tell how they are called, and write nothing then."""

import shutil

import draw_front
import draw_page
import pytest
import reference
import site_pages


@pytest.mark.parametrize("script", [draw_front, draw_page, reference, site_pages], ids=lambda script: script.__name__)
@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--other", 2)])
def test_what_is_not_asked_for_is_not_written(script, argument, code, monkeypatch, capsys):
    def refuse(*given, **settings):
        raise AssertionError("something is written")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    monkeypatch.setattr(script, "write_whole", refuse, raising=False)
    monkeypatch.setattr("sys.argv", [script.__name__, argument])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == code
    assert "usage" in "".join(capsys.readouterr())
