"""Exporting makes a directory whole or not at all, and leaves everything else as it was."""

import copy
import errno
import json
import os
import re
import shutil
import stat

import numpy as np
import pytest
import torch
from torch import nn

from blockskim import QuestionAnswerer
from blockskim.data.examples import Example
from blockskim.errors import ConfigError, ModelError
from blockskim.exporting import export as export_module
from blockskim.exporting import onnx_export
from blockskim.exporting.export import SEARCH_FILE, ExportResult, Int8Settings, export
from blockskim.exporting.exported_model import ExportedModel, load_exported
from blockskim.exporting.int8_search import Int8Search
from blockskim.exporting.manifest import FILE, GRAPH, INT8_GRAPH, keep_int8_settings, read_manifest
from blockskim.exporting.weight_files import stored_tensors
from blockskim.inference.loading import load
from blockskim.method.config import SkimConfig
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.model.stored_weights import WEIGHTS
from full_disk import full_disk
from tiny_answerers import TEXT, dense_for, new_model, save_model, save_plain
from tiny_exports import check_equal, exported_answerer, packed, shared_traces
from tiny_models import dense_model, new_dense_model, new_skim_model
from tiny_tokenizers import fixed_tokenizer, tokenizer, word_piece

TOKENIZER = fixed_tokenizer("wordpiece")
QUESTION = "Where is the nest?"
FILES = {GRAPH, FILE, WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(autouse=True)
def quick():
    with shared_traces():
        yield


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A Block-Skim model directory. Don't change it."""
    return save_model(tmp_path_factory.mktemp("stored") / "model")


@pytest.fixture
def own(tmp_path):
    """A Block-Skim model directory beside whose files a graph fits."""
    return save_model(tmp_path / "own", "bytes")


def contents(directory):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


def names(directory):
    return {path.name for path in directory.iterdir()}


def same_answers(directory, other):
    """Whether both engines answer from a directory as another model does, in PyTorch."""
    expected = QuestionAnswerer(other)(QUESTION, TEXT, top_k=3)
    for backend in ("torch", "onnx"):
        found = QuestionAnswerer(directory, backend=backend)(QUESTION, TEXT, top_k=3)
        for one, two in zip(found, expected, strict=True):
            assert one["score"] == pytest.approx(two["score"], abs=1e-4)
            assert {**one, "score": None} == {**two, "score": None}


@pytest.mark.parametrize("empty", [False, True])
def test_a_directory_becomes_another_one(stored, tmp_path, empty):
    before = contents(stored)
    if empty:
        (tmp_path / "out").mkdir()
    result = export(stored, tmp_path / "out")
    assert names(tmp_path) == {"out"}
    assert names(tmp_path / "out") == FILES
    sizes = ((tmp_path / "out" / name).stat().st_size for name in (GRAPH, WEIGHTS))
    assert result == ExportResult(tmp_path / "out", *sizes, result.agreement)
    assert result.agreement.largest_difference < 1e-4
    assert contents(stored) == before
    same_answers(tmp_path / "out", stored)


def test_names_may_be_text(stored, tmp_path):
    export(str(stored), str(tmp_path / "deep" / "out"))
    assert names(tmp_path / "deep" / "out") == FILES


def test_the_shipped_model_is_exported_where_none_is_named(stored, tmp_path, monkeypatch):
    monkeypatch.setattr("blockskim.inference.loading.shipped_model", lambda: stored)
    export(None, tmp_path / "out")
    same_answers(tmp_path / "out", stored)


def state(model):
    return {name: (id(value), value.dtype, value.clone()) for name, value in model.state_dict(keep_vars=True).items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("training", [False, True])
def test_a_model_that_is_given_stays_as_it_is_and_is_not_shared(tmp_path, dtype, training):
    model, own = new_model().to(dtype).train(training), tokenizer("wordpiece")
    before, settings = state(model), model.config.to_dict()
    export(model, tmp_path / "out", own)
    after = state(model)
    assert all(after[name][:2] == before[name][:2] for name in before)
    assert all(torch.equal(after[name][2], before[name][2]) for name in before)
    assert (model.training, model.dtype, model.config.to_dict()) == (training, dtype, settings)
    assert all(value.requires_grad for value in model.parameters())
    assert stored_tensors(tmp_path / "out" / WEIGHTS)["qa_outputs.weight"].number_format == (
        "BF16" if dtype == torch.bfloat16 else "F32"
    )
    inputs = packed("bert", [(4, 60), (2, 30)])
    exported = ExportedModel(tmp_path / "out")
    expected = copy.deepcopy(model).float().eval().score_windows(inputs, 0.5)
    with torch.no_grad():
        model.qa_outputs.weight.zero_()
    check_equal(exported.score_windows(inputs, 0.5), expected)


def test_a_wrapped_model_is_unwrapped(tmp_path):
    export(nn.DataParallel(new_model()), tmp_path / "out", TOKENIZER)
    assert (tmp_path / "out" / GRAPH).read_bytes() == (exported_answerer().directory / GRAPH).read_bytes()


def test_a_model_needs_its_own_tokenizer(tmp_path):
    with pytest.raises(ConfigError, match="a model that is given as such needs its tokenizer, too"):
        export(new_model(), tmp_path / "out")
    with pytest.raises(ModelError, match="the tokenizer has ids up to 126, but the model has embeddings for 126"):
        export(new_model(), tmp_path / "out", word_piece(("extra",)))
    assert not (tmp_path / "out").exists()


def test_a_model_of_transformers_is_none(tmp_path):
    with pytest.raises(ConfigError, match="it must be a BlockSkimForQuestionAnswering"):
        export(dense_model("bert"), tmp_path / "out", TOKENIZER)


def test_what_is_no_model_is_refused(tmp_path):
    for model in (123, b"model", ["model"], exported_answerer().exported):
        with pytest.raises(ConfigError, match=r"^model is .*; it must be a directory, a hub id, a BlockSkim"):
            export(model, tmp_path / "out", TOKENIZER)


def test_a_tokenizer_is_of_transformers_and_of_a_model_that_is_given(stored, tmp_path):
    for other in (load_exported(exported_answerer().directory).tokenizer, "wordpiece", 5):
        with pytest.raises(ConfigError, match=r"^tokenizer is .*; it must be a tokenizer of transformers"):
            export(new_model(), tmp_path / "out", other)
    for model in (stored, str(stored), None):
        with pytest.raises(ConfigError, match="tokenizer goes with a model that is given as such"):
            export(model, tmp_path / "out", TOKENIZER)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("int8", [1, 0, "yes", None, []])
def test_int8_is_a_switch_or_settings(stored, tmp_path, int8):
    with pytest.raises(ConfigError, match=r"^int8 is .*; it must be True, False, or how the graph is made"):
        export(stored, tmp_path / "out", int8=int8)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", ["file", "directory"])
@pytest.mark.parametrize("given", ["directory", "model"])
def test_what_is_there_stays(stored, tmp_path, there, given):
    out = tmp_path / "out"
    if there == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine").write_text("mine")
    with pytest.raises(ConfigError, match=re.escape(f"{out} exists already; name a new directory")):
        export(stored if given == "directory" else new_model(), out, None if given == "directory" else TOKENIZER)
    assert (out if there == "file" else out / "mine").read_text() == "mine"
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize("limit", [0, 5000])
def test_on_a_full_disk_nothing_is_left(stored, tmp_path, limit):
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)) as caught, full_disk(limit):
        export(stored, tmp_path / "out")
    assert caught.value.filename == str(tmp_path / "out")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("limit", [0, 5000])
