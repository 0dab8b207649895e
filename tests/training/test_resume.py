"""Runs that go on: from whole checkpoints only, and with the settings, data and base that they began with."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerControl, TrainerState

from blockskim.data.window_files import StoredWindows
from blockskim.errors import BlockSkimError, ConfigError
from blockskim.folder_lock import LOCK
from blockskim.training import train as training
from blockskim.training.callbacks import CheckpointCallback
from blockskim.training.distillation import TEACHER_FILE
from blockskim.training.resume import ASIDE, NEEDED, best_checkpoint, damage, find_checkpoint, only_run_in
from synthetic_task import examples
from tiny_encoders import save_encoder
from tiny_models import new_dense_model
from training_runs import killed_by, short_recipe

RECIPE = short_recipe(epochs=1, eval_steps=2)
TRAIN, DEV = examples(32, 0), examples(4, 1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def finished(base, tmp_path_factory):
    """The folder of a run with checkpoints 2 and 4, the best of which is 2 or 4."""
    output = tmp_path_factory.mktemp("runs") / "finished"
    training.train(base, TRAIN, DEV, output, RECIPE, device="cpu")
    return output


@pytest.fixture
def run(finished, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(finished, tmp_path / "run")


def resume(base, output, train=TRAIN, dev=DEV, recipe=RECIPE):
    return training.train(base, train, dev, output, recipe, device="cpu", resume=True)


def spoil_middle(path):
    content = bytearray(path.read_bytes())
    middle = content.index(b"data/0") + 200
    content[middle : middle + 8] = bytes(value ^ 0xFF for value in content[middle : middle + 8])
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth"])
def test_what_changed_inside_of_a_file_is_noticed(run, name):
    newest = run / "checkpoints" / "checkpoint-4"
    spoil_middle(newest / name)
    assert f"{newest / name} is damaged" in damage(newest)


@pytest.mark.parametrize("text", ["[" * 100_000, "", "5", "{"])
@pytest.mark.parametrize("name", ["recipe.json", "inputs.json"])
def test_damaged_records_of_a_run_are_told_of(base, run, name, text):
    (run / name).write_text(text)
    with pytest.raises(BlockSkimError, match=rf"{name} is damaged"):
        resume(base, run)


CHECKPOINT_FILES = [*NEEDED, "training_args.bin", "tokenizer.json", "tokenizer_config.json"]
HARM = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "cut in the middle": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


def test_all_files_of_a_checkpoint_are_looked_at(run):
    newest = run / "checkpoints" / "checkpoint-4"
    assert damage(newest) is None
    assert {path.name for path in newest.iterdir()} <= {*CHECKPOINT_FILES}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_a_damaged_checkpoint_is_passed_over_and_named(run, caplog, name, harm):
    newest = run / "checkpoints" / "checkpoint-4"
    HARM[harm](newest / name)
    assert find_checkpoint(run, resume=True) == run / "checkpoints" / "checkpoint-2"
    [record] = caplog.records
    assert str(newest / name) in record.getMessage()
    assert "going on from checkpoint-2" in record.getMessage()
    HARM[harm](run / "checkpoints" / "checkpoint-2" / name)
    with pytest.raises(BlockSkimError, match=r"no checkpoint in .* is whole") as caught:
        find_checkpoint(run, resume=True)
    assert str(newest / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_that_is_gone_is_damage(run, caplog, name):
    (run / "checkpoints" / "checkpoint-4" / name).unlink()
    assert find_checkpoint(run, resume=True).name == "checkpoint-2"
    assert f"{name} is missing" in caplog.text


def test_a_run_in_float16_needs_the_scale_of_its_loss(run):
    newest, recipe = run / "checkpoints" / "checkpoint-4", run / "recipe.json"
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"precision": "float16"}))
    assert damage(newest) == f"{newest / 'scaler.pt'} is missing"
    torch.save({"scale": 65536.0}, newest / "scaler.pt")
    assert damage(newest) is None


def test_a_state_of_another_step_is_damage(run):
    folder = run / "checkpoints"
    shutil.copy(folder / "checkpoint-2" / "trainer_state.json", folder / "checkpoint-4" / "trainer_state.json")
    assert "not of step 4" in damage(folder / "checkpoint-4")


def test_folders_of_other_names_are_no_checkpoints(run):
    for name in ("checkpoint-x", "checkpoint-", "checkpoint-9-old"):
        (run / "checkpoints" / name).mkdir()
    assert find_checkpoint(run, resume=True).name == "checkpoint-4"


def test_a_run_goes_on_from_the_whole_checkpoint_to_the_same_model(base, finished, run):
    HARM["cut"](run / "checkpoints" / "checkpoint-4" / "optimizer.pt")
    (run / "model.safetensors").unlink()
    resume(base, run)
    first, second = (load_file(folder / "model.safetensors") for folder in (finished, run))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert damage(run / "checkpoints" / "checkpoint-4") is None
    assert damage(run / "checkpoints" / f"{ASIDE}checkpoint-4") is not None


def test_a_best_checkpoint_that_is_damaged_is_forgotten_and_named(base, run, caplog):
    newest, other = run / "checkpoints" / "checkpoint-4", run / "checkpoints" / "checkpoint-2"
    state = json.loads((newest / "trainer_state.json").read_text())
    state |= {"best_model_checkpoint": str(other), "best_global_step": 2, "best_metric": 1e9}
    (newest / "trainer_state.json").write_text(json.dumps(state))
    assert best_checkpoint(newest) == other
    HARM["cut"](other / "model.safetensors")
    resume(base, run)
    assert f"{other / 'model.safetensors'} is damaged" in caplog.text
    assert json.loads((run / "training_log.json").read_text())


def test_the_best_checkpoint_is_found_where_the_run_was_moved_to(run):
    newest = run / "checkpoints" / "checkpoint-4"
    # What it says is the folder of the run that this one is a copy of.
    assert best_checkpoint(newest).parent == newest.parent


@pytest.mark.parametrize("name", ["recipe.json", "inputs.json"])
@pytest.mark.parametrize("text", ["", '{"epochs": ', "[]", "3"])
def test_a_damaged_record_is_named(base, run, name, text):
    (run / name).write_text(text)
    with pytest.raises(BlockSkimError, match="is damaged") as caught:
        resume(base, run)
    assert str(run / name) in str(caught.value)
    assert (run / name).read_text() == text


def test_a_recipe_that_is_gone_or_impossible_is_named(base, run):
    (run / "recipe.json").write_text('{"epochs": -1}')
    with pytest.raises(BlockSkimError, match=r"recipe\.json is damaged: epochs is -1"):
        resume(base, run)
    (run / "recipe.json").unlink()
    with pytest.raises(BlockSkimError, match=r"recipe\.json is missing"):
        resume(base, run)


def test_other_data_or_another_base_is_refused(base, run, tmp_path):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    changed = [replace(TRAIN[0], question="what ?"), *TRAIN[1:]]
    for train in (TRAIN[1:], TRAIN[::-1], changed):
        with pytest.raises(
            ConfigError, match=r"the training data is not what .* an earlier version of blockskim began it"
        ):
            resume(base, run, train=train)
    for dev in ((), DEV[1:], [replace(DEV[0], source="other.json"), *DEV[1:]]):
        with pytest.raises(ConfigError, match="the development data is not what"):
            resume(base, run, dev=dev)
    with pytest.raises(ConfigError, match=r"the base model is not what the run in .* was started with; resume"):
        resume(save_encoder(tmp_path / "other", seed=1), run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_goes_on_however_the_paths_of_its_data_are_written(base, run, finished):
    train, dev = ([replace(one, source=f"./{one.source}") for one in part] for part in (TRAIN, DEV))
    resume(base, run, train, dev)
    log = json.loads((run / "training_log.json").read_text())
    assert log[-2] == json.loads((finished / "training_log.json").read_text())[-2]


def test_a_run_from_before_inputs_were_kept_goes_on_with_a_warning(base, run, caplog):
    (run / "inputs.json").unlink()
    resume(base, run)
    assert "inputs.json is missing" in caplog.text
    assert (run / "inputs.json").is_file()


def test_the_teacher_of_a_run_that_left_no_checkpoint_is_forgotten(base, tmp_path):
    """A later run of the same output has none, and goes on without."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / TEACHER_FILE).write_text('{"name": "gone"}')
    training.train(base, TRAIN, DEV, tmp_path / "run", RECIPE, device="cpu")
    assert not (tmp_path / "run" / TEACHER_FILE).exists()


