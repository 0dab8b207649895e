"""The graph drops what the model of PyTorch drops, layer by layer, and gives the same logits for what is left."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim.exporting.manifest import GRAPH
from blockskim.exporting.pieces import PieceExporter
from blockskim.method.block_spans import blocks_of_packed
from strategies import sample_sizes, seeds
from tiny_exports import (
    check_equal,
    check_same_scores,
    export_model,
    exported,
    exported_answerer,
    packed,
    shared_traces,
)
from tiny_tokenizers import fixed_tokenizer

onnx = pytest.importorskip("onnx")
TOKENIZER = fixed_tokenizer("wordpiece")
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "albert", "mpnet")
KINDS = ("attended", "hidden", "question", "tiles")
CASES = {family: {"family": family} for family in FAMILIES}
CASES |= {f"{family}-{kind}": {"family": family, "inputs": (kind,)} for family in ("bert", "mpnet") for kind in KINDS}
CASES |= {
    "bert-sequence": {"alignment": "sequence"},
    "mpnet-sequence": {"family": "mpnet", "alignment": "sequence"},
    "bert-blocks-of-16": {"inputs": ("attended",), "block_size": 16},
    "bert-first-layer-alone": {"layers": (1,)},
    "bert-second-layer-alone": {"layers": (2,)},
    "bert-lost-heads": {"inputs": ("attended",), "pruned": ((2, (1, 4)), (3, (2,)))},
    "mpnet-lost-heads": {"family": "mpnet", "inputs": ("tiles",), "pruned": ((2, (1, 4)),)},
}
QUICK = {"bert", "mpnet"}
"""What is exported where there is little time; one export takes seconds."""
every_case = pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=() if name in QUICK else pytest.mark.slow) for name, case in CASES.items()],
)
# Examples are quick once a model is exported.
few = settings(max_examples=max(min(20, settings.default.max_examples), settings.default.max_examples // 4))

one_threshold = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0.01, 1.0)
thresholds = st.tuples(one_threshold, one_threshold)
batches = st.lists(sample_sizes, min_size=1, max_size=3)


@every_case
@few
@given(sizes=batches, seed=seeds, values=thresholds, score_all_layers=st.booleans())
def test_the_graph_is_the_model(case, sizes, seed, values, score_all_layers):
    export = exported(**case)
    inputs = packed(export.model.config.encoder_config.model_type, sizes, seed)
    check_same_scores(export, inputs, values[: len(export.model.skim_layers)], score_all_layers)


@given(sizes=batches, seed=seeds, values=thresholds, score_all_layers=st.booleans())
def test_of_the_shipped_kind_of_model_too(sizes, seed, values, score_all_layers):
    check_same_scores(exported(), packed("bert", sizes, seed), values, score_all_layers)


@pytest.mark.parametrize("thresholds", [None, "exact", "fast"])
def test_thresholds_of_the_settings_and_of_operating_points(thresholds):
    export = exported_answerer()
    if thresholds is not None:
        assert export.exported.skim_config.point(thresholds) == export.model.skim_config.point(thresholds)
        thresholds = export.model.skim_config.point(thresholds)
    trace = check_same_scores(export, packed("bert", [(4, 60), (6, 90), (2, 30)]), thresholds).trace
    assert trace.layers == (() if thresholds == 0.0 else (1, 2))


def test_long_windows():
    export = exported()
    assert export.exported.position_limit == 200
    check_same_scores(export, packed("bert", [(6, 191)]), 0.5)


@pytest.mark.parametrize("alignment", ["context", "sequence"])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_windows_without_context(alignment, threshold):
    trace = check_same_scores(exported(alignment=alignment), packed("bert", [(4, 0), (0, 0)]), threshold, True).trace
    # There was nothing to be asked about.
    assert trace.layers == ()
    check_same_scores(exported(alignment=alignment), packed("bert", [(4, 0), (3, 40), (0, 0)]), threshold, True)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_without_a_question_all_that_is_no_context_is_asked_for(family):
    # What stands behind the context moves up when blocks are dropped.
    trace = check_same_scores(exported(family), packed(family, [(0, 60), (0, 9)], 3), 1.0).trace
    assert trace.kept[-1].sum(-1).tolist() == [1, 1]


@pytest.mark.parametrize("threshold", [1e-50, 1e-40])
def test_a_threshold_that_is_zero_in_single_precision_asks_and_drops_nothing(threshold):
    trace = check_same_scores(exported(), packed("bert", [(4, 40)]), threshold).trace
    assert trace.layers == (1, 2)
    assert trace.kept.all()


def run(export, thresholds, keep_one):
    """What the graph itself gives for a window."""
    inputs = packed("bert", [(4, 40)])
    layout = blocks_of_packed(inputs, 8, "context")
    feed = export.exported._feed(inputs, layout, thresholds, 0) | {"keep_one": np.array(keep_one)}
    return export.exported._window(feed)


@pytest.mark.parametrize("layer", [1, 2])
def test_a_window_in_which_nothing_matters_ends_early(layer):
    window = run(exported(), {layer: 1.0}, keep_one=False)
    assert window.logits.shape == (0, 2)
    assert window.places.shape == (0,)
    assert [len(part) for part in window.probabilities] == ([5, 0] if layer == 1 else [0, 5])
    # A layer that is not asked hands on what it got; one that is not reached has nothing.
    assert [len(part) for part in window.kept] == ([0, 0] if layer == 1 else [5, 0])


def test_or_its_likeliest_block_stays():
    window = run(exported(), {1: 1.0}, keep_one=True)
    assert window.kept[0].tolist() == [int(window.probabilities[0].argmax())]
    assert len(window.places) == len(window.logits) == 4 + 3 + 8


def test_a_dense_graph_takes_tokens_alone(dense):
    assert {entry.name for entry in dense.exported._session.get_inputs()} == {"input_ids", "token_type_ids"}
    assert [entry.name for entry in dense.exported._session.get_outputs()] == ["logits", "places"]


def arrays(graph):
    """Every constant of a graph and its branches that is in the file itself, as its number of bytes."""
    for tensor in graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            yield tensor.name, len(tensor.SerializeToString())
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield node.op_type, len(attribute.t.SerializeToString())
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from arrays(attribute.g)


@every_case
def test_no_weight_is_in_the_graph_itself(case):
    path = exported(**case).directory / GRAPH
    model = onnx.load(path, load_external_data=False)
    assert max(size for _, size in arrays(model.graph)) < 160
    assert path.stat().st_size < 100_000
    onnx.checker.check_model(str(path))


@pytest.mark.slow
def test_what_is_traced_depends_on_no_weight_and_is_the_same_each_time():
    """Where the exporter knows weights, it leaves zeros out, merges what is equal and folds batch norm."""
    model = exported(inputs=("tiles",)).model
    other = copy.deepcopy(model)
    with torch.no_grad():
        for part in (other.encoder.encoder.layer[0], other.predictors["1"]):
            for name, value in part.named_parameters():
                if name.endswith("bias"):
                    value.zero_()
                elif value.ndim == 1:
                    value.fill_(1.0)
    # Traced anew, and not taken from other tests, as the others are.
    anew = PieceExporter(other)
    with shared_traces():
        known = PieceExporter(model)
        pieces = [known.finish(1), known.score(1)]
    for piece, again in zip(pieces, [anew.finish(1), anew.score(1)], strict=True):
        assert set(piece.weights) == set(again.weights)
        assert piece.graph.SerializeToString(deterministic=True) == again.graph.SerializeToString(deterministic=True)
    names = {name for piece in pieces for name in piece.weights}
    assert {
        "predictor.branches.tiles.1.running_mean",
        "layer.output.dense.bias",
        "layer.output.LayerNorm.bias",
    } <= names


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_read_as_they_are(dtype):
    model = copy.deepcopy(exported_answerer().model).to(dtype)
    half = export_model(model, TOKENIZER)
    assert half.model.dtype == dtype
    assert (half.directory / "model.safetensors").stat().st_size < 0.6 * (
        exported_answerer().directory / "model.safetensors"
    ).stat().st_size
    inputs = packed("bert", [(4, 60), (6, 90), (2, 30)])
    check_equal(half.exported.score_windows(inputs, 0.5), copy.deepcopy(model).float().score_windows(inputs, 0.5))