def test_on_a_full_disk_a_directory_stays_as_it_was(own, limit):
    before = contents(own)
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)), full_disk(limit):
        export(own, own)
    assert contents(own) == before


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("step", ["write_graph", "write_manifest"])
def test_interrupted_it_leaves_nothing(stored, own, tmp_path, monkeypatch, error, step):
    def fail(*_arguments):
        raise error("stopped")

    monkeypatch.setattr(export_module, step, fail)
    before = contents(own)
    for model, output in ((stored, tmp_path / "out"), (own, own)):
        with pytest.raises(error, match="stopped"):
            export(model, output)
    assert names(tmp_path) == {"own"}
    assert contents(own) == before


def test_the_graph_may_go_beside_the_model(own):
    (own / "notes.txt").write_text("mine")
    (own / "more").mkdir()
    before = contents_of_files(own)
    result = export(own, own)
    assert result.directory == own
    assert names(own) == {*before, "more", GRAPH, FILE}
    after = contents_of_files(own)
    assert {name: after[name] for name in before} == before
    same_answers(own, own)
    # And again.
    graph, manifest = ((own / name).read_bytes() for name in (GRAPH, FILE))
    export(str(own), own)
    assert ((own / GRAPH).read_bytes(), (own / FILE).read_bytes()) == (graph, manifest)


