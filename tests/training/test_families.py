"""Every kind of encoder learns a task end to end, and its predictors learn where the answer is."""

import pytest

from blockskim.data.windows import make_windows
from blockskim.encoders import adapter_for
from blockskim.evaluation.evaluate import evaluate
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.training import train as training
from synthetic_task import examples
from tiny_models import FAMILIES, new_dense_model
from tiny_tokenizers import word_piece
from training_runs import short_recipe

RECIPE = short_recipe(attention_dropout=0.05, eval_steps=0)
# One of each adapter; of BERT's there are tests enough.
KINDS = [family for family in FAMILIES if adapter_for(family) is not adapter_for("bert")]
CHANCE = 0.5
"""How often a block with the answer is droppable likelier than one without, by a predictor that knows nothing."""
LARGE_MARGIN, SMALL_MARGIN = 0.4, 0.1
"""How far above it the best and the worst predictor must be."""


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
def test_a_tiny_model_learns_the_answer_and_its_predictors_find_the_block(family, tmp_path):
    tokenizer = word_piece()
    dense = new_dense_model(family, vocab_size=len(tokenizer), initializer_range=0.05)
    dense.base_model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    data, lines = (examples(240, 0), examples(20, 1)), []
    training.train(tmp_path / "base", *data, tmp_path / "trained", RECIPE, device="cpu", report=lines.append)
    model = BlockSkimForQuestionAnswering.from_pretrained(tmp_path / "trained").eval()
    for layer in model.adapter.layers(model.encoder):
        assert model.adapter.attention_dropout(layer) == 0.05
    assert evaluate(model, make_windows(examples(40, 2), tokenizer, RECIPE.windows), thresholds=0.0)["f1"] > 90
    found = [lines[-1][f"auc_{number}"] for number in model.skim_layers]
    assert max(found) > CHANCE + LARGE_MARGIN
    assert min(found) > CHANCE + SMALL_MARGIN
