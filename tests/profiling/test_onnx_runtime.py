import pytest
import torch

from blockskim.profiling.baselines import make_baseline
from contender_results import as_batch, result_of
from strategies import every_family
from tiny_models import dense_model, make_batch, skim_model

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)

pytestmark = pytest.mark.slow
# The exporter itself uses what PyTorch deprecates.
ignore = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@ignore
@every_family
def test_any_batch_gets_the_logits_of_the_dense_model(family):
    model = skim_model(family)
    contender = make_baseline("onnx-fp32", model, model)
    for made in (make_batch(family, [(4, 30), (2, 41), (6, 12)]), make_batch(family, [(3, 17)])):
        expected = dense_model(family)(**made.without_context())
        (start, end), work = result_of(contender, made)
        torch.testing.assert_close(start, expected.start_logits[made.real], atol=1e-4, rtol=0)
        torch.testing.assert_close(end, expected.end_logits[made.real], atol=1e-4, rtol=0)
        assert work.tokens == made.real.numel()
    assert not contender.memory_seen


@ignore
def test_int8_is_near_and_smaller():
    made = make_batch("bert", [(4, 30), (2, 41)])
    model = skim_model("bert")
    expected = dense_model("bert")(**made.without_context()).start_logits[made.real].detach()
    exact = make_baseline("onnx-fp32", model, model)
    contender = make_baseline("onnx-int8-64", model, model)
    (start, _), work = result_of(contender, made)
    assert 0 < float((start - expected).abs().mean()) < 0.5 * float(expected.std())
    assert contender.dtype == "int8"
    assert contender.weight_bytes < exact.weight_bytes
    assert work.tokens == 128
    assert contender.prepare(as_batch(made))["input_ids"].shape == (2, 64)