def contents_of_files(directory):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir() if path.is_file()}


def test_it_is_the_same_directory_by_another_name(own, tmp_path):
    (tmp_path / "link").symlink_to(own)
    export(own, tmp_path / "link")
    assert {GRAPH, FILE} <= names(own)


def test_beside_plain_weights_there_is_no_place_for_it(tmp_path):
    plain = save_plain(tmp_path / "plain", "bytes")
    before = contents(plain)
    with pytest.raises(
        ModelError, match=r"holds no Block-Skim model, so no graph fits beside it; name a new directory"
    ):
        export(plain, plain)
    assert contents(plain) == before


def test_nor_beside_weights_in_several_files(tmp_path):
    model = new_model("bytes")
    model.save_pretrained(tmp_path / "parts", max_shard_size="60KB")
    fixed_tokenizer("bytes").save_pretrained(tmp_path / "parts")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    with pytest.raises(ModelError, match=f"has no {WEIGHTS}, which the graph needs beside it; name a new directory"):
        export(tmp_path / "parts", tmp_path / "parts")
    export(tmp_path / "parts", tmp_path / "out")
    assert names(tmp_path / "out") == FILES
    same_answers(tmp_path / "out", tmp_path / "parts")


def test_nor_beside_a_tokenizer_that_transformers_reads_otherwise(stored):
    # Of BERT's tokenizers it sets the longest word itself.
    stored_backend = json.loads((stored / "tokenizer.json").read_text())
    assert stored_backend["model"]["max_input_chars_per_word"] == 40
    with pytest.raises(ModelError, match=r"tokenizer.json is not all of the tokenizer, so it can't be read alone"):
        export(stored, stored)


def test_a_folder_in_the_directory_is_another_model(own, tmp_path):
    shutil.copytree(save_plain(tmp_path / "plain", "bytes"), own / "sub")
    with pytest.raises(ConfigError, match="exists already"):
        export(own, own, subfolder="sub")
    export(own, tmp_path / "out", subfolder="sub")
    assert not read_manifest(tmp_path / "out").trained_predictors


def formats(directory):
    return {tensor.number_format for tensor in stored_tensors(directory / WEIGHTS).values()}


def test_a_model_in_a_subfolder_keeps_its_own_number_format_and_papers(tmp_path):
    root = save_plain(tmp_path / "root")
    new_model().bfloat16().save_pretrained(root / "sub")
    TOKENIZER.save_pretrained(root / "sub")
    for folder in (root, root / "sub"):
        (folder / "README.md").write_text(f"of {folder.name}")
    (root / "sub" / "calibration.json").write_text("{}")
    export(root, tmp_path / "out", subfolder="sub")
    assert formats(tmp_path / "out") == {"BF16"}
    assert names(tmp_path / "out") == FILES | {"README.md", "calibration.json"}
    assert (tmp_path / "out" / "README.md").read_text() == "of sub"


