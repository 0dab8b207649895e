import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim.method.predictors.tiles import tile_features
from blockskim.model import dense
from strategies import (
    batches,
    every_alignment,
    every_combination,
    every_family,
    every_family_and_input,
    every_input,
    few,
    seeds,
    thresholds,
)
from tiny_models import dense_model, make_batch, new_dense_model, new_skim_model, skim_model, views_of

SIZES = [(4, 30), (2, 41), (6, 12), (3, 0)]


def close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@every_combination
@few
@given(batches, seeds, st.integers(0, 9))
def test_dense_forward_gives_the_logits_of_transformers(family, inputs, alignment, sizes, seed, padding):
    batch = make_batch(family, sizes, seed, padding)
    expected = dense_model(family)(**batch.without_context())
    found = skim_model(family, inputs, alignment)(**batch.inputs)
    close(found.start_logits[batch.real], expected.start_logits[batch.real])
    close(found.end_logits[batch.real], expected.end_logits[batch.real])


@every_family
def test_without_a_context_mask_no_predictor_is_asked(family):
    batch = make_batch(family, SIZES)
    model = skim_model(family)
    with views_of(model) as views:
        found = model(**batch.without_context())
    assert not views
    assert found.skim_logits is None
    assert found.loss is None
    expected = dense_model(family)(**batch.without_context())
    close(found.start_logits[batch.real], expected.start_logits[batch.real])


@every_family_and_input
@few
@given(batches, seeds, st.integers(1, 9))
def test_padding_on_either_side_changes_nothing(family, inputs, sizes, seed, padding):
    model = skim_model(family, inputs, "context")
    plain = make_batch(family, sizes, seed)
    expected = model(**plain.inputs)
    for left in (False, True):
        batch = make_batch(family, sizes, seed, padding, left=left)
        found = model(**batch.inputs)
        close(found.start_logits[batch.real], expected.start_logits[plain.real])
        close(found.end_logits[batch.real], expected.end_logits[plain.real])
        torch.testing.assert_close(found.skim_logits, expected.skim_logits, atol=1e-4, rtol=1e-4, equal_nan=True)


@every_combination
def test_a_padded_batch_gives_what_one_by_one_gives(family, inputs, alignment):
    batch = make_batch(family, SIZES, padding=3)
    model = skim_model(family, inputs, alignment)
    together = model(**batch.inputs)
    for row in range(len(SIZES)):
        alone = model(**batch.alone(row))
        close(together.start_logits[row, batch.real[row]], alone.start_logits[0])
        blocks = alone.skim_logits.shape[2]
        torch.testing.assert_close(
            together.skim_logits[row, :, :blocks], alone.skim_logits[0], atol=1e-4, rtol=1e-4, equal_nan=True
        )
        assert bool(together.skim_logits[row, :, blocks:].isnan().all())


@every_family
@every_alignment
def test_tiles_are_the_diagonal_of_transformers_attention(family, alignment):
    model = skim_model(family, ("tiles",), alignment)
    batch = make_batch(family, SIZES, padding=2)
    with torch.no_grad():
        attentions = dense_model(family)(**batch.without_context(), output_attentions=True).attentions
    for run in (model, lambda **inputs: model.skim(**inputs, thresholds=0.0, score_all_layers=True)):
        with views_of(model) as views:
            run(**batch.inputs)
        assert sorted(views) == [1, 2]
        layout = model.layout(*batch.masks)
        for number, view in views.items():
            tiles = tile_features(view)
            assert len(tiles) == int(layout.droppable.sum()) > 0
            for tile, (row, block) in zip(tiles, layout.droppable.nonzero().tolist(), strict=True):
                first, length = int(layout.starts[row, block]), int(layout.lengths[row, block])
                part = slice(first, first + length)
                close(tile[:, :length, :length], attentions[number - 1][row, :, part, part], atol=1e-6)


def test_tiles_in_bfloat16_are_close_to_the_diagonal_of_transformers_attention():
    model = copy.deepcopy(skim_model("bert", ("tiles",), "context")).to(torch.bfloat16)
    dense = copy.deepcopy(dense_model("bert")).to(torch.bfloat16)
    batch = make_batch("bert", [(4, 32)])
    with torch.no_grad():
        attention = dense(**batch.without_context(), output_attentions=True).attentions[0].float()
    for run in (model, lambda **inputs: model.skim(**inputs, thresholds=0.0, score_all_layers=True)):
        with views_of(model) as views:
            run(**batch.inputs)
        for index, tile in enumerate(tile_features(views[1])):
            part = slice(6 + 8 * index, 14 + 8 * index)
            close(tile, attention[0, :, part, part], atol=0.01)


