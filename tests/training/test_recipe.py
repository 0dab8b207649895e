"""Recipes: what ships is valid, what is wrong is named."""

from pathlib import Path

import pytest
import yaml

from blockskim.cli.train import parse_changes
from blockskim.data.windows import WindowSettings
from blockskim.errors import ConfigError
from blockskim.method.config import SkimConfig
from blockskim.training.distillation_settings import DistillationSettings
from blockskim.training.recipe import Recipe, shipped_recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_load_and_round_trip(name):
    recipe = Recipe.load(name)
    assert Recipe.from_dict(yaml.safe_load(yaml.safe_dump(recipe.to_dict()))) == recipe


def test_the_paper_recipe_has_the_settings_of_the_paper():
    recipe = Recipe.load("paper-squad")
    assert (recipe.skim.skim_factor, recipe.skim.balance_factor, recipe.skim.block_size) == (0.1, 20, 32)
    assert (recipe.learning_rate, recipe.epochs, recipe.batch_size) == (3e-5, 2, 16)
    assert (recipe.windows.max_length, recipe.windows.doc_stride) == (512, 128)
    assert recipe.skim.inputs == ("tiles",)
    assert recipe.skim.alignment == "sequence"


@pytest.mark.parametrize(
    ("name", "balance"),
    [("hotpotqa", 20), ("newsqa", 30), ("naturalquestions", 30), ("triviaqa", 100), ("searchqa", 150)],
)
def test_other_data_sets_of_the_paper_have_its_balance_factors(name, balance):
    recipe = Recipe.load(f"paper-{name}")
    assert recipe.skim.balance_factor == balance
    assert recipe.label_evidence
    assert recipe.replace(skim={"balance_factor": 20}) == Recipe.load("paper-squad")


def test_a_recipe_may_extend_another(tmp_path):
    (tmp_path / "first.yaml").write_text("extends: paper-squad\nepochs: 7\nskim: {block_size: 16}\n")
    (tmp_path / "second.yaml").write_text("extends: first.yaml\nskim: {balance_factor: 3}\nbatch_size: 4\n")
    wanted = Recipe.load("paper-squad").replace(epochs=7, batch_size=4, skim={"block_size": 16, "balance_factor": 3})
    assert Recipe.load(tmp_path / "second.yaml") == wanted


def test_recipes_that_come_along_mean_the_same_in_every_folder(tmp_path, monkeypatch):
    wanted = {name: Recipe.load(name) for name in ("skim", "mixed")}
    monkeypatch.chdir(tmp_path)
    Path("skim").write_text("epochs: 77\n")
    assert {name: Recipe.load(name) for name in wanted} == wanted
    Path("mine.yaml").write_text("extends: skim\n")
    assert Recipe.load("mine.yaml") == wanted["skim"]
    # A path is that of a file.
    assert Recipe.load("./skim").epochs == Recipe.load(Path("skim")).epochs == 77
    assert Recipe.load(Path("mixed")) == wanted["mixed"]
    Path("yours.yaml").write_text("extends: ./skim\n")
    assert Recipe.load("yours.yaml").epochs == 77


