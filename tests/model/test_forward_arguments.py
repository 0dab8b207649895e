"""What people pass to a QA model of transformers: embeddings, positions, gradient checkpointing."""

from functools import partial

import pytest
import torch

from blockskim.errors import ModelError
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from strategies import every_family
from tiny_models import dense_model, make_batch, new_dense_model, new_skim_model, skim_model


def counted(sizes, part):
    sizes.append(part.numel())
    return part


@every_family
def test_embeddings_in_place_of_ids(family):
    batch = make_batch(family, [(4, 20), (3, 11)])
    inputs = batch.without_context()
    model = skim_model(family)
    expected = model(**inputs)
    embeddings = model.get_input_embeddings()(inputs.pop("input_ids"))
    if family == "modernbert":  # there embeddings are what comes before the norm, in transformers too
        embeddings = embeddings.detach()
    found = model(inputs_embeds=embeddings, **inputs)
    assert found.start_logits[batch.real].allclose(expected.start_logits[batch.real], atol=1e-6)
    with pytest.raises(ModelError, match="either input_ids or inputs_embeds"):
        model(**inputs)
    with pytest.raises(ModelError, match="context_mask needs input_ids"):
        model(inputs_embeds=embeddings, context_mask=batch.context.long(), **inputs)


@every_family
def test_positions_are_those_of_transformers(family):
    batch = make_batch(family, [(4, 20), (4, 20)])
    inputs = batch.without_context()
    positions = torch.arange(inputs["input_ids"].shape[1])[None] + 7
    try:
        expected = dense_model(family)(**inputs, position_ids=positions).start_logits
    except TypeError:  # DistilBERT's QA model of transformers takes none
        expected = None
    found = skim_model(family)(**inputs, position_ids=positions).start_logits
    if expected is not None:
        assert found.allclose(expected, atol=1e-5)
    with pytest.raises(ModelError, match="position_ids has the shape"):
        skim_model(family)(**inputs, position_ids=positions[:, 1:])


def test_rotary_positions_rise_by_one():
    batch = make_batch("modernbert", [(4, 20)])
    positions = torch.arange(batch.inputs["input_ids"].shape[1])[None] * 2
    with pytest.raises(ModelError, match="position_ids must rise by one"):
        skim_model("modernbert")(**batch.inputs, position_ids=positions)


@every_family
@pytest.mark.filterwarnings("ignore:.*deprecated.*")
def test_gradient_checkpointing_changes_no_gradient(family):
    batch = make_batch(family, [(4, 60), (3, 31)])
    targets = {"start_positions": torch.tensor([10, 12]), "end_positions": torch.tensor([11, 14])}
    gradients = []
    for checkpointing in (False, True):
        model = new_skim_model(family, ("hidden",)).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        torch.manual_seed(5)
        saved = []
        count = partial(counted, saved)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda part: part):
            loss = model(**batch.inputs, **targets).loss
        loss.backward()
        gradients.append({name: part.grad for name, part in model.named_parameters() if part.grad is not None})
        gradients[-1]["size"] = sum(saved)
    sizes = [found.pop("size") for found in gradients]
    assert sizes[1] < sizes[0]
    assert gradients[0].keys() == gradients[1].keys()
    assert all(part.allclose(gradients[1][name], atol=1e-5) for name, part in gradients[0].items())


def test_a_new_model_takes_them_as_well():
    model = BlockSkimForQuestionAnswering.from_backbone(new_dense_model("bert"))
    assert model.supports_gradient_checkpointing
    assert not model.gradient_checkpointing