@every_family
def test_views_hold_the_hidden_states_and_the_question(family):
    model = skim_model(family, ("hidden",), "context")
    batch = make_batch(family, [(4, 30), (2, 41)], padding=2)
    with torch.no_grad():
        states = dense_model(family)(**batch.without_context(), output_hidden_states=True).hidden_states
    with views_of(model) as views:
        model(**batch.inputs)
    for number, view in views.items():
        hidden = view.hidden.view(*batch.real.shape, -1)
        close(hidden[batch.real], states[number - 1][batch.real], atol=1e-5)
        assert view.question[view.question_exists].tolist() == [1, 2, 3, 4, *(batch.real.shape[1] + i for i in (1, 2))]


@every_input
@pytest.mark.parametrize("left", [False, True])
def test_a_short_sample_beside_a_long_question_trains(inputs, left):
    # It has fewer tokens than its batch mate has question tokens: what fills up its question must not be padding.
    model = new_skim_model("bert", inputs, "context").train()
    batch = make_batch("bert", [(1, 1), (40, 30)], left=left)
    output = model(**batch.inputs, skim_labels=model.layout(*batch.masks).droppable.long())
    output.loss.backward()
    assert bool(output.loss.isfinite())
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.grad is not None)


def test_skim_logits_are_nan_where_blocks_are_not_judged():
    batch = make_batch("bert", [(10, 30), (3, 2)], padding=8)
    model = skim_model("bert", ("tiles",), "sequence")
    logits = model(**batch.inputs).skim_logits
    layout = model.layout(*batch.masks)
    assert logits.shape == (2, 2, 6, 2)
    assert torch.equal(~logits.isnan().any(-1), layout.droppable[:, None].expand(2, 2, 6))
    # [CLS], 10 question tokens, [SEP] and 30 of context: blocks 2 to 4 hold context alone.
    assert layout.droppable.tolist() == [[False, False, True, True, True, False], [False] * 6]


def without_dropout(family, inputs, hidden=0.0, attention=0.0):
    """A model in training mode with the same weights whatever the dropout."""
    changes = {"hidden_dropout_prob": hidden, "attention_probs_dropout_prob": attention}
    model = new_skim_model(family, inputs, "context")
    dense = new_dense_model(family, **changes)
    changed = type(model).from_backbone(dense, model.skim_config)
    changed.load_state_dict(model.state_dict())
    return changed.train()


@every_family
@pytest.mark.parametrize("inputs", [("tiles",), ("question",), ("tiles", "question")], ids="+".join)
def test_predictors_see_probabilities_before_dropout(family, inputs):
    batch = make_batch(family, SIZES)
    calm = without_dropout(family, inputs)(**batch.inputs)
    torch.manual_seed(5)
    wild = without_dropout(family, inputs, attention=0.5)(**batch.inputs)
    # Only the first layer's input is the same in both runs.
    torch.testing.assert_close(wild.skim_logits[:, 0], calm.skim_logits[:, 0], atol=1e-4, rtol=1e-4, equal_nan=True)
    droppable = ~calm.skim_logits[:, 1].isnan()
    assert not torch.allclose(wild.skim_logits[:, 1][droppable], calm.skim_logits[:, 1][droppable], atol=1e-2)
    assert not torch.allclose(wild.start_logits, calm.start_logits, atol=1e-2)


@every_family
def test_dropout_is_that_of_transformers_in_training(family):
    # Nothing skims, no predictor looks: as many values are dropped, and none in evaluation mode.
    batch = make_batch(family, SIZES)
    model = without_dropout(family, ("tiles",), hidden=0.1, attention=0.1)
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        runs.append(model(**batch.without_context()).start_logits)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    model.eval()
    assert torch.equal(model(**batch.inputs).start_logits, model(**batch.inputs).start_logits)


@every_alignment
def test_padding_never_enters_the_batch_norm_statistics(alignment):
    states = []
    for padding, left in ((0, False), (1, False), (40, False), (40, True)):
        model = without_dropout("bert", ("tiles",))
        model.load_state_dict(skim_model("bert", ("tiles",), alignment).state_dict())
        before = copy.deepcopy(model.state_dict())
        model(**make_batch("bert", SIZES, padding=padding, left=left).inputs)
        states.append({name: value for name, value in model.state_dict().items() if "running" in name})
    assert states[0]
    for name, value in states[0].items():
        assert not torch.equal(value, before[name]), name
        for other in states[1:]:
            torch.testing.assert_close(other[name], value, atol=1e-6, rtol=1e-5)


