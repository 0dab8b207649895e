"""An exported model is a backend: documents of many windows, traces, threads, and no PyTorch anywhere."""

import copy
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from at_once import at_once
from blockskim.data.packed_inputs import PackedInputs, question_matrix
from blockskim.data.tokens import freeze_tokenizer
from blockskim.errors import ConfigError, ModelError
from blockskim.exporting.exported_model import ExportedModel, load_exported
from blockskim.exporting.manifest import GRAPH
from blockskim.inference.backend import Backend
from blockskim.method.skim_trace import Asking
from blockskim.model.stored_weights import WEIGHTS
from strategies import sample_sizes, seeds
from tiny_exports import check_equal, check_same_scores, exported, exported_answerer, packed
from tiny_tokenizers import fixed_tokenizer, word_piece

ALIGNMENTS = ("context", "sequence")
TWENTY = [(4, 20 + 2 * number) for number in range(20)]
every_alignment = pytest.mark.parametrize("alignment", ALIGNMENTS)


def test_it_is_a_backend():
    export = exported()
    assert isinstance(export.exported, Backend)
    for name in ("skim_layers", "has_trained_predictors", "num_layers", "position_limit", "cost"):
        assert getattr(export.exported, name) == getattr(export.model, name), name
    assert export.exported.skim_config == export.model.skim_config
    assert export.exported.number_format == "float32"
    assert export.exported.has_word_embeddings
    assert exported("roberta").exported.position_limit == exported("roberta").model.position_limit == 198


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "albert", "electra", "roberta"])
def test_word_embeddings_are_those_of_the_model(family):
    export = exported(family)
    ids = np.array([3, 1, 1, 7])
    found = export.exported.word_embeddings(ids)
    assert found.dtype == np.float32
    assert found == pytest.approx(export.model.word_embeddings(ids), abs=1e-6)


@every_alignment
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0, [0.2, 1.0], [1.0, 0.2]])
@pytest.mark.parametrize("seed", [0, 1])
def test_of_a_long_document_at_least_one_block_survives(alignment, threshold, seed):
    inputs = packed("bert", TWENTY, seed, [0] * 20)
    trace = check_same_scores(exported(alignment=alignment), inputs, threshold).trace
    if threshold == 1.0:
        # In the first layer already, and it is the likeliest of all windows.
        likeliest = np.nanargmax(trace.probabilities[0])
        assert [np.flatnonzero(kept).tolist() for kept in trace.kept] == [[likeliest]] * 2
        assert np.count_nonzero(np.isfinite(trace.probabilities[1])) == 1


@every_alignment
@given(
    windows=st.lists(st.tuples(sample_sizes, st.integers(0, 2)), min_size=1, max_size=6),
    seed=seeds,
    threshold=st.sampled_from([0.4, 1.0]) | st.floats(0.01, 1.0),
    score_all_layers=st.booleans(),
)
def test_windows_of_several_documents(alignment, windows, seed, threshold, score_all_layers):
    sizes, documents = zip(*windows, strict=True)
    inputs = packed("bert", sizes, seed, documents)
    trace = check_same_scores(exported(alignment=alignment), inputs, threshold, score_all_layers).trace
    for document in set(documents):
        own = trace.layout.droppable[np.array(documents) == document]
        assert not own.any() or trace.kept[-1][np.array(documents) == document].any()


def test_a_window_without_blocks_saves_none_of_its_document():
    # All that is left of the window without blocks is no block.
    inputs = packed("bert", [(4, 30), (4, 0), (3, 30)], documents=[7, 7, 7])
    trace = check_same_scores(exported(), inputs, 1.0).trace
    assert trace.kept[-1].sum(-1).sum() == 1


def test_no_windows_at_all():
    no_ids = np.zeros(0, dtype=np.int64)
    inputs = PackedInputs(no_ids, no_ids, no_ids, no_ids, no_ids, **question_matrix([]), documents=no_ids)
    for threads in (1, 3):
        found = ExportedModel(exported().directory, threads=threads).score_windows(inputs, 0.5)
        check_equal(found, exported().model.score_windows(inputs, 0.5))


@pytest.mark.slow
def test_inputs_without_token_types_have_those_of_the_first_part():
    inputs = packed("bert", [(4, 30)])
    without = PackedInputs(**{name: getattr(inputs, name) for name in PackedInputs.__slots__} | {"types": None})
    check_same_scores(exported(), without, 0.5)
    check_same_scores(exported("distilbert"), packed("distilbert", [(4, 30)]), 0.5)