def test_so_does_a_model_of_the_hub(tmp_path):
    snapshot = tmp_path / "hub" / "models--ann--reader" / "snapshots" / ("a" * 40)
    (snapshot.parents[1] / "refs").mkdir(parents=True)
    (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
    new_model().bfloat16().save_pretrained(snapshot, max_shard_size="60KB")
    TOKENIZER.save_pretrained(snapshot)
    (snapshot / "recipe.json").write_text("{}")
    assert not (snapshot / WEIGHTS).exists()
    export("ann/reader", tmp_path / "out", cache_dir=str(tmp_path / "hub"), local_files_only=True)
    assert formats(tmp_path / "out") == {"BF16"}
    assert names(tmp_path / "out") == FILES | {"recipe.json"}


def test_beside_weights_that_are_a_link_it_can_be_loaded(own, tmp_path):
    (tmp_path / "store").mkdir()
    shutil.move(own / WEIGHTS, tmp_path / "store" / "blob")
    (own / WEIGHTS).symlink_to(tmp_path / "store" / "blob")
    export(own, own)
    assert (own / WEIGHTS).is_symlink()
    same_answers(own, own)


def test_what_can_not_be_loaded_in_the_end_is_no_success(own, monkeypatch):
    def fail(directory, *arguments, **settings):
        if directory == own:
            raise ModelError("it can't be loaded")
        return ExportedModel(directory, *arguments, **settings)

    monkeypatch.setattr(export_module, "ExportedModel", fail)
    with pytest.raises(ModelError, match="it can't be loaded"):
        export(own, own)


def test_an_int8_graph_is_compared_too(stored, tmp_path):
    result = export(stored, tmp_path / "out", int8=True)
    assert result.int8_bytes == (tmp_path / "out" / INT8_GRAPH).stat().st_size > 0
    assert result.int8_agreement.windows == result.agreement.windows
    assert 1e-4 < result.int8_agreement.largest_difference < 0.5
    assert 0.5 < result.int8_agreement.same_blocks <= 1.0


EXAMPLE = Example("1", QUESTION, TEXT)


def test_what_is_quantised_is_searched_on_windows_that_the_model_reads(stored, tmp_path, monkeypatch):
    """It has 200 positions."""
    lengths = []

    def search(build, products, windows, most_lost, report):
        lengths.append(windows.settings.max_length)
        chosen = tuple(product for product, _ in products[:1])
        return Int8Search(chosen, (), 0.0, ())

    monkeypatch.setattr(export_module, "search_products", search)
    result = export(stored, tmp_path / "out", int8=Int8Settings([EXAMPLE]))
    assert lengths == [200]
    assert len(result.int8_products) == 1
    assert SEARCH_FILE in names(tmp_path / "out")


@pytest.fixture
def with_int8(own):
    """A model's own directory with an int8 graph that has thresholds of its own."""
    export(own, own, int8=True)
    keep_int8_settings(own, 0.2, {"fast": 0.7})
    assert int8_thresholds(own) == (0.2, {"fast": 0.7})
    return own


def int8_thresholds(directory):
    config = ExportedModel(directory, "int8").skim_config
    return config.thresholds, config.points


def rewrite(directory, part, **values):
    """Change a part of the config of a directory."""
    path = directory / "config.json"
    stored = json.loads(path.read_text())
    stored[part].update(values)
    path.write_text(json.dumps(stored))


def warned(caplog, message):
    return any(message in record.getMessage() for record in caplog.records)


def spaced_tokenizer(directory):
    path = directory / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=3))


def other_points(directory):
    rewrite(directory, "skim", thresholds=0.1, points={"slow": 0.3})


@pytest.mark.parametrize("change", [lambda directory: None, spaced_tokenizer, other_points])
def test_an_int8_graph_of_the_same_weights_and_settings_stays_with_its_thresholds(with_int8, caplog, change):
    change(with_int8)
    own = ExportedModel(with_int8).skim_config if change is other_points else None
    graph = (with_int8 / INT8_GRAPH).read_bytes()
    (with_int8 / SEARCH_FILE).write_text("{}")
    result = export(with_int8, with_int8)
    assert (with_int8 / INT8_GRAPH).read_bytes() == graph
    assert (result.int8_bytes, result.int8_products) == (len(graph), ())
    assert int8_thresholds(with_int8) == (0.2, {"fast": 0.7})
    assert own is None or ExportedModel(with_int8).skim_config == own
    assert SEARCH_FILE in names(with_int8)
    assert not caplog.records


def test_one_that_is_made_anew_begins_with_the_thresholds_of_the_model(with_int8):
    graph = (with_int8 / INT8_GRAPH).read_bytes()
    (with_int8 / SEARCH_FILE).write_text("{}")
    other_points(with_int8)
    assert export(with_int8, with_int8, int8=True).int8_products
    assert (with_int8 / INT8_GRAPH).read_bytes() == graph
    assert int8_thresholds(with_int8) == (0.1, {"slow": 0.3})
    # It was of the one before.
    assert SEARCH_FILE not in names(with_int8)