def test_question_and_special_tokens_never_enter_the_batch_norm_statistics():
    # The statistics are those of the droppable blocks of each sample run by hand through the first convolution.
    model = without_dropout("bert", ("tiles",))
    batch = make_batch("bert", SIZES, padding=16)
    for predictor in model.predictors.values():
        predictor.branches["tiles"][1].momentum = 1.0
    with views_of(model) as views:
        model(**batch.inputs)
    for number, view in views.items():
        branch = model.predictors[str(number)].branches["tiles"]
        tiles = tile_features(view)
        assert len(tiles) == 4 + 6 + 2  # blocks of 8 in contexts of 30, 41 and 12 tokens
        expected = branch[0](tiles).mean((0, 2, 3))
        torch.testing.assert_close(branch[1].running_mean, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("inputs", [("tiles",), ("question",), ("hidden",), ("attended",)], ids="+".join)
def test_gradients_of_the_skim_loss_flow_into_the_attention(inputs):
    model = without_dropout("bert", inputs)
    batch = make_batch("bert", SIZES)
    positions = torch.tensor([8, 9, 10, 0])
    model(**batch.inputs, start_positions=positions, end_positions=positions).skim_loss.backward()
    attention = model.encoder.encoder.layer[1].attention.self
    gradients = [attention.query.weight.grad, attention.key.weight.grad]
    assert all(gradient is not None and float(gradient.abs().sum()) > 0 for gradient in gradients)
    # The last layer has no predictor.
    assert model.encoder.encoder.layer[2].attention.self.query.weight.grad is None


@every_family
def test_gradients_of_the_qa_loss_are_those_of_transformers(family):
    batch = make_batch(family, [(4, 30), (2, 32)])  # no padding: transformers has it in its loss
    positions = torch.tensor([8, 20])
    dense = new_dense_model(family)
    model = without_dropout(family, ("tiles",))
    expected = dense(**batch.without_context(), start_positions=positions, end_positions=positions)
    found = model(**batch.inputs, start_positions=positions, end_positions=positions)
    close(found.qa_loss, expected.loss, atol=1e-5)
    expected.loss.backward()
    found.qa_loss.backward()
    theirs, ours = dict(dense.base_model.named_parameters()), dict(model.encoder.named_parameters())
    for name, value in ours.items():
        if value.grad is None:
            assert theirs[name].grad is None, name
            continue
        torch.testing.assert_close(value.grad, theirs[name].grad, atol=1e-4, rtol=1e-3, msg=name)


@every_combination
@few
@given(batches, seeds, thresholds, st.integers(0, 9))
def test_dropping_in_training_gives_what_skimming_gives(family, inputs, alignment, sizes, seed, values, padding):
    batch = make_batch(family, sizes, seed, padding)
    model = skim_model(family, inputs, alignment)
    found = model(**batch.inputs, thresholds=values)
    expected = model.skim(**batch.inputs, thresholds=values)
    close(found.start_logits[batch.real], expected.start_logits[batch.real])
    close(found.end_logits[batch.real], expected.end_logits[batch.real])
    for index, number in enumerate(model.skim_layers):
        if number in expected.trace.layers:
            logits = found.skim_logits[:, index]
            opinions = torch.from_numpy(expected.trace.probabilities[expected.trace.layers.index(number)])
            close((logits[..., 1] - logits[..., 0]).sigmoid().nan_to_num(-1), opinions.nan_to_num(-1), 1e-4)


def test_training_drops_no_block_with_an_answer_and_learns_on_what_is_left():
    model = new_skim_model("bert", ("match",), "context")
    batch = make_batch("bert", [(4, 40), (2, 41)])
    answers = torch.tensor([[8, 30], [5, -1]])
    output = model(**batch.inputs, start_positions=answers, end_positions=answers, thresholds=1.0)
    relevant = output.skim_labels == 1
    assert relevant.sum() == 3
    dropped = output.start_logits.isinf() & batch.real
    assert bool(dropped.any())
    layout = model.layout(*batch.masks)
    for row, block in layout.droppable.nonzero().tolist():
        tokens = slice(int(layout.starts[row, block]), int(layout.starts[row, block] + layout.lengths[row, block]))
        assert bool(dropped[row, tokens].all()) != bool(relevant[row, block])
    # The second predictor scores what the first left over.
    droppable = ~output.skim_logits.isnan().any(-1)
    assert torch.equal(droppable[:, 0], layout.droppable)
    assert torch.equal(droppable[:, 1], relevant)
    output.loss.backward()
    assert bool(output.loss.isfinite())
    assert all(bool(value.grad.isfinite().all()) for value in model.parameters() if value.grad is not None)


def test_bfloat16_on_a_cpu_attends_alike_with_and_without_gradients():
    model = new_skim_model("bert", ("hidden",)).to(torch.bfloat16)
    batch = make_batch("bert", SIZES, padding=3)
    with torch.no_grad():
        expected = model(**batch.inputs).start_logits
    found = model(**batch.inputs).start_logits
    torch.testing.assert_close(found[batch.real], expected[batch.real], atol=0.1, rtol=0.1)


def test_a_frozen_encoder_attends_without_the_full_matrix_while_predictors_learn(monkeypatch):
    model = new_skim_model("bert", ("hidden",)).to(torch.bfloat16)
    model.encoder.requires_grad_(False)
    monkeypatch.setattr(dense, "attend_padded", None)  # calling it would fail
    batch = make_batch("bert", SIZES, padding=3)
    model(**batch.inputs, skim_labels=model.layout(*batch.masks).droppable.long()).skim_loss.backward()
    assert any(bool(value.grad.any()) for value in model.predictors.parameters())
