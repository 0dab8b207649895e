"""The one choice of what a run skims with."""

import pytest

from blockskim import QuestionAnswerer
from blockskim.errors import ConfigError
from blockskim.inference.loading import load
from blockskim.inference.operating_point import choose_thresholds
from blockskim.method.config import SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_answerers import TEXT, dense_for, new_model, save_model, save_plain
from tiny_tokenizers import fixed_tokenizer

POINTS = {"exact": 0.0, "fast": [0.2, 0.3]}


@pytest.fixture(scope="module")
def model():
    """A model whose predictors are trained. Don't change it."""
    return new_model(points=POINTS)


@pytest.fixture
def untrained():
    """A model whose predictors are new, with settings that would have them asked."""
    config = SkimConfig(block_size=8, predictor_width=8, thresholds=0.4, points=POINTS)
    return BlockSkimForQuestionAnswering.from_backbone(dense_for("wordpiece"), config).eval()


def test_without_a_choice_the_model_has_its_own_thresholds(model):
    assert choose_thresholds(model) is None


def test_a_choice_is_a_number_a_list_a_point_or_dense(model):
    assert choose_thresholds(model, threshold=0.4) == 0.4
    assert choose_thresholds(model, threshold=0) == 0
    assert choose_thresholds(model, threshold=[0.0, 0.7]) == [0.0, 0.7]
    assert choose_thresholds(model, point="fast") == (0.2, 0.3)
    assert choose_thresholds(model, point="exact") == 0.0
    assert choose_thresholds(model, dense=True) == 0.0


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"threshold": 0.4, "point": "fast"}, "a threshold and an operating point can't go together; give one of them"),
        ({"threshold": 0.0, "point": "fast"}, "can't go together"),
        ({"dense": True, "threshold": 0.4}, "dense reads everything, so it can't go with a threshold"),
        ({"dense": True, "threshold": 0.0}, "dense reads everything"),
        ({"dense": True, "point": "fast"}, "dense reads everything, so it can't go with an operating point"),
        ({"dense": True, "point": "fast", "threshold": 0.4}, "dense reads everything"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"threshold": [0.1]}, "1 thresholds for 2 layers"),
        ({"point": "slow"}, "the model has no operating point 'slow'; it has exact, fast"),
    ],
)
def test_impossible_choices_are_refused(model, choices, message):
    with pytest.raises(ConfigError, match=message):
        choose_thresholds(model, **choices)


def test_points_of_a_model_without_any_are_none():
    with pytest.raises(ConfigError, match="no operating point 'fast'; it has none"):
        choose_thresholds(new_model(), point="fast")


def test_untrained_predictors_are_never_asked(untrained):
    assert choose_thresholds(untrained) == 0.0
    assert choose_thresholds(untrained, dense=True) == 0.0
    assert choose_thresholds(untrained, threshold=0.0) == 0.0
    assert choose_thresholds(untrained, threshold=[0.0, 0.0]) == [0.0, 0.0]
    for choice in ({"threshold": 0.1}, {"threshold": [0.0, 0.1]}, {"point": "fast"}, {"point": "exact"}):
        with pytest.raises(ConfigError, match="needs a Block-Skim model; a new one is a plain one, without trained"):
            choose_thresholds(untrained, name="a new one", **choice)


def test_an_answerer_of_a_new_model_reads_everything_and_takes_no_threshold(untrained):
    qa = QuestionAnswerer(untrained, fixed_tokenizer("wordpiece"))
    trace = qa("Who?", TEXT, return_trace=True)["trace"]
    assert trace.flops == trace.dense_flops
    for choice in ({"threshold": 0.1}, {"point": "fast"}):
        with pytest.raises(ConfigError, match="needs a Block-Skim model"):
            qa("Who?", TEXT, **choice)
        with pytest.raises(ConfigError, match="needs a Block-Skim model"):
            qa.search("Who?", {"a": TEXT}, **choice)
    with pytest.raises(ConfigError, match="needs a Block-Skim model"):
        QuestionAnswerer(untrained, fixed_tokenizer("wordpiece"), point="fast")


def test_a_stored_model_skims_and_a_plain_checkpoint_does_not(tmp_path):
    skimming = load(save_model(tmp_path / "skimming", points=POINTS), "cpu", "float32").model
    assert choose_thresholds(skimming, point="fast") == (0.2, 0.3)
    plain = load(save_plain(tmp_path / "plain"), "cpu", "float32")
    assert choose_thresholds(plain.model, threshold=0.0) == 0.0
    with pytest.raises(ConfigError, match="a plain one"):
        choose_thresholds(plain.model, point="fast", name=plain.name)


def test_a_point_must_fit_the_layers_of_the_model(tmp_path):
    with pytest.raises(ConfigError, match="3 thresholds of point 'fast' for 2 layers"):
        new_model(points={"fast": [0.2, 0.3, 0.4]})
    model = new_model()
    with pytest.raises(ConfigError, match="3 thresholds of point 'fast' for 2 layers"):
        model.skim_config = model.skim_config.replace(points={"fast": [0.2, 0.3, 0.4]})
