"""Every command that writes, on a disk that is full: one line, the file's name, nothing left, no result lost.

The disk is one on which files can't get larger than a limit, so that the system itself refuses what Python, Rust and
C++ write, wherever they do it.
"""

import errno
import json
import os

import pytest

from blockskim.atomic import new_directory, new_files, write_errors_named
from blockskim.data.windows import make_windows
from bulk_runs import json_lines, rows_of
from cli_data import squad
from full_disk import full_disk
from synthetic_task import examples
from tiny_answerers import TEXT
from tiny_tokenizers import word_piece
from training_runs import short_recipe


@pytest.fixture
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data.json"
    path.write_text(json.dumps(squad(4, 4)))
    return path


SHORT = ("--max-length", 120)
SMALL = [
    word
    for change in (
        "epochs=1",
        "batch_size=2",
        "precision=float32",
        "windows.max_length=120",
        "windows.doc_stride=20",
        "windows.max_question_length=10",
    )
    for word in ("--set", change)
]
WRITERS = {
    "evaluate": ("--data", "DATA", *SHORT, "--predictions", "OUT"),
    "predict": ("--data", "DATA", *SHORT, "--predictions", "OUT"),
    "answer": ("-q", "Where?", "-c", TEXT, *SHORT, "--explain", "OUT"),
    "highlight": ("-q", "Where?", "-f", "DATA", *SHORT, "--explain", "OUT"),
    "sweep": ("--data", "DATA", *SHORT, "--thresholds", "0.5", "--no-plot", "--output", "OUT"),
    "calibrate": ("--data", "DATA", *SHORT, "--target-speedup", "1", "--output", "OUT"),
    "prune-heads": ("--data", "DATA", *SHORT, "--total", "1", "--output", "OUT"),
    "make-student": ("--every", "1", "--output", "OUT"),
    "average": ("--model", "MODEL", "--output", "OUT"),
    "train": ("--train", "DATA", "--hold-out", 0.5, *SMALL, "--output", "OUT"),
    "export": ("--output", "OUT"),
    "bulk answer": ("ROWS", *SHORT, "--output", "OUT"),
    "bulk highlight": ("ROWS", *SHORT, "--threshold", "0", "--output", "OUT"),
    "bulk prune": ("ROWS", *SHORT, "--threshold", "0", "--output", "OUT"),
}


@pytest.mark.parametrize("limit", [0, 5000])
@pytest.mark.parametrize("command", WRITERS)
def test_a_full_disk_is_a_line_and_leaves_nothing(call, model, data, tmp_path, command, limit):
    if command == "export":
        for package in ("onnx", "onnxscript"):
            pytest.importorskip(package)
    out_path = tmp_path / "out"
    names = {
        "DATA": data,
        "OUT": out_path,
        "MODEL": model,
        "ROWS": json_lines(data.with_name("rows.jsonl"), rows_of(70)),
    }
    arguments = [names.get(word, word) for word in WRITERS[command]]
    if limit and command in ("evaluate", "predict", "answer", "highlight", "sweep"):
        pytest.skip("all fits")
    with full_disk(limit):
        code, out, err = call(*command.split(), "--model", model, "--json", *arguments, "--quiet")
    assert code == 1
    # Training puts its questions into a file without a name, beside the output.
    assert err.startswith(f"error: {tmp_path if command == 'train' else out_path}")
    assert err.endswith(f": {os.strerror(errno.EFBIG)}\n")
    assert err.count("\n") == 1
    left = [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith((".", "checkpoint-"))]
    # What was written before may stay: a run goes on from it.
    written_before = ("recipe.json", "inputs.json", "data.json", "events.out", "_lock", "_manifest.json", "0000")
    assert all(path.name.startswith(written_before) for path in left), left
    assert not (tmp_path / "out.partial").exists() or limit
    if command in ("evaluate", "answer", "highlight"):
        assert json.loads(out)


@pytest.mark.parametrize("limit", [0, 300])
def test_tokens_that_find_no_space_leave_no_trace(tmp_path, limit):
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)) as caught, full_disk(limit):
        make_windows(examples(9, 0), word_piece(), short_recipe().windows, tmp_path / "cache")
    assert caught.value.filename.startswith(str(tmp_path / "cache" / "tokens-"))
    assert list((tmp_path / "cache").iterdir()) == []


class SafetensorsError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (SafetensorsError("Error while serializing: I/O error: No space left on device (os error 28)"), errno.ENOSPC),
        (Exception("Disk quota exceeded (os error 122)"), errno.EDQUOT),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), errno.EIO),
        (OSError(errno.EIO, "Input/output error"), errno.EIO),
    ],
)
@pytest.mark.parametrize("writer", [new_directory, new_files])
def test_errors_of_libraries_name_what_was_written(tmp_path, error, number, writer):
    with pytest.raises(OSError, match=os.strerror(number)) as caught, writer(tmp_path / "out") as folder:
        (folder / "half").write_text("half")
        raise error
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "out"))
    assert [path for path in tmp_path.rglob("*") if path.name != "out"] == []


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("os error"), OSError("no number")])
def test_other_errors_pass(tmp_path, error):
    with pytest.raises(type(error)) as caught, write_errors_named(tmp_path):
        raise error
    assert caught.value is error


def test_new_files_replace_those_of_the_same_name(tmp_path):
    (tmp_path / "one").write_text("old")
    (tmp_path / "two").write_text("old")
    with new_files(tmp_path) as folder:
        (folder / "one").write_text("new")
        assert (tmp_path / "one").read_text() == "old"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"one": "new", "two": "old"}