def test_token_types_that_the_model_does_not_know_are_no_matter():
    inputs = packed("distilbert", [(4, 30)])
    with_types = PackedInputs(
        **{name: getattr(inputs, name) for name in PackedInputs.__slots__} | {"types": np.ones_like(inputs.ids)}
    )
    check_equal(
        exported("distilbert").exported.score_windows(with_types, 0.5),
        exported("distilbert").model.score_windows(inputs, 0.5),
    )


def test_a_fingerprint_tells_it_from_others():
    models = [exported().exported, exported("roberta").exported, exported_answerer().exported, exported().model]
    assert len({model.fingerprint() for model in models}) == len(models)
    assert ExportedModel(exported().directory, threads=2).fingerprint() == exported().exported.fingerprint()


@pytest.mark.parametrize("threads", [2, 3, 50])
def test_windows_run_side_by_side(threads):
    inputs = packed("bert", TWENTY, documents=[number // 3 for number in range(20)])
    side_by_side = ExportedModel(exported().directory, threads=threads)
    for threshold in (0.4, 1.0):
        alone = exported().exported.score_windows(inputs, threshold)
        check_equal(side_by_side.score_windows(inputs, threshold), alone, logits=0, probabilities=0)


@pytest.mark.parametrize("threads", [1, 2])
def test_eight_threads_that_share_a_model_get_what_one_gets(threads):
    shared = ExportedModel(exported().directory, threads=threads)
    inputs = [packed("bert", TWENTY[number:], number, range(20 - number)) for number in range(8)]
    found = at_once(lambda number: shared.score_windows(inputs[number], 0.5))
    for part, scores in zip(inputs, found, strict=True):
        check_equal(scores, exported().exported.score_windows(part, 0.5), logits=0, probabilities=0)


def test_it_can_be_pickled():
    inputs = packed("bert", [(4, 30), (2, 50)])
    model = ExportedModel(exported().directory, threads=2)
    expected = model.score_windows(inputs, 0.5)
    again = pickle.loads(pickle.dumps(model))
    assert (again.threads, again.number_format) == (2, "float32")
    check_equal(again.score_windows(inputs, 0.5), expected, logits=0, probabilities=0)


def test_it_is_found_again_wherever_the_process_went(monkeypatch):
    directory = exported().directory
    inputs = packed("bert", [(4, 30), (2, 50)])
    monkeypatch.chdir(directory.parent)
    model = ExportedModel(directory.name, threads=1)
    monkeypatch.chdir("/")
    assert model.directory == directory
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        check_equal(again.score_windows(inputs, 0.5), model.score_windows(inputs, 0.5), logits=0, probabilities=0)


def linked(folder, chosen=None):
    """The files of an export as links to another folder, as caches have them; ``chosen`` names the only one."""
    (folder / "model").mkdir()
    (folder / "store").mkdir()
    for number, path in enumerate(sorted(exported().directory.iterdir())):
        if chosen in (None, path.name):
            shutil.copyfile(path, folder / "store" / f"blob{number}")
            (folder / "model" / path.name).symlink_to(f"../store/blob{number}")
        else:
            shutil.copyfile(path, folder / "model" / path.name)
    return folder / "model"


@pytest.mark.parametrize("chosen", [None, WEIGHTS, GRAPH])
def test_files_may_be_links(tmp_path, chosen):
    inputs = packed("bert", [(4, 30), (2, 50)])
    found = ExportedModel(linked(tmp_path, chosen), threads=1).score_windows(inputs, 0.5)
    check_equal(found, exported().exported.score_windows(inputs, 0.5), logits=0, probabilities=0)


def test_weights_are_handed_over_where_links_are_refused(tmp_path, monkeypatch):
    """As ONNX Runtime 1.24.1 refuses all of them."""
    import onnxruntime

    class Refusing(onnxruntime.InferenceSession):
        def __init__(self, path, options, **arguments):
            tried.append(path)
            if len(tried) == 1:
                raise RuntimeError("External data path escapes model directory")
            super().__init__(path, options, **arguments)

    if not hasattr(onnxruntime.SessionOptions, "add_external_initializers_from_files_in_memory"):
        pytest.skip("this version of ONNX Runtime refuses no links")
    tried = []
    directory = linked(tmp_path)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Refusing)
    inputs = packed("bert", [(4, 30), (2, 50)])
    found = ExportedModel(directory, threads=1).score_windows(inputs, 0.5)
    check_equal(found, exported().exported.score_windows(inputs, 0.5), logits=0, probabilities=0)
    assert len(tried) == 2
    # What is no link was not refused for being one.
    tried.clear()
    with pytest.raises(ModelError, match="can't be loaded by ONNX Runtime: External data path escapes"):
        ExportedModel(exported().directory)
    assert len(tried) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_process_that_is_forked_has_threads_of_its_own():
    code = """
import os, sys
import numpy as np
from blockskim import QuestionAnswerer
qa = QuestionAnswerer(sys.argv[1], threads=2)
ask = lambda: qa.search(["Who?"], {"a": "It is red. " * 40, "b": "A man. " * 40}, max_seq_len=60)[0].answers
before = ask()
child = os.fork()
if not child:
    os._exit(0 if ask() == before else 3)
_, status = os.waitpid(child, 0)
assert "torch" not in sys.modules
sys.exit(os.waitstatus_to_exitcode(status))
"""
    command = [sys.executable, "-c", code, str(exported_answerer().directory)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"number_format": "float16"}, "number_format is 'float16'; it must be float32 or int8"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": 1.5}, "threads is 1.5"),
    ],
)
def test_impossible_arguments(given, message):
    with pytest.raises(ConfigError, match=message):
        ExportedModel(exported().directory, **given)