def test_windows_longer_than_the_base_reads_are_refused_at_once(base, tmp_path):
    limit = new_dense_model("bert").config.max_position_embeddings
    recipe = RECIPE.replace(windows={"max_length": limit + 1})
    with pytest.raises(ConfigError, match=rf"windows.max_length is {limit + 1}, but the base reads at most {limit}"):
        training.train(base, TRAIN, DEV, tmp_path / "run", recipe, device="cpu")
    assert not (tmp_path / "run").exists()


class Stop(TrainerCallback):
    """Ends a run as a kill would, right after a step."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("dev", [DEV, []])
def test_a_run_that_evaluates_once_an_epoch_loses_few_steps(base, tmp_path, monkeypatch, dev):
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 2)
    recipe = short_recipe(epochs=1, eval_steps=0, batch_size=4)
    whole = training.train(base, TRAIN, dev, tmp_path / "whole", recipe, device="cpu")
    with killed_by(training, Stop()):
        training.train(base, TRAIN, dev, tmp_path / "killed", recipe, device="cpu")
    assert find_checkpoint(tmp_path / "killed", True).name == "checkpoint-4"
    resumed = resume(base, tmp_path / "killed", dev=dev, recipe=recipe)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("step", "epoch", "saves"),
    [(500, 0.7, True), (501, 0.7, False), (1000, 1.0, False), (1000, 1.0 - 1 / 1001, True), (2000, 1.4, False)],
)
def test_no_checkpoint_is_saved_before_the_evaluation_at_the_end_of_an_epoch(step, epoch, saves):
    state, control = TrainerState(global_step=step, epoch=epoch, max_steps=2000), TrainerControl()
    CheckpointCallback(500).on_step_end(None, state, control)
    assert control.should_save == saves


def test_one_run_at_a_time_writes_into_an_output(base, run, tmp_path):
    pytest.importorskip("fcntl")
    before = sorted(path.name for path in run.iterdir())
    with only_run_in(run), pytest.raises(ConfigError, match=rf"another run is writing into {run}; wait for it, or"):
        resume(base, run)
    assert sorted(path.name for path in run.iterdir()) == before
    new = tmp_path / "new"
    refused = []

    class Again(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if not refused:
                # Before the first checkpoint, when nothing else tells of the run.
                with pytest.raises(ConfigError, match="another run is writing") as error:
                    training.train(base, TRAIN, DEV, new, RECIPE, device="cpu")
                refused.append(error)
                raise KeyboardInterrupt

    with killed_by(training, Again()):
        training.train(base, TRAIN, DEV, new, RECIPE, device="cpu")
    assert refused
    assert StoredWindows(next((new / "windows").iterdir())).num_examples == len(TRAIN)
    assert not (new / LOCK).exists()


def test_a_run_that_did_not_begin_leaves_no_folder(base, tmp_path):
    with pytest.raises(BlockSkimError, match="no checkpoint"):
        resume(base, tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []
