"""Students learn from their teacher, and the skim loss does not notice."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForQuestionAnswering, TrainerCallback

from blockskim.data.collate import training_collator
from blockskim.data.examples import Answer
from blockskim.data.tokens import pair_template
from blockskim.data.windows import make_windows
from blockskim.errors import ConfigError, ModelError
from blockskim.evaluation.evaluate import evaluate
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.training import train as training
from blockskim.training.distillation import load_teacher, token_types
from blockskim.training.distillation_losses import span_distillation_loss
from blockskim.training.distillation_settings import DistillationSettings
from blockskim.training.recipe import Recipe
from synthetic_task import examples
from tiny_encoders import save_encoder
from tiny_tokenizers import fixed_tokenizer, word_piece
from training_runs import killed_by, short_recipe

SKIM = {"block_size": 8, "predictor_width": 8, "skim_factor": 0.5, "inputs": ["match", "tiles"]}
RECIPE = short_recipe(
    skim=SKIM,
    epochs=1,
    hidden_dropout=0.0,
    max_grad_norm=1e9,
    eval_steps=0,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("distillation")


@pytest.fixture(scope="module")
def base(place):
    return save_encoder(place / "base")


@pytest.fixture(scope="module")
def teacher(place):
    """A QA model of transformers that was trained on the task."""
    folder = save_encoder(place / "untrained", answers=True, seed=3)
    recipe = RECIPE.replace(epochs=5, skim={"skim_factor": 0.0, "inputs": ["match"]})
    model = training.train(folder, examples(240, 0), [], place / "run", recipe, device="cpu")
    assert evaluate(model, make_windows(examples(40, 9), word_piece(), RECIPE.windows), thresholds=0.0)["f1"] > 90
    dense = AutoModelForQuestionAnswering.from_pretrained(folder)
    dense.base_model.load_state_dict(model.encoder.state_dict())
    dense.qa_outputs.load_state_dict(model.qa_outputs.state_dict())
    dense.save_pretrained(place / "teacher")
    word_piece().save_pretrained(place / "teacher")
    return place / "teacher"


def batch_of(model, count=8, seed=5):
    windows = make_windows(examples(count, seed), word_piece(), RECIPE.windows)
    return training_collator(windows.template.pad_id)(list(windows))


def trainer_of(model, recipe, tmp_path, teacher=None):
    windows = make_windows(examples(8, 5), word_piece(), RECIPE.windows)
    loaded = None
    if teacher is not None:
        loaded = load_teacher(teacher, word_piece(), model, recipe.distillation, recipe.windows.max_length)
    return training.SkimTrainer(
        recipe,
        windows,
        None,
        loaded,
        model=model,
        args=training.training_arguments(tmp_path, recipe, "cpu", False),
        data_collator=training_collator(windows.template.pad_id),
    )


def gradients(base, recipe, tmp_path, teacher=None):
    """Gradients of one step's loss, and the parts of it."""
    torch.manual_seed(0)
    model = BlockSkimForQuestionAnswering.from_backbone(base, recipe.skim).train()
    trainer = trainer_of(model, recipe, tmp_path, teacher)
    trainer.compute_loss(model, batch_of(model)).backward()
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    return found, {name: float(value) for name, value in trainer._sums.items()}


@pytest.mark.slow
@pytest.mark.parametrize("drop_share", [0.0, 1.0])
def test_the_skim_loss_weighs_the_same_whatever_distillation_weighs(base, teacher, tmp_path, drop_share):
    recipe = RECIPE.replace(drop_share=drop_share)
    settings = [{"weight": 0.1}, {"weight": 50.0}, {"weight": 3.0, "hidden_weight": 2.0, "attention_weight": 2.0}]
    if drop_share:
        settings.append({"weight": 1.0, "self_weight": 7.0})
    expected, parts = gradients(base, recipe, tmp_path)
    of_predictors = [name for name in expected if name.startswith("predictors.")]
    assert of_predictors and all(expected[name].any() for name in of_predictors if name.endswith("weight"))
    for changes in settings:
        found, others = gradients(base, recipe.replace(distillation=changes), tmp_path, teacher)
        assert others["skim_loss"] == parts["skim_loss"]
        for name in of_predictors:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-8)
        # The encoder does notice.
        name = "encoder.encoder.layer.2.output.dense.weight"
        assert (found[name] - expected[name]).abs().max() > 1e-4


def test_the_label_weight_is_that_of_the_qa_loss(base, teacher, tmp_path):
    def found(label_weight):
        recipe = RECIPE.replace(distillation={"weight": 2.0, "label_weight": label_weight})
        return gradients(base, recipe, tmp_path, teacher)

    (none, parts), (half, others), (whole, _) = (found(weight) for weight in (0.0, 0.5, 1.0))
    # What is logged is the loss itself.
    assert parts["qa_loss"] == others["qa_loss"] > 0
    for name, value in half.items():
        torch.testing.assert_close(value, (none[name] + whole[name]) / 2, rtol=1e-4, atol=3e-7)
    name = "encoder.encoder.layer.2.output.dense.weight"
    assert (whole[name] - none[name]).abs().max() > 1e-4


def test_without_weight_labels_teach_nothing(base, teacher, tmp_path):
    recipe = RECIPE.replace(skim={"skim_factor": 0.0}, distillation={"weight": 2.0, "label_weight": 0.0})
    results = []
    for shift in (0, 3):
        torch.manual_seed(0)
        model = BlockSkimForQuestionAnswering.from_backbone(base, recipe.skim).train()
        batch = batch_of(model)
        batch["start_positions"] = (batch["start_positions"] - shift).clamp(min=0)
        trainer_of(model, recipe, tmp_path, teacher).compute_loss(model, batch).backward()
        results.append(model.qa_outputs.weight.grad)
    assert results[0].any()
    torch.testing.assert_close(*results)


def test_the_losses_are_added_with_their_weights(base, teacher, tmp_path):
    weights = {"weight": 0.5, "temperature": 3.0, "hidden_weight": 0.25, "attention_weight": 2.0}
    recipe = RECIPE.replace(distillation=weights)
    torch.manual_seed(0)
    model = BlockSkimForQuestionAnswering.from_backbone(base, recipe.skim).eval()
    trainer, batch = trainer_of(model, recipe, tmp_path, teacher), batch_of(model)
    with torch.no_grad():
        loss = trainer.compute_loss(model, batch)
        output = model(**batch)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        dense = AutoModelForQuestionAnswering.from_pretrained(teacher).eval()
        teacher_output = dense(**inputs, output_hidden_states=True)
        mask = batch["attention_mask"].bool()
        logits = (output.start_logits, output.end_logits, teacher_output.start_logits, teacher_output.end_logits)
        parts = trainer._sums
        torch.testing.assert_close(parts["teacher_loss"], 0.5 * span_distillation_loss(*logits, mask, 3.0))
        states = model.encoder(**inputs, output_hidden_states=True).hidden_states[1:]
        differences = [
            ((own - other)[mask] ** 2).mean()
            for own, other in zip(states, teacher_output.hidden_states[1:], strict=True)
        ]
        torch.testing.assert_close(parts["hidden_loss"], 0.25 * torch.stack(differences).mean())
        added = parts["teacher_loss"] + parts["hidden_loss"] + parts["attention_loss"]
        assert parts["attention_loss"] > 0
        torch.testing.assert_close(loss, output.loss + added)