@pytest.mark.parametrize(
    "text", ["epochs: 1\nepochs: 2\n", "skim: {block_size: 8, 'block_size': 16}", "a: [{1: 2, 1: 3}]"]
)
def test_settings_that_stand_twice_are_refused(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml is no valid YAML: '\w+' stands twice in .*line \d"):
        Recipe.load(tmp_path / "mine.yaml")


def test_a_merged_setting_may_be_another_ones(tmp_path):
    text = "skim: &a {block_size: 8, predictor_width: 16}\nwindows: {<<: {max_length: 200}, max_length: 300}\n"
    (tmp_path / "mine.yaml").write_text(text)
    assert Recipe.load(tmp_path / "mine.yaml").windows.max_length == 300


def test_recipes_that_extend_nothing_or_each_other_are_refused(tmp_path):
    (tmp_path / "lost.yaml").write_text("extends: nowhere\n")
    with pytest.raises(ConfigError, match="there is no recipe nowhere"):
        Recipe.load(tmp_path / "lost.yaml")
    (tmp_path / "a.yaml").write_text(f"extends: {tmp_path / 'b.yaml'}\n")
    (tmp_path / "b.yaml").write_text(f"extends: {tmp_path / 'a.yaml'}\n")
    with pytest.raises(ConfigError, match=r"extends .*, which extends it in turn"):
        Recipe.load(tmp_path / "a.yaml")


def test_circles_of_recipes_are_found_however_their_paths_are_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("extends: ./a.yaml\n")
    Path("b.yaml").write_text("extends: ../" + tmp_path.name + "/c.yaml\n")
    Path("c.yaml").symlink_to("b.yaml")
    for name in ("a.yaml", "./b.yaml", "c.yaml"):
        with pytest.raises(ConfigError, match=r"extends .*, which extends it in turn"):
            Recipe.load(name)


@pytest.mark.parametrize("value", ["[a.yaml]", "5", "null", "{a: b}"])
def test_what_is_extended_is_named_by_text(tmp_path, value):
    (tmp_path / "a.yaml").write_text(f"extends: {value}\n")
    with pytest.raises(ConfigError, match=r"a\.yaml: extends is .*; it must be the name or file of a recipe"):
        Recipe.load(tmp_path / "a.yaml")


@pytest.mark.parametrize("value", [None, "x", {}, 5, [1]])
@pytest.mark.parametrize("name", ["skim", "windows", "distillation"])
def test_groups_of_settings_are_of_their_kind(name, value):
    with pytest.raises(ConfigError, match=rf"^{name} is .*; it must be a "):
        Recipe(**{name: value})


@pytest.mark.parametrize("value", [None, "default", [1], 5])
def test_settings_are_a_mapping(value):
    with pytest.raises(ConfigError, match=r"^a recipe is .*; it must be a mapping"):
        Recipe.from_dict(value)
    with pytest.raises(ConfigError, match=r"^skim is .*; it must be a mapping"):
        SkimConfig.from_dict(value)


def test_only_the_predictors_recipe_trains_predictors_alone():
    assert [name for name in shipped_recipes() if Recipe.load(name).predictors_only] == ["predictors"]
    recipe = Recipe.load("predictors")
    assert recipe.skim.inputs == ("match",)
    assert recipe.skim.alignment == "context"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 2", "unknown setting 'epoch'"),
        ("epochs: 0", "epochs is 0"),
        ("epochs: two", "epochs is 'two'"),
        ("batch_size: 1.5", "batch_size is 1.5"),
        ("learning_rate: -1", "learning_rate is -1"),
        ("hidden_dropout: 1.5", "hidden_dropout is 1.5"),
        ("precision: half", "precision is 'half'"),
        ("predictors_only: 1", "predictors_only is 1; it must be true or false"),
        ("predictors_only: 'yes'", "predictors_only is 'yes'"),
        ("predictors_only: null", "predictors_only is None"),
        ("skim: {block_size: 7}", "block_size is 7"),
        ("skim: {blocks: 7}", "unknown skim setting 'blocks'"),
        ("skim: 7", "skim is 7"),
        ("windows: {stride: 7}", "unknown windows setting 'stride'"),
        ("- a list", "must hold settings"),
        ("{", "no valid YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")) as error:
        Recipe.load(path)
    assert "mine.yaml" in str(error.value)


def test_a_missing_recipe_names_those_that_ship():
    with pytest.raises(ConfigError, match=r"default, .*paper-squad, .*predictors, qa, robust, skim"):
        Recipe.load("none-such")


def test_replace_changes_nested_settings_and_checks():
    recipe = Recipe().replace(epochs=3, skim={"block_size": 8}, windows={"max_length": 256})
    assert (recipe.epochs, recipe.skim.block_size, recipe.windows.max_length) == (3, 8, 256)
    with pytest.raises(ConfigError, match="unknown setting"):
        Recipe().replace(blocks=3)


def test_replace_takes_a_whole_group():
    before = Recipe().replace(skim={"block_size": 8, "balance_factor": 3}, windows={"max_length": 256})
    after = before.replace(
        skim=SkimConfig(block_size=64), windows=WindowSettings(128), distillation=DistillationSettings(weight=8.0)
    )
    assert after == Recipe(SkimConfig(block_size=64), WindowSettings(128), DistillationSettings(weight=8.0))
    with pytest.raises(ConfigError, match="skim is 3; it must be a mapping"):
        Recipe().replace(skim=3)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"drop_share": 1.5}, r"drop_share is 1\.5"),
        ({"drop_share": -0.1}, r"drop_share is -0\.1"),
        ({"drop_thresholds": [0.5]}, r"drop_thresholds is \[0\.5\]"),
        ({"drop_thresholds": [0.5, 0.1]}, r"drop_thresholds is \[0\.5, 0\.1\]"),
        ({"drop_thresholds": [0.0, 0.5]}, "drop_thresholds is 0"),
        ({"drop_thresholds": 0.5}, r"drop_thresholds is 0\.5"),
        (
            {"predictors_only": True, "skim": {"skim_factor": 0}},
            "skim.skim_factor and skim.teaching_factor are 0, and predictors_only trains nothing else",
        ),
        (
            {"drop_share": 0.5, "predictors_only": True, "distillation": {"self_weight": 1}},
            r"distillation.self_weight is 1\.?0?; .* predictors_only",
        ),
    ],
)
def test_impossible_dropping_is_refused(values, shown):
    with pytest.raises(ConfigError, match=shown):
        Recipe.from_dict(values)