@pytest.mark.parametrize("values", [{"hidden_act": "relu"}, {"layer_norm_eps": 0.1}], ids=str)
def test_an_int8_graph_of_other_settings_is_removed_with_a_warning(with_int8, caplog, values):
    rewrite(with_int8, "encoder_config", **values)
    assert export(with_int8, with_int8).int8_bytes == 0
    assert INT8_GRAPH not in names(with_int8)
    assert warned(caplog, f"{INT8_GRAPH} was made of another model")


@pytest.mark.parametrize("name", [INT8_GRAPH, FILE])
def test_where_it_can_not_be_told_the_int8_graph_stays_and_does_not_count(with_int8, caplog, name):
    (with_int8 / name).write_text("{}")
    (with_int8 / SEARCH_FILE).write_text("{}")
    graph = (with_int8 / INT8_GRAPH).read_bytes()
    assert export(with_int8, with_int8).int8_bytes == 0
    assert (with_int8 / INT8_GRAPH).read_bytes() == graph
    assert SEARCH_FILE in names(with_int8)
    assert warned(caplog, "stays but does not count; export with int8 makes a new one")
    with pytest.raises(ModelError, match=f"has no {INT8_GRAPH}"):
        ExportedModel(with_int8, "int8")


def test_an_int8_graph_that_can_not_be_run_here_is_not_removed(with_int8, monkeypatch):
    def fail(directory, number_format="float32", **settings):
        if number_format == "int8":
            raise ModelError("it can't be loaded by ONNX Runtime")
        return ExportedModel(directory, number_format, **settings)

    monkeypatch.setattr(export_module, "ExportedModel", fail)
    before = contents(with_int8)
    with pytest.raises(ModelError, match=r"make it anew with --int8.*it can't be loaded by ONNX Runtime"):
        export(with_int8, with_int8)
    assert contents(with_int8) == before


def test_an_int8_graph_of_other_weights_is_removed_with_a_warning(with_int8, caplog):
    (with_int8 / SEARCH_FILE).write_text("{}")
    model = load(with_int8, "cpu", "float32").model
    with torch.no_grad():
        model.qa_outputs.weight.mul_(1.5)
    model.save_pretrained(with_int8)
    result = export(with_int8, with_int8)
    assert (result.int8_bytes, result.int8_products, result.int8_agreement) == (0, (), None)
    assert not {INT8_GRAPH, SEARCH_FILE} & names(with_int8)
    assert warned(caplog, f"{INT8_GRAPH} was made of another model")
    # And a new one begins with the model's thresholds.
    export(with_int8, with_int8, int8=True)
    assert int8_thresholds(with_int8)[0] == 0.4


def test_a_file_of_its_name_that_no_export_made_stays(own):
    (own / INT8_GRAPH).write_text("mine")
    export(own, own)
    assert (own / INT8_GRAPH).read_text() == "mine"


