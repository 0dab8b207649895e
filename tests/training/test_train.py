"""Training end to end on a task that a tiny model learns: the answer is the number among words."""

import io
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoModelForQuestionAnswering, TrainerCallback

from blockskim.calibration.calibrate import calibrate
from blockskim.data.examples import Answer, Example
from blockskim.data.windows import make_windows
from blockskim.errors import BlockSkimError, ConfigError, DataError, ModelError
from blockskim.evaluation.evaluate import evaluate, evaluate_windows
from blockskim.model.data_record import DataRecord, data_records
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.training import train as training
from blockskim.training.initial_model import initial_model
from blockskim.training.recipe import Recipe
from synthetic_task import examples
from tiny_encoders import save_encoder
from tiny_models import new_dense_model
from tiny_tokenizers import word_piece
from training_runs import killed_by, short_recipe

RECIPE = short_recipe(eval_steps=20)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "trained"
    lines = []
    training.train(base, examples(240, 0), examples(40, 1), output, RECIPE, device="cpu", report=lines.append)
    return output, lines


def test_a_tiny_model_learns_the_answer_and_its_predictors_find_the_block(trained):
    output, lines = trained
    model = BlockSkimForQuestionAnswering.from_pretrained(output).eval()
    fresh = examples(60, 2)
    figures = evaluate(model, make_windows(fresh, word_piece(), RECIPE.windows), thresholds=0.5)
    assert figures["f1"] > 90
    # Chance would keep the answer's block as often as any other.
    assert figures["predictor"][-1]["recall"] > 0.9
    assert figures["predictor"][-1]["kept"] < 0.5
    assert figures["flops_speedup"] > 1.05
    assert lines[-1]["auc_1"] > 0.9
    assert lines[-1]["auc_2"] > 0.9
    assert [line["step"] for line in lines] == [20, 40, 60, 80, 90]


