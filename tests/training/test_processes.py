"""Two processes learn what one does from the same batches; real ones, on a tiny model."""

import json

import pytest

from blockskim.errors import ConfigError
from blockskim.training.processes import Processes
from cli_data import squad
from tiny_models import new_dense_model
from tiny_tokenizers import word_piece
from training_process import in_processes, log_of, train_in_processes, train_logged
from training_runs import short_recipe

# Of the predictors, those without batch norm, which has statistics of a process's own blocks. Without dropout, as each
# process draws its own. The last batch of an epoch has three windows.
PLAIN = {
    "skim": {"block_size": 8, "predictor_width": 16, "skim_factor": 0.5, "inputs": ["match"], "teaching_factor": 0.2},
    "epochs": 2,
    "hidden_dropout": 0.0,
    "eval_steps": 4,
}
DROPPING = {"drop_share": 0.5, "drop_thresholds": [0.3, 0.9]}
LESSONS = {"self_weight": 0.5, "weight": 0.3, "hidden_weight": 0.2, "attention_weight": 0.1, "unanswerable": False}


def save_base(folder, seed=0):
    tokenizer = word_piece()
    new_dense_model("bert", seed, vocab_size=len(tokenizer), initializer_range=0.05).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


def assert_same_log(found, expected, without=()):
    """The same figures at the same steps, but for rounding, for how long it took, and for some."""
    assert [entry["step"] for entry in found] == [entry["step"] for entry in expected]
    for one, other in zip(found, expected, strict=True):
        timed = [name for name in other if "per_second" in name or "runtime" in name or name == "total_flos"]
        timed += without
        assert one.keys() - timed == other.keys() - timed
        for name in other.keys() - timed:
            assert one[name] == pytest.approx(other[name], abs=1e-4, nan_ok=True), (other["step"], name)


def test_a_process_alone_asks_nobody():
    alone = Processes()
    assert alone.is_first
    assert alone.from_first(lambda: 3) == 3
    assert alone.gather("a") == ["a"]
    assert not Processes(1, 2).is_first


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_and_go_on_after_a_kill(base, tmp_path):
    teacher = save_base(tmp_path / "teacher", seed=1)
    recipe = {**PLAIN, **DROPPING, "distillation": LESSONS}
    settings = {"recipe": recipe, "teacher": str(teacher)}
    train_logged(base, tmp_path / "one", **settings)
    found = train_in_processes(base, tmp_path / "two", **settings)
    assert [code for code, _, _ in found] == [0, 0], found
    assert found[0][1].count("exact_match") == 3
    assert found[1][1] == ""
    expected = log_of(tmp_path / "one")
    assert {"skim_loss", "teaching_loss", "self_loss", "teacher_loss", "hidden_loss", "attention_loss"} <= {
        name for entry in expected for name in entry
    }
    assert_same_log(log_of(tmp_path / "two"), expected)
    train_in_processes(base, tmp_path / "killed", **settings, stop_at=7)
    assert not (tmp_path / "killed" / "training_log.json").exists()
    with pytest.raises(ConfigError, match=r"was started with 2 processes, not 1; resume with as many"):
        train_logged(base, tmp_path / "killed", **settings, resume=True)
    found = train_in_processes(base, tmp_path / "killed", **settings, resume=True)
    assert [code for code, _, _ in found] == [0, 0], found
    # The mean over all steps is one over those since the run went on.
    assert_same_log(log_of(tmp_path / "killed"), expected, without=["train_loss"])


@pytest.mark.slow
def test_parts_of_a_step_are_shared_out_too(base, tmp_path):
    settings = {"recipe": {**PLAIN, "gradient_accumulation": 2}}
    train_logged(base, tmp_path / "one", **settings)
    found = train_in_processes(base, tmp_path / "two", **settings)
    assert [code for code, _, _ in found] == [0, 0], found
    assert_same_log(log_of(tmp_path / "two"), log_of(tmp_path / "one"))


@pytest.mark.slow
def test_only_the_first_process_speaks(base, tmp_path):
    data = tmp_path / "data.json"
    data.write_text(json.dumps(squad(4, 4)))
    changes = ["epochs=1", "batch_size=4", "windows.max_length=60", "windows.doc_stride=20"]
    changes += ["windows.max_question_length=2", "skim.block_size=8", "precision=float32"]
    command = ["-m", "blockskim", "train", "--base", base, "--train", data, "--device", "cpu", "--json"]
    command += [word for change in changes for word in ("--set", change)]
    first, second = in_processes([*command, "--hold-out", 0.5, "--output", tmp_path / "out"])
    assert first[0] == second[0] == 0, (first, second)
    assert {"step", "f1"} <= set(json.loads(first[1]))
    assert "training: " in first[2]
    assert first[2].count("questions longer than 2 tokens") == 1
    assert second[1:] == ("", "")
    assert (tmp_path / "out" / "model.safetensors").is_file()
    # What is wrong with the data is found by the first, and told by it alone.
    first, second = in_processes([*command, "--hold-out", 0.5, "--output", tmp_path / "out"])
    assert first[0] == second[0] == 1
    assert "--resume" in first[2]
    assert "error" not in second[2]


def test_a_batch_that_can_not_be_shared_out_is_refused():
    recipe = short_recipe(batch_size=12, gradient_accumulation=2)
    assert recipe.part_size() == 6
    assert recipe.part_size(3) == 2
    with pytest.raises(
        ConfigError, match=r"batch_size is 12, which does not divide into gradient_accumulation 2 equal"
    ):
        recipe.part_size(4)
    with pytest.raises(ConfigError, match="it must be a multiple of 5"):
        short_recipe(batch_size=12, gradient_accumulation=5)
