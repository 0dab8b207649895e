import contextlib
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from blockskim.atomic import check_new, give_usual_rights, must_stay, new_directory, open_whole, write_whole
from blockskim.errors import ConfigError

OLD = b"what was there before"


class FullDisk:
    """A file whose ``failing`` method finds no space left."""

    def __init__(self, file, failing):
        self.file, self.failing = file, failing

    def __getattr__(self, name):
        if name == self.failing:
            return self.fail
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.file.close()
        if self.failing == "close":
            self.fail()

    def fail(self, *_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(monkeypatch):
    """Makes a method of every new file fail."""
    opened = Path.open

    def fail(method):
        def opens(path, mode="r", **more):
            file = opened(path, mode, **more)
            return FullDisk(file, method) if "x" in mode else file

        monkeypatch.setattr(Path, "open", opens)

    return fail


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request):
    """Rights that new files don't get."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize(
    ("content", "expected"), [("Bär\n", "Bär\n".encode()), (b"\0\r\n", b"\0\r\n"), ("a\r\n", b"a\r\n"), ("", b"")]
)
@pytest.mark.parametrize("before", [None, OLD])
def test_a_file_has_what_was_written_and_nothing_lies_beside_it(tmp_path, content, expected, before):
    path = tmp_path / "file.json"
    if before is not None:
        path.write_bytes(before)
    write_whole(path, content)
    assert path.read_bytes() == expected
    assert list(tmp_path.iterdir()) == [path]


def test_until_it_is_whole_there_is_what_was_there_before(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with open_whole(path) as file:
        file.write(b"half")
        file.flush()
        assert path.read_bytes() == OLD
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"


@pytest.mark.parametrize("before", [None, OLD])
@pytest.mark.parametrize("method", ["write", "flush", "close"])
def test_a_full_disk_leaves_everything_as_it_was(tmp_path, full_disk, method, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    full_disk(method)
    with pytest.raises(OSError, match="No space") as caught, open_whole(path) as file:
        file.write(b"half")
        file.flush()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert list(tmp_path.iterdir()) == ([] if before is None else [path])
    if before is not None:
        assert path.read_bytes() == before


@pytest.mark.parametrize("method", ["write", "close"])
def test_text_that_finds_no_space_leaves_no_trace(tmp_path, full_disk, method):
    full_disk(method)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "file", "text")
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_no_unicode_leaves_no_trace(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "file", "\ud800")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), ConfigError("mine")])
def test_errors_of_the_writer_pass_as_they_are(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(OLD)
    with pytest.raises(type(error)) as caught, open_whole(path) as file:
        file.write(b"half")
        raise error
    assert caught.value is error
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == OLD


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, open_whole(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")
    assert list(tmp_path.iterdir()) == []


def test_a_rename_that_fails_leaves_no_trace(tmp_path, monkeypatch):
    def refuse(part, target):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(part), None, str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError) as caught:
        write_whole(tmp_path / "file", "text")
    assert caught.value.filename == str(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("parent", "error"), [("none", FileNotFoundError), ("file", NotADirectoryError)])
def test_the_error_names_the_file_and_not_its_temporary_name(tmp_path, parent, error):
    (tmp_path / "file").write_bytes(OLD)
    path = tmp_path / parent / "new"
    with pytest.raises(error) as caught:
        write_whole(path, "text")
    assert caught.value.filename == str(path)
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_directory_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(tmp_path / "folder", "text")
    assert caught.value.filename == str(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "a.b.c", ".hidden", "with space"])
def test_any_name_that_a_file_can_have(tmp_path, name):
    write_whole(tmp_path / name, "text")
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [(name, "text")]


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    target.write_bytes(OLD)
    link.symlink_to(target)
    write_whole(link, "text")
    assert link.is_symlink()
    assert target.read_text() == "text"


def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_device_that_is_full_is_named_and_stays():
    with pytest.raises(OSError, match="No space") as caught:
        write_whole(Path("/dev/full"), "text")
    assert caught.value.filename == "/dev/full"
    assert Path("/dev/full").exists()


@pytest.mark.parametrize("before", [None, 0o600])
def test_a_file_has_the_rights_of_any_new_file(tmp_path, umask, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(OLD)
        path.chmod(before)
    write_whole(path, "text")
    assert mode(path) == 0o666 & ~umask


def test_a_directory_appears_whole_with_the_rights_of_any_new_one(tmp_path, umask):
    output = tmp_path / "deep" / "output"
    with new_directory(output) as folder:
        (folder / "file").write_text("text")
        assert not output.exists()
    assert [item.name for item in output.iterdir()] == ["file"]
    assert list(output.parent.iterdir()) == [output]
    assert mode(output) == 0o777 & ~umask


def test_an_empty_directory_may_be_there_already(tmp_path):
    (tmp_path / "output").mkdir()
    with new_directory(tmp_path / "output") as folder:
        (folder / "file").write_text("text")
    assert (tmp_path / "output" / "file").read_text() == "text"


@pytest.mark.parametrize("kind", ["link", "mount point", "working directory"])
@pytest.mark.parametrize("fails", [False, True])
def test_an_empty_directory_that_can_not_be_replaced_gets_the_files(tmp_path, monkeypatch, kind, fails):
    folder, output = tmp_path / "folder", tmp_path / "folder"
    folder.mkdir()
    if kind == "link":
        output = tmp_path / "link"
        output.symlink_to(folder)
    elif kind == "mount point":
        monkeypatch.setattr("os.path.ismount", lambda path: path == folder)
    else:
        monkeypatch.chdir(folder)
        output = Path()
    assert must_stay(output)
    inode = folder.stat().st_ino
    with contextlib.ExitStack() as stack:
        if fails:
            stack.enter_context(pytest.raises(KeyError))
        part = stack.enter_context(new_directory(output))
        (part / "file").write_text("text")
        if fails:
            raise KeyError("mine")
    assert [item.name for item in folder.iterdir()] == ([] if fails else ["file"])
    assert folder.stat().st_ino == inode
    assert {item.name for item in tmp_path.iterdir()} <= {"folder", "link"}


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space")])
@pytest.mark.parametrize("before", [False, True])
def test_a_directory_that_is_not_finished_leaves_no_trace(tmp_path, error, before):
    output = tmp_path / "output"
    if before:
        output.mkdir()
    with pytest.raises(type(error)), new_directory(output) as folder:
        (folder / "file").write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == ([output] if before else [])
    assert not before or list(output.iterdir()) == []


def test_what_is_there_already_is_refused(tmp_path):
    check_new(tmp_path)
    check_new(tmp_path / "new")
    (tmp_path / "file").write_bytes(OLD)
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(ConfigError, match=f"{path} exists already; name a new directory"):
            check_new(path)
        with pytest.raises(ConfigError, match="exists already"), new_directory(path):
            raise AssertionError
    assert (tmp_path / "file").read_bytes() == OLD


def test_files_that_only_their_owner_may_read_get_the_usual_rights(tmp_path, umask):
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        path.touch(mode=0o600)
    give_usual_rights(paths)
    assert [mode(path) for path in paths] == [0o666 & ~umask] * 2
    assert sorted(tmp_path.iterdir()) == paths
    give_usual_rights([])


def test_rights_that_can_not_be_found_out_are_an_error_about_the_file(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught:
        give_usual_rights([tmp_path / "none" / "file"])
    assert caught.value.filename == str(tmp_path / "none" / "file")


PRINTING = """
import sys
from pathlib import Path
from blockskim.atomic import write_whole
print("first")
write_whole(Path(sys.argv[1]), "page\\n")
print("last")
"""


@pytest.mark.parametrize("mode", ["wb", "ab"])
@pytest.mark.parametrize("name", ["log.txt", "/dev/stdout"])
def test_a_file_that_standard_output_goes_into_keeps_what_is_there(tmp_path, mode, name):
    if not (tmp_path / name).exists() and name.startswith("/"):
        pytest.skip("there is no such device here")
    log = tmp_path / "log.txt"
    log.write_text("before\n", encoding="utf-8")
    with log.open(mode) as output:
        subprocess.run([sys.executable, "-c", PRINTING, tmp_path / name], stdout=output, check=True)
    kept = ["before"] if mode == "ab" else []
    assert log.read_text(encoding="utf-8").split() == [*kept, "first", "page", "last"]
    assert [path.name for path in tmp_path.iterdir()] == ["log.txt"]