def test_a_run_leaves_everything_that_is_needed_to_use_and_repeat_it(trained):
    output, _ = trained
    assert Recipe.from_dict(json.loads((output / "recipe.json").read_text())) == RECIPE
    log = json.loads((output / "training_log.json").read_text())
    assert any("qa_loss" in entry and "skim_loss" in entry for entry in log)
    card = (output / "README.md").read_text()
    assert "240" in card
    assert "skim_factor: 0.5" in card
    loaded = AutoModelForQuestionAnswering.from_pretrained(output)
    assert isinstance(loaded, BlockSkimForQuestionAnswering)
    assert loaded.skim_config == RECIPE.skim
    # The model and every checkpoint on the way know that their predictors were trained.
    assert loaded.has_trained_predictors
    for folder in (output / "checkpoints").iterdir():
        assert BlockSkimForQuestionAnswering.from_pretrained(folder).has_trained_predictors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factor", "trained"), [(0.0, False), ((0.0, 0.0), False), ((0.0, 0.1), True), ((0.1, 0.0), True)]
)
def test_predictors_without_a_loss_are_not_trained(base, tmp_path, factor, trained):
    recipe = RECIPE.replace(epochs=0.1, skim={"skim_factor": factor})
    lines = []
    model = training.train(
        base, examples(20, 0), examples(5, 1), tmp_path / "run", recipe, device="cpu", report=lines.append
    )
    assert model.has_trained_predictors is trained
    assert model.skim_config is not recipe.skim
    # They are looked at all the same.
    assert {"auc_1", "recall_2"} <= set(lines[-1])


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "base")
    tokenizer = word_piece()
    tokenizer.add_tokens(["[MORE]"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="the tokenizer has ids up to"):
        training.train(folder, examples(20, 0), [], tmp_path / "run", RECIPE, device="cpu")


@pytest.mark.parametrize("recipe", ["default", {}, {"epochs": 1}, 0, Path("recipe.yaml")])
def test_a_recipe_is_a_recipe(base, tmp_path, recipe):
    with pytest.raises(ConfigError, match=r"^recipe is .*; it must be a Recipe, as Recipe\.load reads one"):
        training.train(base, examples(20, 0), [], tmp_path / "run", recipe, device="cpu")


@pytest.mark.parametrize("which", [0, 1])
def test_data_that_tells_no_answers_is_refused(base, tmp_path, which):
    data = [examples(20, 0), examples(5, 1)]
    data[which] = [replace(example, annotated=False, source="test.json") for example in data[which]]
    with pytest.raises(DataError, match=r"^test\.json: its questions have no answers"):
        training.train(base, *data, tmp_path / "run", RECIPE, device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("lost", ["config.json", "tokenizer.json", ""])
def test_a_base_that_is_not_whole_is_told_of_in_a_line(base, tmp_path, lost):
    folder = shutil.copytree(base, tmp_path / "base")
    if lost:
        (folder / lost).unlink()
    else:
        shutil.rmtree(folder)
    with pytest.raises(ModelError, match=f"^{folder}") as caught:
        training.train(folder, examples(20, 0), [], tmp_path / "run", RECIPE, device="cpu")
    assert "\n" not in str(caught.value)


class Stop(TrainerCallback):
    """Ends a run as a kill would, right after a step."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 27:
            raise KeyboardInterrupt


def losses(output):
    return [entry["loss"] for entry in json.loads((output / "training_log.json").read_text()) if "loss" in entry]


@pytest.mark.parametrize("warmup", [0.0, 0.06, 0.99, 1.0])
def test_warm_up_is_a_share_of_all_steps(tmp_path, warmup):
    arguments = training.training_arguments(tmp_path, RECIPE.replace(warmup=warmup), "cpu", False)
    assert arguments.get_warmup_steps(1000) == pytest.approx(1000 * warmup, abs=1)


def test_a_process_takes_one_gpu_of_several_that_it_sees(tmp_path, monkeypatch):
    """Several would get a batch of the recipe's size each, and their losses would be added up."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(training, "choose_device", lambda device: torch.device("cuda"))
    recipe = RECIPE.replace(precision="float32", batch_size=16)
    arguments = training.training_arguments(tmp_path, recipe, "cuda", False)
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, 16)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_very_same_model(base, tmp_path, monkeypatch):
    recipe = RECIPE.replace(epochs=1.5, eval_steps=10)
    arguments = training.training_arguments
    monkeypatch.setattr(training, "training_arguments", lambda *given: _log_often(arguments(*given)))
    data = examples(200, 0), examples(10, 1)
    training.train(base, *data, tmp_path / "whole", recipe, device="cpu")
    with killed_by(training, Stop()):
        training.train(base, *data, tmp_path / "killed", recipe, device="cpu")
    training.train(base, *data, tmp_path / "killed", recipe, device="cpu", resume=True)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.slow
def test_parts_of_a_step_add_up_to_its_answer_loss(base, tmp_path, monkeypatch):
    recipe = RECIPE.replace(epochs=2, eval_steps=0, hidden_dropout=0.0, skim={"skim_factor": 0.0})
    arguments = training.training_arguments
    monkeypatch.setattr(training, "training_arguments", lambda *given: _log_often(arguments(*given)))
    # The last step of an epoch has five windows: a part of four, and one of one.
    for parts in (1, 2, 8):
        chosen = recipe.replace(gradient_accumulation=parts)
        training.train(base, examples(21, 0), [], tmp_path / str(parts), chosen, device="cpu")
    expected = losses(tmp_path / "1")
    assert len(expected) == 3
    for parts in (2, 8):
        assert losses(tmp_path / str(parts)) == pytest.approx(expected, abs=1e-4)


def _log_often(arguments):
    arguments.logging_steps = 2
    return arguments


@pytest.mark.parametrize(("settings", "steps"), [({"eval_steps": 2}, [2, 4, 5]), ({"eval_steps": 0}, [5])])
def test_a_run_of_few_steps_has_its_losses_on_record(base, tmp_path, settings, steps):
    training.train(base, examples(40, 0), examples(4, 1), tmp_path, RECIPE.replace(epochs=1, **settings), device="cpu")
    log = json.loads((tmp_path / "training_log.json").read_text())
    assert [entry["step"] for entry in log if "loss" in entry and "qa_loss" in entry] == steps
    assert [entry["step"] for entry in log if "eval_f1" in entry] == steps


def test_without_a_skim_loss_predictors_are_not_asked_in_training(base, tmp_path):
    recipe = RECIPE.replace(epochs=0.2, eval_steps=0, skim={"skim_factor": 0.0})
    training.train(base, examples(100, 0), [], tmp_path / "plain", recipe, device="cpu")
    log = json.loads((tmp_path / "plain" / "training_log.json").read_text())
    assert not any("skim_loss" in entry for entry in log)


@pytest.mark.slow
def test_development_data_of_several_files_is_scored_by_file(base, tmp_path):
    development = [replace(example, source=f"{int(example.id) % 2}.json") for example in examples(20, 1)]
    # The same id in both files is another question in each.
    development = [replace(example, id=str(int(example.id) // 2)) for example in development]
    lines = []
    training.train(
        base,
        examples(40, 0),
        development,
        tmp_path / "sets",
        RECIPE.replace(epochs=1, eval_steps=0),
        device="cpu",
        report=lines.append,
    )
    values = lines[-1]
    assert values["f1"] == pytest.approx((values["f1/0.json"] + values["f1/1.json"]) / 2, abs=1e-4)
    assert {"exact_match/0.json", "exact_match/1.json"} <= set(values)


def test_development_contexts_in_which_nothing_can_be_dropped(base, tmp_path):
    recipe = RECIPE.replace(epochs=0.2, eval_steps=0, skim={"alignment": "sequence", "block_size": 32})
    short = [Example(str(number), "when ?", "2024", (Answer("2024", 0),), ("2024",)) for number in range(3)]
    lines = []
    training.train(base, examples(20, 0), short, tmp_path / "run", recipe, device="cpu", report=lines.append)
    assert lines[-1]["f1"] >= 0 and lines[-1]["selection"] == lines[-1]["f1"]
    assert not any(name.startswith("auc_") for name in lines[-1])


def test_rates_of_encoder_head_and_predictors(base):
    from blockskim.training.trainer import parameter_groups

    model = BlockSkimForQuestionAnswering.from_backbone(base, RECIPE.skim)
    recipe = RECIPE.replace(learning_rate=1e-4, head_learning_rate=2e-4, predictor_learning_rate=3e-4)
    names = {id(parameter): name.split(".")[0] for name, parameter in model.named_parameters()}
    rates = {"encoder": 1e-4, "qa_outputs": 2e-4, "predictors": 3e-4}
    for group in parameter_groups(model, recipe):
        assert {rates[names[id(parameter)]] for parameter in group["params"]} == {group["lr"]}
    alike = parameter_groups(model, recipe.replace(predictor_learning_rate=None))
    assert {group["lr"] for group in alike} == {1e-4, 2e-4}


def test_a_block_skim_model_can_be_trained_on(trained, tmp_path):
    output, _ = trained
    model = training.train(
        output, examples(40, 3), [], tmp_path / "more", RECIPE.replace(epochs=1, eval_steps=0), device="cpu"
    )
    assert evaluate(model, make_windows(examples(30, 4), word_piece(), RECIPE.windows), thresholds=0.0)["f1"] > 90


def test_a_block_skim_model_gets_new_predictors_where_others_are_called_for(trained, tmp_path):
    output, _ = trained
    other = RECIPE.replace(epochs=1, eval_steps=0, skim={"block_size": 16, "inputs": ["attended"]})
    console = Console(file=io.StringIO(), width=200)
    model = training.train(output, examples(40, 3), [], tmp_path / "other", other, device="cpu", console=console)
    assert "new predictors" in console.file.getvalue()
    assert "block_size, inputs" in console.file.getvalue()
    assert model.skim_config == other.skim
    assert evaluate(model, make_windows(examples(30, 4), word_piece(), RECIPE.windows), thresholds=0.0)["f1"] > 90


@pytest.mark.slow
def test_training_that_drops_blocks_gives_the_same_weights_again(base, tmp_path):
    recipe = RECIPE.replace(
        epochs=1, eval_steps=0, drop_share=0.5, drop_thresholds=[0.2, 0.9], skim={"teaching_factor": 0.2}
    )
    weights = []
    for name in ("one", "two"):
        model = training.train(base, examples(60, 0), [], tmp_path / name, recipe, device="cpu")
        weights.append(model.state_dict())
        log = json.loads((tmp_path / name / "training_log.json").read_text())
        assert all(math.isfinite(entry["train_loss"]) for entry in log if "train_loss" in entry)
    same_weights(*weights)


@pytest.mark.slow
def test_thresholds_of_a_step_depend_on_seed_and_step_alone(base, tmp_path, monkeypatch):
    drawn = []
    forward = BlockSkimForQuestionAnswering.forward

    def watched(self, *args, thresholds=None, **kwargs):
        if self.training:
            drawn.append(thresholds)
        return forward(self, *args, thresholds=thresholds, **kwargs)

    monkeypatch.setattr(BlockSkimForQuestionAnswering, "forward", watched)
    recipe = RECIPE.replace(epochs=1, eval_steps=0, drop_share=0.5, drop_thresholds=[0.2, 0.9])
    training.train(base, examples(120, 0), [], tmp_path / "run", recipe, device="cpu")
    dropping = [value for value in drawn if value is not None]
    assert 2 <= len(dropping) <= len(drawn) - 2
    assert all(0.2 <= value <= 0.9 for value in dropping)
    assert len(set(dropping)) == len(dropping)
    first, drawn[:] = list(drawn), []
    training.train(base, examples(120, 0), [], tmp_path / "again", recipe, device="cpu")
    assert drawn == first


PREDICTORS_ONLY = RECIPE.replace(
    predictors_only=True, epochs=2, eval_steps=0, skim={"block_size": 16, "inputs": ["attended", "question"]}
)


def frozen(weights):
    """The weights that training predictors alone leaves as they are."""
    return {name: value for name, value in weights.items() if name.startswith(("encoder.", "qa_outputs."))}


def same_weights(found, expected):
    assert found.keys() == expected.keys() != set()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def test_predictors_alone_are_not_trained_on_a_base_without_a_head(tmp_path):
    """A new one would stay as it is, and the model answer at random."""
    dense = new_dense_model("bert")
    dense.base_model.save_pretrained(tmp_path / "encoder")
    dense.save_pretrained(tmp_path / "nameless")
    config = json.loads((tmp_path / "nameless" / "config.json").read_text())
    del config["architectures"]
    (tmp_path / "nameless" / "config.json").write_text(json.dumps(config))
    for base in ("encoder", "nameless"):
        with pytest.raises(ModelError, match=f"{base} has no question-answering head"):
            initial_model(tmp_path / base, PREDICTORS_ONLY)
        assert initial_model(tmp_path / base, RECIPE).qa_outputs.weight.requires_grad


def test_a_head_that_is_not_read_is_told_of(tmp_path, caplog):
    dense = new_dense_model("bert")
    dense.save_pretrained(tmp_path / "named")
    initial_model(tmp_path / "named", RECIPE)
    assert "a new head" not in caplog.text
    config = json.loads((tmp_path / "named" / "config.json").read_text())
    (tmp_path / "named" / "config.json").write_text(json.dumps({**config, "architectures": None}))
    initial_model(tmp_path / "named", RECIPE)
    assert "the weights hold 'qa_outputs.bias'" in caplog.text and "a new head takes its place" in caplog.text


def test_predictors_alone_learn_on_what_dropping_leaves(trained, tmp_path):
    recipe = RECIPE.replace(predictors_only=True, epochs=1, eval_steps=0, drop_share=1.0, drop_thresholds=[0.2, 0.9])
    training.train(trained[0], examples(32, 3), [], tmp_path / "on", recipe, device="cpu")
    before, after = (load_file(folder / "model.safetensors") for folder in (trained[0], tmp_path / "on"))
    same_weights(frozen(after), frozen(before))
    assert any(not torch.equal(after[name], before[name]) for name in before if name.startswith("predictors."))


@pytest.mark.slow
def test_predictors_alone_are_trained_on_a_block_skim_model_with_others(trained, tmp_path, monkeypatch):
    source, _ = trained
    output = tmp_path / "predictors"
    start, begun = training.initial_model, []

    def starting(*arguments):
        model = start(*arguments)
        begun.append({name: value.clone() for name, value in model.state_dict().items()})
        return model

    monkeypatch.setattr(training, "initial_model", starting)
    lines = []
    model = training.train(
        source, examples(160, 6), examples(30, 7), output, PREDICTORS_ONLY, device="cpu", report=lines.append
    )
    before, after = (load_file(folder / "model.safetensors") for folder in (source, output))
    same_weights(frozen(after), frozen(before))
    same_weights(frozen(model.state_dict()), frozen(before))
    learned = [name for name in after if name not in frozen(after)]
    assert all(name.startswith("predictors.") for name in learned)
    assert {name.split(".")[3] for name in learned} == {"attended", "question"}
    assert all(not torch.equal(after[name], begun[0][name]) for name in learned)
    assert lines[-1]["auc_1"] > 0.9
    loaded = BlockSkimForQuestionAnswering.from_pretrained(output).eval()
    assert loaded.skim_config == PREDICTORS_ONLY.skim
    # What it answers without skimming is what it answered before.
    windows = make_windows(examples(20, 8), word_piece(), RECIPE.windows)
    original = BlockSkimForQuestionAnswering.from_pretrained(source).eval()
    answers = [evaluate_windows(one, windows, 8, 0.0).answers for one in (loaded, original, model)]
    assert answers[0] == answers[1] == answers[2]


def test_predictors_alone_pass_over_batches_in_which_nothing_can_be_dropped(trained, tmp_path):
    # Blocks of 64 from the first token of short windows hold the question, so no batch has one that could be dropped.
    skim = {"block_size": 64, "alignment": "sequence", "inputs": ["attended"]}
    recipe = RECIPE.replace(predictors_only=True, epochs=1, eval_steps=0, skim=skim, weight_decay=0.0)
    recipe = recipe.replace(windows={"max_length": 64, "doc_stride": 16, "max_question_length": 16})
    model = training.train(trained[0], examples(16, 3), [], tmp_path / "on", recipe, device="cpu")
    same_weights(frozen(model.state_dict()), frozen(load_file(trained[0] / "model.safetensors")))


def test_what_mixed_precision_put_over_a_model_is_gone_after_training(trained, tmp_path):
    recipe = RECIPE.replace(epochs=1, eval_steps=0, precision="bfloat16")
    model = training.train(trained[0], examples(16, 3), [], tmp_path / "on", recipe, device="cpu")
    loaded = BlockSkimForQuestionAnswering.from_pretrained(tmp_path / "on").eval()
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).start_logits, loaded(ids).start_logits)


def test_predictors_alone_go_on_from_what_they_know_where_they_fit_the_recipe(trained, tmp_path):
    recipe = RECIPE.replace(predictors_only=True, epochs=1, eval_steps=0, head_learning_rate=1e-7)
    training.train(trained[0], examples(16, 3), [], tmp_path / "on", recipe, device="cpu")
    before, after = (load_file(folder / "model.safetensors") for folder in (trained[0], tmp_path / "on"))
    learned = [name for name in before if name.startswith("predictors.")]
    assert learned
    for name, value in before.items():
        assert torch.allclose(after[name], value, atol=1e-5), name
    assert any(not torch.equal(after[name], before[name]) for name in learned)


def test_new_predictors_alone_need_a_loss_that_says_what_is_relevant(trained, tmp_path):
    new_dense_model("bert").save_pretrained(tmp_path / "dense")
    recipe = RECIPE.replace(predictors_only=True, skim={"skim_factor": 0.0, "teaching_factor": 1.0})
    with pytest.raises(ConfigError, match=r"skim_factor is 0\.0 and the predictors of .*dense are new"):
        initial_model(tmp_path / "dense", recipe)
    assert initial_model(trained[0], recipe).has_trained_predictors


def test_predictors_alone_are_trained_on_a_model_that_answers(tmp_path):
    tokenizer = word_piece()
    dense = new_dense_model("bert", vocab_size=len(tokenizer), initializer_range=0.05)
    dense.save_pretrained(tmp_path / "dense")
    tokenizer.save_pretrained(tmp_path / "dense")
    recipe = PREDICTORS_ONLY.replace(epochs=0.5)
    training.train(tmp_path / "dense", examples(40, 0), [], tmp_path / "skimming", recipe, device="cpu")
    after = load_file(tmp_path / "skimming" / "model.safetensors")
    before = {name.replace("bert.", "encoder.", 1): value for name, value in dense.state_dict().items()}
    same_weights(frozen(after), before)


@pytest.mark.slow
def test_a_run_logs_into_its_own_folder_and_leaves_the_environment_as_it_was(base, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    recipe = RECIPE.replace(epochs=0.2, eval_steps=0)

    def logged(name):
        training.train(base, examples(20, 0), [], tmp_path / name, recipe, device="cpu")
        return sorted(path.parent.relative_to(tmp_path) for path in tmp_path.rglob("events.out.*"))

    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    assert logged("one") == [Path("one/tensorboard")]
    assert logged("two") == [Path("one/tensorboard"), Path("two/tensorboard")]
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "mine"))
    assert logged("three")[0] == Path("mine")
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "mine")