def test_dropping_survives_yaml(tmp_path):
    recipe = Recipe(drop_share=0.5, drop_thresholds=(0.1, 0.3))
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()), encoding="utf-8")
    assert Recipe.load(path) == recipe


NUMBERS = (
    "epochs",
    "learning_rate",
    "head_learning_rate",
    "predictor_learning_rate",
    "warmup",
    "weight_decay",
    "max_grad_norm",
    "hidden_dropout",
    "attention_dropout",
    "drop_share",
    "skim.skim_factor",
    "skim.balance_factor",
    "skim.neighbor_relevance",
    "skim.teaching_factor",
    "distillation.weight",
    "distillation.temperature",
)


@pytest.mark.parametrize("text", ["5e-5", "1E-4", ".5e-3", "1.5e-3", "+2e-1"])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_with_an_exponent(tmp_path, name, text):
    group, _, inner = name.rpartition(".")
    (tmp_path / "r.yaml").write_text(f"{group}:\n  {inner}: {text}\n" if group else f"{name}: {text}\n")
    loaded = Recipe.load(tmp_path / "r.yaml")
    changed = Recipe().replace(**parse_changes([f"{name}={text}"]))
    for recipe in (loaded, changed):
        assert getattr(getattr(recipe, group) if group else recipe, inner) == float(text)


@pytest.mark.parametrize(
    "name", ["batch_size", "eval_steps", "eval_examples", "max_answer_length", "seed", "windows.max_length"]
)
def test_whole_numbers_with_an_exponent(name):
    recipe = Recipe().replace(**parse_changes([f"{name}=2e3"]))
    group, _, inner = name.rpartition(".")
    value = getattr(getattr(recipe, group) if group else recipe, inner)
    assert (type(value), value) == (int, 2000)


def test_numbers_with_an_exponent_in_lists_and_text_that_looks_like_them():
    assert parse_changes(["drop_thresholds=[5e-2, 5E-1]"]) == {"drop_thresholds": [0.05, 0.5]}
    assert parse_changes(["precision=e5"]) == {"precision": "e5"}
    assert parse_changes(["precision='5e-5'"]) == {"precision": "5e-5"}


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("windows.max_length=x", "windows.max_length is 'x'"),
        ("windows.max_length=12.5", "windows.max_length is 12.5"),
        ("windows.max_question_length=true", "windows.max_question_length is True"),
        ("windows.doc_stride=null", "windows.doc_stride is None"),
        ("windows.doc_stride=-1", "windows.doc_stride is -1"),
        ("windows.max_length=99999999999999999999999", "windows.max_length is 9999"),
        ("seed=99999999999999999999999", "at most 4294967295|at most 4.29497e"),
        ("seed=4294967296", "seed is 4294967296"),
        ("seed=-1", "seed is -1"),
        ("seed=true", "seed is True"),
        ("seed=1.5", "seed is 1.5"),
        ("epochs=.inf", "epochs is inf"),
        ("epochs=1e400", "epochs is inf"),
        ("learning_rate=.nan", "learning_rate is nan"),
        ("group_by_length=1", "group_by_length is 1"),
        ("group_by_length=maybe", "group_by_length is 'maybe'"),
        ("batch_size=[1]", r"batch_size is \[1\]"),
    ],
)
def test_impossible_numbers_are_refused(change, shown):
    with pytest.raises(ConfigError, match=shown):
        Recipe().replace(**parse_changes([change]))


def test_names_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "r.yaml").write_text("skim: {1: 2, a: 3, null: 4}\n")
    with pytest.raises(ConfigError, match="unknown skim setting"):
        Recipe.load(tmp_path / "r.yaml")
