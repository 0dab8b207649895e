"""Disentangled attention under every setting that DeBERTa models have, by the original positions after a drop."""

from types import SimpleNamespace

import pytest
import torch

from blockskim.encoders import adapter_for
from blockskim.encoders.deberta_v2 import bucket_count, bucket_ids
from blockskim.errors import ModelError
from blockskim.method.config import INPUTS
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from tiny_models import encoder_config, make_batch, new_dense_model, skim_model, spread_opinions

SIZES = [(4, 90), (2, 41), (6, 12), (3, 0)]
SETTINGS = {
    "version 3": {},
    "projections of their own": {"share_att_key": False},
    "content to position": {"pos_att_type": ["c2p"], "share_att_key": False},
    "position to content": {"pos_att_type": ["p2c"], "share_att_key": False},
    "no buckets": {"position_buckets": -1, "max_relative_positions": 20},
    "embeddings as they are": {"norm_rel_ebd": "none"},
    "absolute positions, too": {"position_biased_input": True, "type_vocab_size": 2},
    "absolute positions alone": {"relative_attention": False, "pos_att_type": None, "position_biased_input": True},
    "narrow embedding": {"embedding_size": 16},
}
every_setting = pytest.mark.parametrize("changes", SETTINGS.values(), ids=SETTINGS)


def close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@every_setting
def test_logits_are_those_of_transformers_and_dropping_is_masking(changes):
    dense = new_dense_model("deberta-v2", **changes)
    settings = skim_model("deberta-v2", INPUTS, "context").skim_config
    model = BlockSkimForQuestionAnswering.from_backbone(dense, settings)
    spread_opinions(model, "deberta-v2")
    batch = make_batch("deberta-v2", SIZES, padding=3)
    real = batch.real
    with torch.no_grad():
        expected = dense(**batch.without_context()).start_logits[real]
        close(model.eval()(**batch.inputs).start_logits[real], expected)
        close(model.skim(**batch.inputs, thresholds=0.0, score_all_layers=True).start_logits[real], expected)
        masked, dropped = (run(**batch.inputs, thresholds=0.5) for run in (model, model.skim))
    close(dropped.start_logits[real], masked.start_logits[real])
    assert bool(dropped.start_logits[real].isinf().any())


@pytest.mark.parametrize("default", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("buckets", "limit"), [(256, 512), (32, 100), (2, 9)])
def test_distances_have_the_buckets_of_transformers_whatever_the_default_format_is(buckets, limit, default):
    """Which is another while a model is loaded in another thread."""
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    places = torch.arange(1200)
    distances = places[:, None] - places
    expected = make_log_bucket_position(distances, buckets, limit).long()
    size = {"position_buckets": buckets, "max_relative_positions": limit}
    encoder = new_dense_model("deberta-v2", **size).base_model
    count = bucket_count(encoder)
    torch.set_default_dtype(default)
    try:
        found = bucket_ids(encoder, places, places)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, (expected + count // 2).clamp(0, count - 1))
    assert len(found.unique()) > buckets // 2


def test_a_convolution_is_refused():
    with pytest.raises(ModelError, match="conv_kernel_size is None"):
        adapter_for("deberta-v2").check(SimpleNamespace(conv_kernel_size=None))
    config = encoder_config("deberta-v2", conv_kernel_size=3)
    with pytest.raises(ModelError, match="conv_kernel_size is 3"):
        adapter_for("deberta-v2").check(config)
    with pytest.raises(ModelError, match="convolution"):
        BlockSkimForQuestionAnswering.from_backbone(new_dense_model("deberta-v2", conv_kernel_size=3))