def test_a_run_that_fails_leaves_the_environment_as_it_was(base, tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise ConfigError("mine")

    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    monkeypatch.setattr(training, "SkimTrainer", refuse)
    with pytest.raises(ConfigError, match="mine"):
        training.train(base, examples(20, 0), [], tmp_path / "run", RECIPE, device="cpu")
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ


def test_the_settings_of_a_model_that_is_trained_on_are_not_those_of_the_recipe_itself(trained, tmp_path):
    model = initial_model(trained[0], RECIPE)
    assert model.skim_config == RECIPE.skim
    assert model.skim_config is not RECIPE.skim


def test_nothing_is_overwritten_and_nothing_is_resumed_from_nowhere(trained, base, tmp_path):
    output, _ = trained
    with pytest.raises(BlockSkimError, match="--resume"):
        training.train(base, examples(10, 0), [], output, RECIPE, device="cpu")
    with pytest.raises(BlockSkimError, match="no checkpoint"):
        training.train(base, examples(10, 0), [], tmp_path, RECIPE, device="cpu", resume=True)
    with pytest.raises(ConfigError, match="batch_size"):
        training.train(base, examples(10, 0), [], output, RECIPE.replace(batch_size=4), device="cpu", resume=True)


def test_examples_without_an_answer_in_their_context_are_left_out(base, tmp_path):
    lost = [Example("x", "when ?", "no number here", (), ("2024",))]
    with pytest.raises(DataError, match="none of 1"):
        training.train(base, lost, [], tmp_path / "lost", RECIPE, device="cpu")


def test_a_run_records_the_data_that_it_used(base, tmp_path):
    lost = Example("x", "when ?", "no number here", (), ("2024",), source="a.json")
    known = [replace(one, source="a.json", title=f"{int(one.id) // 4}") for one in examples(16, 0)]
    # Of which nothing is relevant, so that figures of predictors don't exist.
    dev = [Example("u", "when ?", "the kite nests in wales " * 4, source="dev.json")]
    recipe = RECIPE.replace(epochs=0.5, eval_steps=0, elsewhere_share=0.5)
    training.train(base, [*known, lost], dev, tmp_path / "run", recipe, device="cpu", hold_out=0.1)
    [record] = data_records(tmp_path / "run")
    assert record == DataRecord({"a.json": 16}, record.elsewhere, {"dev.json": 1}, 0.1)
    log = json.loads((tmp_path / "run" / "training_log.json").read_text(), parse_constant=pytest.fail)
    assert any("eval_f1" in entry and entry["eval_auc_1"] is None for entry in log)
    training.train(tmp_path / "run", known, [], tmp_path / "on", recipe, device="cpu")
    assert data_records(tmp_path / "on") == [record, replace(record, development={}, hold_out=None)]


def test_files_of_which_no_question_was_drawn_are_on_record(base, tmp_path):
    dev = [replace(one, source=f"{one.id}.json") for one in examples(6, 1)]
    recipe = RECIPE.replace(epochs=0.1, eval_steps=0, eval_examples=2)
    training.train(base, examples(16, 0), dev, tmp_path / "run", recipe, device="cpu")
    [record] = data_records(tmp_path / "run")
    assert sorted(record.development) == sorted(one.source for one in dev)
    assert sorted(record.development.values()) == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("share", ["0.05", True, -0.1, 1.0, float("nan")])
def test_an_impossible_share_of_held_out_articles_is_refused_at_the_start(base, tmp_path, share):
    with pytest.raises(ConfigError, match=r"hold_out is .*; it must be a number"):
        training.train(base, examples(16, 0), [], tmp_path / "run", RECIPE, device="cpu", hold_out=share)
    assert not (tmp_path / "run").exists()


def test_calibration_finds_a_cheaper_point_within_the_target_twice_the_same(trained):
    output, _ = trained
    model = BlockSkimForQuestionAnswering.from_pretrained(output).eval()
    windows = make_windows(examples(80, 5), word_piece(), RECIPE.windows)
    first = calibrate(model, windows, max_f1_drop=1.0)
    assert first.satisfied
    assert first.chosen.flops_speedup > 1.05
    assert first.dense.f1 - first.chosen.f1 <= 1.0
    again = calibrate(model, windows, max_f1_drop=1.0)
    assert again.chosen.thresholds == first.chosen.thresholds
    figures = evaluate(
        model, make_windows(examples(80, 5), word_piece(), RECIPE.windows), thresholds=first.chosen.thresholds
    )
    assert figures["f1"] == pytest.approx(first.chosen.f1)
    assert figures["flops_speedup"] == pytest.approx(first.chosen.flops_speedup)
    lost = first.dense.f1 - first.chosen.f1
    assert max(first.chosen.f1_at_risk, lost) <= 1.0 or lost + first.chosen.error <= 1.0
    # Nothing that would do as well is cheaper.
    for point in first.front:
        if point.flops_speedup > first.chosen.flops_speedup:
            assert first.dense.f1 - point.f1 + point.error > 1.0
    assert all(point.flops_speedup > 1 for point in first.front)


def test_layers_that_save_less_than_asking_them_costs_are_not_asked(trained):
    output, _ = trained
    model = BlockSkimForQuestionAnswering.from_pretrained(output).eval()
    windows = make_windows(examples(40, 5), word_piece(), RECIPE.windows)
    free, dear = (calibrate(model, windows, max_f1_drop=1.0, overhead=overhead) for overhead in (0.0, 1.0))
    assert free.chosen.flops_speedup > 1.05
    assert dear.satisfied
    assert dear.chosen == dear.dense
    assert dear.front == ()
    # Where the second layer saves a little more than the first alone, it is asked only when that costs nothing.
    between = calibrate(model, windows, max_f1_drop=1.0, overhead=0.02)
    asked = [sum(threshold > 0 for threshold in result.chosen.thresholds) for result in (free, between, dear)]
    assert asked == sorted(asked, reverse=True)


def test_a_target_that_no_point_satisfies_gives_the_nearest(trained):
    output, _ = trained
    model = BlockSkimForQuestionAnswering.from_pretrained(output).eval()
    windows = make_windows(examples(40, 5), word_piece(), RECIPE.windows)
    result = calibrate(model, windows, target_speedup=50.0)
    assert not result.satisfied
    assert result.chosen == result.front[-1]
    reached = calibrate(model, windows, target_speedup=1.05)
    assert reached.satisfied
    assert reached.chosen.flops_speedup >= 1.05


@pytest.mark.parametrize(
    "target", [{}, {"max_f1_drop": 1, "target_speedup": 2}, {"max_f1_drop": -1}, {"target_speedup": 0.5}]
)
def test_impossible_targets_are_refused(trained, target):
    output, _ = trained
    model = BlockSkimForQuestionAnswering.from_pretrained(output).eval()
    windows = make_windows(examples(4, 5), word_piece(), RECIPE.windows)
    with pytest.raises(ConfigError):
        calibrate(model, windows, **target)