def test_a_plain_checkpoint_becomes_a_dense_graph(tmp_path):
    plain = save_plain(tmp_path / "plain")
    export(plain, tmp_path / "out")
    loaded = load_exported(tmp_path / "out")
    assert not loaded.skims
    same_answers(tmp_path / "out", plain)
    for given, message in (
        ({"threshold": 0.5}, "a threshold needs a Block-Skim model"),
        ({"point": "fast"}, "an operating point needs a Block-Skim model"),
    ):
        with pytest.raises(ConfigError, match=message):
            QuestionAnswerer(tmp_path / "out", backend="onnx")(QUESTION, TEXT, **given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_number_format_of_stored_weights_stays(tmp_path, dtype):
    new_model().to(dtype).save_pretrained(tmp_path / "half")
    TOKENIZER.save_pretrained(tmp_path / "half")
    export(tmp_path / "half", tmp_path / "out")
    for name, tensor in stored_tensors(tmp_path / "half" / WEIGHTS).items():
        other = stored_tensors(tmp_path / "out" / WEIGHTS)[name]
        assert (tensor.number_format, tensor.shape) == (other.number_format, other.shape)
    inputs = packed("bert", [(4, 60), (2, 30)])
    expected = load(tmp_path / "half", "cpu", "float32").model.score_windows(inputs, 0.5)
    check_equal(ExportedModel(tmp_path / "out").score_windows(inputs, 0.5), expected)
    check_equal(load(tmp_path / "out", "cpu", "float32").model.score_windows(inputs, 0.5), expected, 0, 0)


def test_pytorch_loads_it_as_it_was(stored):
    inputs = packed("bert", [(4, 60), (2, 30)])
    model = load(exported_answerer().directory, "cpu", "float32").model
    assert model.skim_config == exported_answerer().model.skim_config
    found, expected = (part.score_windows(inputs, 0.5) for part in (model, exported_answerer().model))
    check_equal(found, expected, 0, 0)


def test_text_that_names_special_tokens_is_read_as_by_pytorch(tmp_path):
    text = "The kite [SEP] nests [CLS] in Wales [SEP] and eats worms."
    tokens = {}
    for split in (False, True):
        own = word_piece()
        own.split_special_tokens = split
        out = tmp_path / str(split)
        export(new_model(), out, own)
        reader = load_exported(out).tokenizer
        tokens[split] = reader.backend.encode(text, add_special_tokens=False).ids
        assert tokens[split] == own(text, add_special_tokens=False)["input_ids"]
    assert tokens[False] != tokens[True]


@pytest.mark.parametrize("family", ["modernbert", "deberta-v2"])
def test_other_families_are_refused_with_those_that_can_be_exported(tmp_path, family):
    with pytest.raises(ConfigError) as caught:
        export(new_skim_model(family), tmp_path / "out", TOKENIZER)
    known = "albert, bert, camembert, distilbert, electra, mpnet, roberta, xlm-roberta"
    assert str(caught.value) == f"encoders of type '{family}' can't be exported; these can: {known}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_package_that_is_missing_is_named(stored, tmp_path, monkeypatch, package):
    monkeypatch.setattr(onnx_export, "has", lambda name: name != package)
    for model, own in ((stored, None), (new_model(), TOKENIZER)):
        with pytest.raises(ConfigError) as caught:
            export(model, tmp_path / "out", own)
        assert str(caught.value) == (f"export needs {package}, which is not installed: pip install 'blockskim[export]'")
    assert not (tmp_path / "out").exists()


def test_onnx_files_nest_only_so_deep(tmp_path):
    dense = new_dense_model("bert", vocab_size=len(TOKENIZER), num_hidden_layers=32)
    model = BlockSkimForQuestionAnswering.from_backbone(dense, SkimConfig(predictor_width=8))
    with pytest.raises(ConfigError, match="more than 30 skim predictors can't be exported; this one has 31"):
        export(model, tmp_path / "out", TOKENIZER)


def test_arguments_for_the_hub_are_checked(stored, tmp_path):
    for model, own in ((stored, None), (new_model(), TOKENIZER)):
        with pytest.raises(ConfigError, match="unknown argument 'nonsense'"):
            export(model, tmp_path / "out", own, nonsense=1)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="none"):
        export(tmp_path / "none", tmp_path / "out")


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_whoever_may_read_new_files_may_read_those_of_a_model(stored, own, tmp_path, umask):
    before = os.umask(umask)
    try:
        export(stored, tmp_path / "out")
        export(own, own)
    finally:
        os.umask(before)
    paths = [*(tmp_path / "out").iterdir(), own / GRAPH, own / FILE]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o666 & ~umask}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~umask


def test_the_checkpoint_of_a_dense_model_has_no_trained_predictors(dense):
    assert not read_manifest(dense.directory).trained_predictors
    inputs = packed("bert", [(4, 60)])
    with torch.no_grad():
        logits = dense_for("wordpiece")(
            input_ids=torch.from_numpy(inputs.ids)[None], token_type_ids=torch.from_numpy(inputs.types)[None]
        )
    found = dense.exported.score_windows(inputs)
    np.testing.assert_allclose(found.start_logits, logits.start_logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.end_logits, logits.end_logits.numpy(), atol=1e-4)