def test_windows_without_an_answer_are_learned_from_the_teacher_unless_told_otherwise(base, teacher, tmp_path):
    model = BlockSkimForQuestionAnswering.from_backbone(base, RECIPE.skim).eval()
    batch = batch_of(model)
    weights = {"weight": 1.0, "hidden_weight": 1.0}

    def parts(unanswerable):
        recipe = RECIPE.replace(distillation={**weights, "unanswerable": unanswerable})
        trainer = trainer_of(model, recipe, tmp_path, teacher)
        trainer.compute_loss(model, batch)
        return {name: float(trainer._sums[name]) for name in ("teacher_loss", "hidden_loss")}

    assert (batch["start_positions"][:, 0] > 0).all()
    assert parts(False) == parts(True)
    # The target of a window without an answer is its first token.
    for positions in (batch["start_positions"], batch["end_positions"]):
        positions[0] = -1
        positions[0, 0] = 0
    some = parts(False)
    assert 0 < some["teacher_loss"] < parts(True)["teacher_loss"]
    batch["start_positions"][:, 0] = batch["end_positions"][:, 0] = 0
    assert parts(False) == {"teacher_loss": 0.0, "hidden_loss": 0.0}


@pytest.mark.parametrize("value", [1, "false", None])
def test_whether_unanswerable_windows_are_learned_is_true_or_false(value):
    with pytest.raises(ConfigError, match=r"distillation.unanswerable is .*; it must be true or false"):
        DistillationSettings(unanswerable=value)


def test_attention_output_is_what_the_output_projection_reads(base, teacher, tmp_path):
    model = BlockSkimForQuestionAnswering.from_pretrained(place_model(base, tmp_path)).eval()
    read = []
    for layer in model.adapter.layers(model.encoder):
        layer.attention.output.dense.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    with torch.no_grad():
        output = model(**batch_of(model), output_hidden_states=True)
    assert len(output.attention_outputs) == 3
    for found, expected in zip(output.attention_outputs, read, strict=True):
        assert torch.equal(found, expected)
    assert model(**batch_of(model)).hidden_states is None


def place_model(base, folder):
    model = BlockSkimForQuestionAnswering.from_backbone(base, RECIPE.skim)
    model.save_pretrained(folder / "model")
    word_piece().save_pretrained(folder / "model")
    return folder / "model"


@pytest.mark.slow
def test_a_student_believes_its_teacher_more_than_wrong_answers(base, teacher, tmp_path):
    wrong = [
        replace(example, answers=(Answer(word, 0),), references=(word,))
        for example in examples(240, 1)
        for word in [example.context.split()[0]]
    ]
    found = {}
    for name, given in (("alone", None), ("taught", teacher)):
        settings = {"weight": 20.0} if given else {}
        recipe = RECIPE.replace(epochs=4, distillation=settings, skim={"inputs": ["match"]})
        model = training.train(base, wrong, [], tmp_path / name, recipe, device="cpu", teacher=given)
        found[name] = evaluate(model, make_windows(examples(40, 9), word_piece(), RECIPE.windows), thresholds=0.0)["f1"]
    assert found["alone"] < 10
    assert found["taught"] > 90
    card = (tmp_path / "taught" / "README.md").read_text()
    assert "It learned from teacher, too" in card
    assert "weight: 20.0" in card
    assert "learned from" not in (tmp_path / "alone" / "README.md").read_text()
    assert not (tmp_path / "alone" / "teacher.json").exists()


def test_a_teacher_is_dense_learns_nothing_and_has_no_dropout(base, teacher, tmp_path):
    model = training.train(teacher, examples(40, 1), [], tmp_path / "skims", RECIPE, device="cpu")
    model.skim_config = model.skim_config.replace(thresholds=0.9)
    model.save_pretrained(tmp_path / "skims")
    for source in (teacher, tmp_path / "skims"):
        judge = load_teacher(source, word_piece(), model, RECIPE.distillation, 80)
        assert not judge.model.training
        assert not any(value.requires_grad for value in judge.model.parameters())
        batch = batch_of(judge.model)
        first, again = judge.answer(batch, True), judge.answer(batch, False)
        assert torch.equal(first.start_logits, again.start_logits)
        assert not first.start_logits.requires_grad
        # Nothing is dropped, whatever its thresholds are.
        assert first.start_logits.isfinite().all()
        assert first.skim_logits is None


