import logging

import torch

from blockskim.method.config import INPUTS
from blockskim.model.packing import pack_padded
from strategies import every_family, every_input
from tiny_models import make_batch, new_skim_model

SIZES = [(4, 60), (2, 41)]


def scores(output):
    return torch.stack([output.start_logits, output.end_logits]), torch.from_numpy(output.trace.probabilities)


def check_same(found, expected):
    for one, two in zip(scores(found), scores(expected), strict=True):
        assert one.dtype == torch.float32
        # NaN stands where nothing was scored.
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)


def everything_of(model, batch):
    """Skimming by both doors, and dense with all predictors asked."""
    packed, _ = pack_padded(batch.inputs, None)
    yield model.skim(**batch.inputs, thresholds=0.4)
    yield model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True)
    yield model.skim_packed(packed, 0.4)


@every_family
def test_autocast_changes_nothing(family):
    model, batch = new_skim_model(family, INPUTS, "context"), make_batch(family, SIZES)
    expected = list(everything_of(model, batch))
    for cleared in (False, True):
        if cleared:
            model.prepared.clear()
        with torch.autocast("cpu", torch.bfloat16):
            found = list(everything_of(model, batch))
        for one, two in zip(found, expected, strict=True):
            check_same(one, two)


@every_input
def test_what_is_made_ready_under_autocast_is_not_rounded(inputs):
    model, batch = new_skim_model("bert", inputs, "context"), make_batch("bert", SIZES)
    expected = list(everything_of(model, batch))
    model.prepared.clear()
    with torch.autocast("cpu", torch.bfloat16):
        model.prepare()
    for one, two in zip(everything_of(model, batch), expected, strict=True):
        check_same(one, two)


def test_no_gradients_flow():
    model, batch = new_skim_model("bert"), make_batch("bert", SIZES)
    assert not any(output.start_logits.requires_grad for output in everything_of(model, batch))


def test_compiling_leaves_it_alone_without_a_word(caplog, recwarn):
    model, batch = new_skim_model("bert", ("match",), "context"), make_batch("bert", SIZES)
    packed, _ = pack_padded(batch.inputs, None)
    expected = model.skim(**batch.inputs, thresholds=0.4)
    # Compiling itself has settings that its first use warns of.
    torch.compile(torch.nn.Linear(2, 2), backend="eager")(torch.ones(1, 2))
    recwarn.clear()
    check_same(torch.compile(model.skim, backend="eager")(**batch.inputs, thresholds=0.4), expected)
    check_same(
        torch.compile(lambda given: model.skim(**given, thresholds=0.4), backend="eager")(batch.inputs), expected
    )
    found = torch.compile(model.skim_packed, backend="eager")(packed, 0.4)
    assert torch.equal(found.start_logits, model.skim_packed(packed, 0.4).start_logits)
    arrays = torch.compile(model.score_windows, backend="eager")(packed, 0.4)
    assert torch.equal(torch.from_numpy(arrays.start_logits), found.start_logits)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not recwarn.list
