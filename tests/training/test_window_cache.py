"""Windows of a run in files: learned from as those in memory, found again, made anew where they are not whole."""

import json
import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from blockskim.data import window_files
from blockskim.data.example_files import StoredExamples
from blockskim.data.examples import Example
from blockskim.data.other_contexts import asked_elsewhere
from blockskim.data.tokens import freeze_tokenizer
from blockskim.data.windows import make_windows
from blockskim.errors import DataError
from blockskim.training import train as training
from blockskim.training import window_cache
from blockskim.training.window_cache import FOLDER, TrainingExamples, WindowCache
from synthetic_task import examples
from tiny_encoders import save_encoder
from tiny_tokenizers import word_piece
from training_runs import killed_by, short_recipe

RECIPE = short_recipe(epochs=1, eval_steps=2, elsewhere_share=0.4)
ASKED = [replace(example, title=f"{int(example.id) // 8}") for example in examples(28, 0)]
# A context of each article in which no answer stands.
WITHOUT = [
    replace(one, id=f"no {one.id}", context=one.context.replace("2024", "kite"), answers=(), references=())
    for one in ASKED[::8]
]
PIECES = freeze_tokenizer(word_piece())
TRAIN, DEV = [*ASKED, *WITHOUT], examples(4, 1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def written(monkeypatch):
    """Notes every time that windows are made."""
    made = []

    def noted(folder, *arguments):
        made.append(folder)
        window_files.write_windows(folder, *arguments)

    monkeypatch.setattr(window_cache, "write_windows", noted)
    return made


def train(base, output, data=TRAIN, **options):
    return training.train(base, data, DEV, output, RECIPE, device="cpu", **options)


def same_weights(first, second):
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_a_model_is_the_same_as_one_that_learned_from_windows_in_memory(base, tmp_path, monkeypatch):
    with StoredExamples(TRAIN, tmp_path) as stored:
        train(base, tmp_path / "files", stored)
    in_memory = make_windows(
        [*TRAIN, *asked_elsewhere(TRAIN, RECIPE.elsewhere_share, RECIPE.seed)], word_piece(), RECIPE.windows
    )
    assert len(in_memory.examples) > len(TRAIN)
    in_memory.num_examples = len(in_memory.examples)
    monkeypatch.setattr(training, "StoredWindows", lambda folder: in_memory)
    train(base, tmp_path / "memory")
    same_weights(tmp_path / "files", tmp_path / "memory")
    losses = [
        [entry.get("train_loss") for entry in json.loads((tmp_path / name / "training_log.json").read_text())]
        for name in ("files", "memory")
    ]
    assert losses[0] == losses[1]


def test_a_finished_run_leaves_no_windows(base, tmp_path, written):
    train(base, tmp_path / "run")
    assert len(written) == 1
    assert not (tmp_path / "run" / FOLDER).exists()


def test_what_else_lies_where_windows_go_stays(base, tmp_path):
    folder = tmp_path / "run" / FOLDER
    digest = "0123456789abcdef" * 2
    others = [folder / "mine" / "thesis.txt", folder / "note.txt", folder / digest / "thesis.txt"]
    for other in others:
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("mine")
    # What a run left that was killed while it wrote.
    half = folder / f".{digest}.a1b2c3" / "model"
    half.mkdir(parents=True)
    (half / window_files.WINDOWS).write_bytes(b"half")
    train(base, tmp_path / "run")
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(others)
    assert not half.parent.exists()


class Stop(training.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_resumed_run_finds_its_windows(base, tmp_path, written):
    train(base, tmp_path / "whole")
    with killed_by(training, Stop()):
        train(base, tmp_path / "run")
    [folder] = (tmp_path / "run" / FOLDER).iterdir()
    train(base, tmp_path / "run", resume=True)
    assert len(written) == 2
    same_weights(tmp_path / "run", tmp_path / "whole")
    # They may have been removed, too, or damaged.
    (tmp_path / "run" / "model.safetensors").unlink()
    folder.mkdir(parents=True)
    train(base, tmp_path / "run", resume=True)
    assert len(written) == 3
    same_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_a_cache_is_shared_by_runs(base, tmp_path, written, caplog):
    cache = tmp_path / "cache"
    train(base, tmp_path / "one", cache_dir=cache)
    train(base, tmp_path / "two", cache_dir=cache)
    assert len(written) == 1
    assert not (tmp_path / "one" / FOLDER).exists()
    train(base, tmp_path / "three", TRAIN[1:], cache_dir=cache)
    assert len(list(cache.iterdir())) == len(written) == 2
    same_weights(tmp_path / "one", tmp_path / "two")
    for folder in cache.iterdir():
        (folder / window_files.WINDOWS).write_bytes(b"")
    caplog.set_level(logging.WARNING)
    train(base, tmp_path / "four", cache_dir=cache)
    assert "tokenising again" in caplog.text
    same_weights(tmp_path / "one", tmp_path / "four")


@pytest.mark.parametrize("is_shared", [False, True])
def test_what_lies_beside_damaged_windows_is_named(tmp_path, is_shared):
    cache, found = WindowCache(tmp_path / "cache", is_shared), TrainingExamples(TRAIN, RECIPE, PIECES)
    tokenizer = PIECES
    folder = cache.find_or_make("0123456789abcdef" * 2, found, tokenizer, RECIPE.windows)
    (folder / "thesis.txt").write_text("mine")
    (folder / window_files.WINDOWS).write_bytes(b"")
    with pytest.raises(DataError, match=r"not as it was written, and .*thesis\.txt keeps it from being made anew"):
        cache.find_or_make(folder.name, found, tokenizer, RECIPE.windows)
    (folder / "thesis.txt").unlink()
    assert cache.find_or_make(folder.name, found, tokenizer, RECIPE.windows) == folder
    assert len(window_files.StoredWindows(folder)) > 0


def test_where_windows_can_not_be_made_nothing_is_left(base, tmp_path, monkeypatch):
    def interrupted(folder, *arguments):
        window_files.write_windows(folder, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(window_cache, "write_windows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(base, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(KeyboardInterrupt):
        train(base, tmp_path / "run", cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_can_be_learned_from_comes_in_order_and_as_often_as_asked():
    lost = Example("lost", "when ?", "no number here", (), ("2024",))
    found = TrainingExamples([*TRAIN[:20], lost, *TRAIN[20:]], RECIPE, PIECES)
    expected = [*TRAIN, *asked_elsewhere(TRAIN, RECIPE.elsewhere_share, RECIPE.seed)]
    assert len(found) == len(expected) > len(TRAIN)
    assert list(found) == list(found) == expected
    with pytest.raises(DataError, match="none of 1 training examples"):
        TrainingExamples([lost], RECIPE, PIECES)


def test_a_question_that_the_tokenizer_can_not_read_is_left_out(base, tmp_path, caplog):
    unread = [replace(TRAIN[0], id=name, question=text) for name, text in (("empty", " "), ("control", "\x00"))]
    found = TrainingExamples([unread[0], *TRAIN, unread[1]], RECIPE, PIECES)
    assert list(found) == list(TrainingExamples(TRAIN, RECIPE, PIECES))
    assert sum(found.sources.values()) == len(TRAIN)
    told = (
        f"2 of {len(TRAIN) + 2} questions to learn from have no character that the tokenizer reads; they are left out"
    )
    assert [record.getMessage() for record in caplog.records] == [told]
    with pytest.raises(DataError, match="none of 2 training examples has an answer in its context and a question that"):
        TrainingExamples(unread, RECIPE, PIECES)
    caplog.clear()
    # One to measure by is read as "?", as when answering.
    training.train(base, [*TRAIN, *unread], [*DEV, *unread], tmp_path / "run", RECIPE, device="cpu")
    assert caplog.text.count(told) == 1
    log = json.loads((tmp_path / "run" / "training_log.json").read_text())
    assert any("eval_f1" in entry for entry in log)
