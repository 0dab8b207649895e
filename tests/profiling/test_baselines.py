import copy
import importlib.util

import numpy as np
import pytest
import torch

from blockskim.errors import ConfigError
from blockskim.method.cost import dense_flops
from blockskim.profiling import catalog
from blockskim.profiling.baselines import make_baseline
from blockskim.profiling.catalog import BASELINES, parse_baseline
from contender_results import as_batch, result_of
from strategies import every_family
from tiny_models import dense_model, make_batch, skim_model

SIZES = [(4, 30), (2, 41), (6, 12)]


NAMES = ("dense-eager", "dense-sdpa", "dense-eager-64", "dense-sdpa-64", "packed", "packed-float32", "aligned")


@every_family
@pytest.mark.parametrize("name", NAMES)
def test_with_nothing_to_drop_every_baseline_gives_the_dense_logits(family, name):
    if family in ("mpnet", "deberta-v2") and "sdpa" in name:
        pytest.skip("transformers has no fused attention for it")
    made = make_batch(family, SIZES)
    model = skim_model(family)
    expected = dense_model(family)(**made.without_context())
    (start, end), work = result_of(make_baseline(name, model, model, 0.0), made)
    torch.testing.assert_close(start, expected.start_logits[made.real], atol=1e-5, rtol=0)
    torch.testing.assert_close(end, expected.end_logits[made.real], atol=1e-5, rtol=0)
    lengths = made.real.sum(-1).numpy()
    width = 64 if name.endswith("64") else made.real.shape[1]
    computed = lengths if name.startswith("packed") else np.full_like(lengths, width)
    assert work.tokens == int(computed.sum())
    assert work.flops == int(dense_flops(model.cost, computed).sum())


def test_packed_runs_the_model_that_is_measured_and_dense_the_one_in_float32():
    model = skim_model("bert")
    own = copy.deepcopy(model).bfloat16()
    assert make_baseline("packed", model, own).dtype == "bfloat16"
    assert make_baseline("packed-float32", model, own).dtype == "float32"
    assert make_baseline("dense-sdpa", model, own).dtype == "float32"
    assert make_baseline("aligned", model, own).dtype == "float32"


def test_bert_base_has_the_size_of_bert_base_whatever_the_model(monkeypatch):
    monkeypatch.setitem(catalog.SHAPES, "bert-base", (1, 16, 2, 32))
    made = make_batch("roberta", SIZES)
    model = skim_model("roberta")
    contender = make_baseline("bert-base-64", model, model)
    (start, _), work = result_of(contender, made)
    assert bool(start.isfinite().all())
    assert work.tokens == 3 * 64
    assert not contender.trained


def test_input_that_is_too_long_for_a_padded_baseline_is_refused():
    model = skim_model("bert")
    contender = make_baseline("dense-sdpa-40", model, model)
    with pytest.raises(ConfigError, match=r"dense-sdpa-40 .* 40 tokens.* 46"):
        contender.prepare(as_batch(make_batch("bert", SIZES)))


def test_attention_that_transformers_lacks_is_refused():
    model = skim_model("mpnet")
    with pytest.raises(ConfigError, match="no sdpa attention for mpnet"):
        make_baseline("dense-sdpa", model, model)


@pytest.mark.parametrize(
    "name", ["dense", "dense-384", "packed-384", "packed-float32-384", "aligned-16", "dense-sdpa-0", "", "Packed"]
)
def test_unknown_baselines_are_refused(name):
    with pytest.raises(ConfigError, match=r"no baseline .*dense-eager"):
        parse_baseline(name)


def test_names_are_read(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert [parse_baseline(name) for name in BASELINES] == [(name, None) for name in BASELINES]
    assert parse_baseline("onnx-int8-384") == ("onnx-int8", 384)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(ConfigError, match=r"onnx-int8 needs onnxruntime.*blockskim\[onnx\]"):
        parse_baseline("onnx-int8")