class Stop(TrainerCallback):
    """Ends a run as a kill would, right after a step."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 17:
            raise KeyboardInterrupt


DISTILLATION = {"weight": 2.0, "hidden_weight": 0.1, "layers": [[1, 2], [3, 3]], "self_weight": 0.5}


@pytest.mark.slow
def test_a_killed_run_with_a_teacher_resumes_to_the_very_same_model(base, teacher, tmp_path, monkeypatch):
    recipe = RECIPE.replace(eval_steps=10, hidden_dropout=0.05, drop_share=0.5, distillation=DISTILLATION)
    data = examples(200, 0), examples(10, 1)
    training.train(base, *data, tmp_path / "whole", recipe, device="cpu", teacher=teacher)
    with killed_by(training, Stop()):
        training.train(base, *data, tmp_path / "killed", recipe, device="cpu", teacher=teacher)

    training.train(base, *data, tmp_path / "killed", recipe, device="cpu", teacher=teacher, resume=True)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert Recipe.from_dict(json.loads((tmp_path / "killed" / "recipe.json").read_text())) == recipe


@pytest.mark.slow
def test_a_run_is_not_resumed_with_other_distillation(base, teacher, tmp_path):
    def go_on(recipe, teacher, resume=True):
        training.train(base, examples(20, 0), [], tmp_path / "run", recipe, "cpu", teacher=teacher, resume=resume)

    go_on(RECIPE, teacher, resume=False)
    with pytest.raises(ConfigError, match=r"the teacher is none but the run in .* was started with teacher"):
        go_on(RECIPE, None)
    with pytest.raises(ConfigError, match=r"distillation is .* resume with the same"):
        go_on(RECIPE.replace(distillation={"temperature": 3.0}), teacher)
    other = save_encoder(tmp_path / "teacher", answers=True, seed=8)
    with pytest.raises(ConfigError, match="of the same name, with other weights"):
        go_on(RECIPE, other)
    # The same teacher is known again, wherever it lies.
    moved = shutil.copytree(teacher, tmp_path / "moved")
    go_on(RECIPE, moved)


@pytest.mark.slow
def test_a_run_from_before_there_was_distillation_can_be_resumed(base, tmp_path):
    training.train(base, examples(20, 0), [], tmp_path / "run", RECIPE, device="cpu")
    stored = json.loads((tmp_path / "run" / "recipe.json").read_text())
    del stored["distillation"]
    (tmp_path / "run" / "recipe.json").write_text(json.dumps(stored))
    training.train(base, examples(20, 0), [], tmp_path / "run", RECIPE, device="cpu", resume=True)


def test_a_model_learns_from_its_own_dense_run_in_the_steps_that_drop(base, tmp_path):
    recipe = RECIPE.replace(drop_share=0.5, drop_thresholds=[0.4, 0.9], distillation={"self_weight": 1.0})
    training.train(base, examples(100, 0), [], tmp_path / "own", recipe, device="cpu")
    log = json.loads((tmp_path / "own" / "training_log.json").read_text())
    assert all(math.isfinite(entry["train_loss"]) for entry in log if "train_loss" in entry)


def test_only_steps_that_drop_have_a_loss_against_the_dense_run(base, tmp_path):
    for share in (0.0, 1.0):
        settings = {"self_weight": 0.5} if share else {}
        recipe = RECIPE.replace(drop_share=share, drop_thresholds=[0.6, 0.9], distillation=settings)
        torch.manual_seed(0)
        model = BlockSkimForQuestionAnswering.from_backbone(base, recipe.skim).train()
        norms = [value for name, value in model.named_buffers() if name.endswith("num_batches_tracked")]
        trainer, batch = trainer_of(model, recipe, tmp_path), batch_of(model)
        torch.manual_seed(1)
        trainer.compute_loss(model, batch)
        assert model.training
        # Batch norm saw the batch once.
        assert {int(value) for value in norms} == {1}
        if not share:
            assert "self_loss" not in trainer._sums
            continue
        threshold = trainer._dropping()["thresholds"]
        torch.manual_seed(1)
        with torch.no_grad():
            dropped = model(**batch, thresholds=threshold)
            dense = model.eval()(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
        kept = batch["attention_mask"].bool() & dropped.start_logits.isfinite()
        assert kept.sum() < batch["attention_mask"].sum()
        logits = (dropped.start_logits, dropped.end_logits, dense.start_logits, dense.end_logits)
        expected = 0.5 * span_distillation_loss(*logits, kept, 2.0)
        torch.testing.assert_close(trainer._sums["self_loss"], expected)


def test_mixed_precision_gives_about_the_same_gradients(base, teacher, tmp_path):
    found = []
    for precision in ("float32", "bfloat16"):
        recipe = RECIPE.replace(
            precision=precision,
            drop_share=1.0,
            drop_thresholds=[0.01, 0.02],
            distillation={"weight": 1.0, "hidden_weight": 1.0, "attention_weight": 1.0, "self_weight": 1.0},
        )
        torch.manual_seed(0)
        model = BlockSkimForQuestionAnswering.from_backbone(base, recipe.skim)
        trainer = trainer_of(model, recipe, tmp_path / precision, teacher)
        wrapped = trainer.accelerator.prepare(model.train())
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(wrapped, batch_of(model))
        loss.backward()
        assert {"teacher_loss", "hidden_loss", "attention_loss", "self_loss"} <= set(trainer._sums)
        found.append({name: value.grad for name, value in model.named_parameters() if name.startswith("encoder.enc")})
    for name, value in found[0].items():
        if "key.bias" not in name:  # which has no effect, and so no gradient
            likeness = torch.cosine_similarity(value.flatten(), found[1][name].flatten(), dim=0)
            assert likeness > 0.95, name


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_teacher_computes_in_the_precision_of_the_run(base, teacher, tmp_path, precision, dtype):
    model = BlockSkimForQuestionAnswering.from_backbone(base, RECIPE.skim)
    trainer = trainer_of(model, RECIPE.replace(precision=precision, distillation={"weight": 1.0}), tmp_path, teacher)
    wrapped = trainer.accelerator.prepare(model.train())
    seen = []
    hook = trainer.teacher.model.qa_outputs.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    trainer.compute_loss(wrapped, batch_of(model))
    hook.remove()
    assert seen == [dtype]


@pytest.mark.parametrize("types", [True, False])
def test_a_teacher_gets_the_token_types_of_its_own_tokenizer(types):
    windows = make_windows(examples(4, 5), word_piece(), RECIPE.windows)
    template = pair_template(fixed_tokenizer("wordpiece" if types else "bytes"))
    batch = training_collator(windows.template.pad_id)(list(windows))
    found = token_types(template, batch["attention_mask"], batch["context_mask"])
    if types:
        assert torch.equal(found, batch["token_type_ids"])
    else:
        assert found is None


def test_a_teacher_with_another_vocabulary_is_refused(base, tmp_path):
    other = save_encoder(tmp_path / "other", answers=True, tokenizer=word_piece(("worms",)))
    with pytest.raises(ModelError, match="another vocabulary"):
        training.train(base, examples(10, 0), [], tmp_path / "out", RECIPE, device="cpu", teacher=other)
    assert not (tmp_path / "out").exists()


def test_a_teacher_that_does_not_answer_or_reads_less_is_refused(base, tmp_path):
    with pytest.raises(ModelError, match="without a question-answering head"):
        training.train(base, examples(10, 0), [], tmp_path / "out", RECIPE, device="cpu", teacher=base)
    with pytest.raises(ModelError, match="no such model"):
        training.train(base, examples(10, 0), [], tmp_path / "out", RECIPE, device="cpu", teacher="./none")
    short = save_encoder(tmp_path / "short", answers=True, max_position_embeddings=60)
    with pytest.raises(ModelError, match=r"80 tokens are too long for the teacher .*: it reads 60"):
        training.train(base, examples(10, 0), [], tmp_path / "out", RECIPE, device="cpu", teacher=short)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_weight": 1.0}, "hidden_weight compares layer 1 with layer 1 .* 32 and 48 wide"),
        ({"attention_weight": 1.0, "layers": [[2, 3]]}, "attention_weight compares layer 2 with layer 3"),
        ({"hidden_weight": 1.0, "layers": [[1, 4]]}, r"\[1, 4\], but the teacher has layers 1 to 3"),
        ({"hidden_weight": 1.0, "layers": [[4, 1]]}, r"\[4, 1\], but the model has layers 1 to 3"),
    ],
)
def test_states_that_cannot_be_compared_are_refused(base, tmp_path, settings, message):
    wide = save_encoder(tmp_path / "wide", answers=True, hidden_size=48)
    recipe = RECIPE.replace(distillation=settings)
    with pytest.raises((ModelError, ConfigError), match=message):
        training.train(base, examples(10, 0), [], tmp_path / "out", recipe, device="cpu", teacher=wide)


def test_logits_can_be_learned_from_a_teacher_of_another_width(base, tmp_path):
    wide = save_encoder(tmp_path / "wide", answers=True, hidden_size=48, num_hidden_layers=4)
    training.train(base, examples(20, 0), [], tmp_path / "out", RECIPE, device="cpu", teacher=wide)


@pytest.mark.parametrize(
    ("changes", "teacher", "message"),
    [
        ({"distillation": {"hidden_weight": 1.0}}, False, "hidden_weight is 1.0, but there is no teacher"),
        ({"distillation": {"layers": [[1, 1]]}}, False, "layers is .* but there is no teacher"),
        ({"distillation": {"label_weight": 0.0}}, False, "label_weight is 0.0, but there is no teacher"),
        ({"distillation": {"weight": 8.0}}, False, r"distillation.weight is 8.0, but there is no teacher"),
        ({"distillation": {"weight": 0.0}}, True, "all weights .* are 0"),
        ({"predictors_only": True}, True, "predictors_only"),
    ],
)
def test_distillation_that_would_do_nothing_is_refused(base, teacher_or_none, tmp_path, changes, teacher, message):
    recipe = RECIPE.replace(**changes)
    given = teacher_or_none if teacher else None
    with pytest.raises(ConfigError, match=message):
        training.train(base, examples(10, 0), [], tmp_path / "out", recipe, device="cpu", teacher=given)


@pytest.fixture(scope="module")
def teacher_or_none(place):
    return save_encoder(place / "unused", answers=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label_weight": -1}, "distillation.label_weight is -1"),
        ({"weight": -1}, "distillation.weight is -1"),
        ({"weight": "much"}, "distillation.weight is 'much'"),
        ({"weight": math.inf}, "finite"),
        ({"temperature": 0}, "distillation.temperature is 0; it must be above 0"),
        ({"state_loss": "l1"}, "'l1'; it must be one of mse, cosine"),
        ({"layers": []}, "must be a list of pairs"),
        ({"layers": 3}, "must be a list of pairs"),
        ({"layers": [[1, 0]]}, r"\[1, 0\]"),
        ({"layers": [[1]]}, r"\[1\]"),
        ({"wait": 1}, "unknown distillation setting 'wait'"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Recipe().replace(distillation=values)


def test_no_weight_for_no_teacher_is_no_mistake(base, tmp_path):
    recipe = RECIPE.replace(drop_share=0.5, distillation={"weight": 0.0, "self_weight": 1.0})
    training.train(base, examples(10, 0), [], tmp_path / "out", recipe, device="cpu")


def test_self_distillation_needs_steps_that_drop():
    with pytest.raises(ConfigError, match="but drop_share is 0"):
        Recipe().replace(distillation={"self_weight": 1.0})


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [(3, 6, [(1, 2), (2, 4), (3, 6)]), (3, 3, [(1, 1), (2, 2), (3, 3)]), (2, 3, [(1, 2), (2, 3)])],
)
def test_layers_are_spread_evenly_unless_named(student, teacher, expected):
    assert list(DistillationSettings().layer_pairs(student, teacher)) == expected
    assert DistillationSettings(layers=[[1, 2]]).layer_pairs(student, teacher) == ((1, 2),)