def test_a_graph_in_int8_that_is_not_there():
    with pytest.raises(ModelError, match=r"has no model-int8.onnx; make it with blockskim export --int8"):
        ExportedModel(exported().directory, "int8")


@pytest.mark.parametrize("thresholds", [1.5, -0.1, float("nan"), "high", [0.5], [0.5, 0.5, 0.5]])
def test_impossible_thresholds(thresholds):
    with pytest.raises(ConfigError, match="threshold"):
        exported().exported.score_windows(packed("bert", [(4, 30)]), thresholds)


@pytest.mark.parametrize(
    "change", [{"ids": 9999}, {"ids": -9999}, {"types": 7}], ids=["unknown-token", "negative-token", "unknown-type"]
)
def test_what_the_graph_can_not_run_is_told_of_on_one_line(change, capfd):
    inputs = packed("bert", [(4, 30)])
    (name, value), *_ = change.items()
    getattr(inputs, name)[3] = value
    with pytest.raises(ModelError, match="ONNX Runtime can't run the graph") as caught:
        exported().exported.score_windows(inputs, 0.5)
    assert "\n" not in str(caught.value)
    assert str(exported().directory) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_windows_that_are_too_long_are_told_of(capfd):
    with pytest.raises(ModelError, match="ONNX Runtime can't run the graph"):
        exported().exported.score_windows(packed("bert", [(4, 300)]), 0.5)
    assert capfd.readouterr() == ("", "")


def test_a_model_whose_predictors_were_never_trained_drops_nothing(dense):
    inputs = packed("bert", [(4, 30), (2, 50)])
    assert dense.exported.skim_layers == (1, 2)
    assert not dense.exported.has_trained_predictors
    for asked in (
        {"thresholds": 0.5},
        {"asking": Asking(all_layers=True)},
        {"thresholds": 0.5, "asking": Asking(untrained=True)},
    ):
        with pytest.raises(ConfigError, match="whose predictors were never trained"):
            dense.exported.score_windows(inputs, **asked)
    check_equal(dense.exported.score_windows(inputs, 0.0), dense.model.score_windows(inputs, 0.0))


def test_its_tokenizer_comes_along():
    loaded = load_exported(exported_answerer().directory)
    frozen = freeze_tokenizer(fixed_tokenizer("wordpiece"))
    assert loaded.tokenizer.template == frozen.template
    assert loaded.tokenizer.backend.to_str() == frozen.backend.to_str()
    assert (loaded.name, loaded.skims) == (str(exported_answerer().directory), True)


def test_a_tokenizer_with_more_tokens_is_another_models():
    model = exported_answerer().exported
    model.check_vocabulary(freeze_tokenizer(fixed_tokenizer("wordpiece")))
    with pytest.raises(ModelError, match=r"has ids up to 126, but .* has embeddings for 126 alone"):
        model.check_vocabulary(freeze_tokenizer(word_piece(("extra",))))
