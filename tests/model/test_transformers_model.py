import copy

import pytest
import torch

from blockskim.model.transformers_model import transformers_model
from strategies import every_family
from tiny_models import dense_model, make_batch, new_skim_model, skim_model


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_dense_models_share_weights_and_leave_the_model_alone(attention):
    model = skim_model("bert")
    before = model.encoder.config._attn_implementation
    dense = transformers_model(model, attention)
    assert dense.config._attn_implementation == attention
    assert model.encoder.config._attn_implementation == before
    ours = {value.data_ptr() for value in model.parameters()}
    assert {value.data_ptr() for value in dense.parameters()} <= ours


@every_family
def test_a_plain_model_is_the_one_that_was_skimmed(family):
    model, batch = skim_model(family), make_batch(family, [(4, 30), (2, 12)])
    found, expected = transformers_model(model), dense_model(family)
    assert not found.training
    assert type(found) is type(expected)
    with torch.no_grad():
        logits, others = (one(**batch.without_context()).start_logits[batch.real] for one in (found, expected))
    torch.testing.assert_close(logits, others, atol=1e-5, rtol=0)


@every_family
def test_a_model_on_an_encoder_for_another_task_becomes_a_plain_one(family):
    model, batch = copy.deepcopy(skim_model(family)), make_batch(family, [(4, 30), (2, 12)])
    model.encoder.config.num_labels = 3
    with torch.no_grad():
        logits = transformers_model(model)(**batch.without_context()).start_logits[batch.real]
        expected = dense_model(family)(**batch.without_context()).start_logits[batch.real]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    assert model.encoder.config.num_labels == 3


def test_a_plain_model_has_the_number_format_of_the_other():
    model = new_skim_model("bert").to(torch.bfloat16)
    plain = transformers_model(model)
    assert plain.dtype == plain.config.dtype == torch.bfloat16
