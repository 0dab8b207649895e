"""Everything on the way of a question but the logits works where PyTorch and transformers are not installed.

Each test has an interpreter of its own that finds neither of them.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent / "support"
WITHOUT_TORCH = f"""
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refusing())
sys.path.append({str(SUPPORT)!r})
"""
QUESTION = "Where is the nest?"
TEXT = "The red kite nests in Wales. It eats worms, says the café in Cardiff! In 2024 there were 2,500 nests. " * 3

ANSWERING = [
    "answering.answerer",
    "answering.backend_choice",
    "answering.explain_page",
    "answering.loading",
    "answering.pair_reading",
    "answering.ranking",
    "answering.reading",
    "answering.request",
    "answering.text_reading",
    "answering.texts",
    "answering.trace",
    "answering.word_boundaries",
    "cli.answer",
    "cli.bulk",
    "cli.commands",
    "cli.highlight",
    "cli.main",
    "cli.prune",
    "cli.rank",
    "cli.serve",
    "data.collate",
    "data.packed_inputs",
    "data.reading",
    "data.tokens",
    "data.windows",
    "evaluation.evaluate",
    "evidence.evidence_reading",
    "evidence.finding",
    "evidence.highlight",
    "evidence.prune",
    "evidence.question_answerer",
    "evidence.selection",
    "evidence.sentences",
    "evidence.signals",
    "exporting.directory",
    "exporting.exported_model",
    "exporting.manifest",
    "inference.answers",
    "inference.backend",
    "inference.operating_point",
    "inference.runner",
    "inference.shipped",
    "inference.spans",
    "inference.survival",
    "inference.window_settings",
    "method.block_spans",
    "method.config",
    "method.cost",
    "method.skim_trace",
    "method.thresholds",
    "metrics.hotpotqa",
    "metrics.mrqa",
    "metrics.skim",
    "metrics.squad",
    "scaling.bulk",
    "scaling.jobs",
    "serving.engine",
    "serving.evidence_tasks",
    "serving.pool",
    "serving.scheduler",
    "serving.worker",
]


def python(code, *arguments):
    """A fresh interpreter without PyTorch."""
    command = [sys.executable, "-c", WITHOUT_TORCH + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def command(*arguments):
    """``python -m blockskim`` there: exit code, standard output, standard error."""
    code = "import runpy; sys.argv[0] = 'blockskim'; runpy.run_module('blockskim', run_name='__main__')"
    result = python(code, *arguments)
    return result.returncode, result.stdout, result.stderr


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory):
    """A tokenizer of letters and words, as a model directory has it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz0123456789.,;:!?"]
    pieces = [*words, *(f"##{piece}" for piece in words[4:]), "the", "kite", "nest", "wales"]
    backend = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # What a training run may have left there.
    backend.enable_truncation(4)
    backend.enable_padding(length=9)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    backend.save(str(path))
    return path


def test_every_module_on_the_way_of_a_question_is_imported():
    listed = "".join(f"import blockskim.{name}\n" for name in ANSWERING)
    result = python(f"{listed}print([name for name in ('torch', 'transformers') if name in sys.modules])")
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr


def test_answers_traces_and_pages_come_from_any_backend(tokenizer_file):
    code = """
import json
from blockskim import QuestionAnswerer
from blockskim.data.tokens import PairTemplate, read_frozen_tokenizer
from hashing_backend import HashingBackend

path, question, text = sys.argv[1:]
template = PairTemplate.from_json({"before": [2], "between": [3], "after": [3], "types": [0, 1], "pad_id": 0})
qa = QuestionAnswerer(HashingBackend(), read_frozen_tokenizer(path, template))
answers = qa(question, text, top_k=3, return_trace=True)
trace = answers[0].pop("trace")
dense = qa(question, text, dense=True, return_trace=True)["trace"]
found = qa.search(question, {"a": text, "blank": " "}, top_k=2)
print(json.dumps({
    "answers": [{name: answer[name] for name in ("answer", "score", "start", "end")} for answer in answers],
    "found": found.answers,
    "highlights": qa.highlight(question, {"a": text}, top_k=2),
    "pruned": qa.prune(question, {"a": text}, budget=0.5).documents,
    "ranked": qa.rank(question, {"a": text}),
    "blocks": [[block.start, block.end] for window in trace.windows for block in window.blocks],
    "kept": trace.kept_by_layer,
    "dense_kept": dense.kept_by_layer,
    "flops": [trace.flops, trace.dense_flops, dense.flops],
    "page": trace.to_html(),
}))
"""
    result = python(code, tokenizer_file, QUESTION, TEXT)
    assert result.returncode == 0, result.stderr
    values = json.loads(result.stdout)
    assert len(values["answers"]) == 3
    for answer in [*values["answers"], *values["found"]]:
        assert TEXT[answer["start"] : answer["end"]] == answer["answer"] != ""
        assert 0 < answer["score"] < 1
    assert {answer["document"] for answer in values["found"]} == {"a"}
    for sentence in values["highlights"]:
        assert TEXT[sentence["start"] : sentence["end"]] == sentence["text"] != ""
    assert 0 < len(values["pruned"]["a"]) <= len(TEXT) / 2
    assert values["ranked"] == [{"document": "a", "score": values["highlights"][0]["score"]}]
    # All of the text is in some block, and few of them are left.
    assert values["blocks"][0][0] == 0
    assert values["blocks"][-1][1] == len(TEXT.rstrip())
    assert 0 < values["kept"][-1] <= values["kept"][0] < 1
    assert values["dense_kept"] == [1.0, 1.0, 1.0]
    flops, dense_flops, spent_dense = values["flops"]
    assert flops < dense_flops == spent_dense
    assert "<mark>" in values["page"]
    assert "dropped in layer 1" in values["page"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["auto", "onnx"])
def test_an_exported_directory_answers(exported_directory, backend):
    arguments = ["answer", "-q", QUESTION, "-c", TEXT, "--model", exported_directory, "--backend", backend, "--json"]
    code, out, err = command(*arguments)
    assert (code, err) == (0, "")
    (result,) = json.loads(out)
    (answer,) = result["answers"]
    assert TEXT[answer["start"] : answer["end"]] == answer["answer"] != ""
    assert result["skim"]["flops"] < result["skim"]["dense_flops"]


@pytest.mark.slow
def test_an_exported_directory_is_evaluated(exported_directory, data_file):
    arguments = ["--data", data_file, "--max-length", 90, "--json", "--quiet"]
    code, out, err = command("evaluate", "--model", exported_directory, *arguments)
    assert (code, err) == (0, "")
    assert json.loads(out)["examples"] == 1


@pytest.mark.slow
def test_exporting_itself_needs_it(exported_directory, tmp_path):
    code, out, err = command("export", "--model", exported_directory, "--output", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err in {f"error: {MISSING.format(package)}\n" for package in ("torch", "transformers")}


@pytest.fixture(scope="module")
def exported_directory():
    """A model directory that was exported."""
    pytest.importorskip("onnx")
    from tiny_exports import exported_answerer

    return exported_answerer().directory


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["answer", "--help"], ["train", "--help"]])
def test_help_needs_none_of_it(arguments):
    code, out, err = command(*arguments)
    assert (code, err) == (0, "")
    assert "blockskim" in out


MISSING = "this needs PyTorch and transformers, and {} is not installed: pip install 'blockskim[torch]'"


@pytest.fixture(scope="module")
def data_file(tmp_path_factory):
    answers = [{"text": "Wales", "answer_start": TEXT.index("Wales")}]
    articles = [
        {
            "title": "a",
            "paragraphs": [{"context": TEXT, "qas": [{"id": "q", "question": QUESTION, "answers": answers}]}],
        }
    ]
    path = tmp_path_factory.mktemp("data") / "data.json"
    path.write_text(json.dumps({"version": "1.1", "data": articles}))
    return path


@pytest.mark.slow
def test_the_shipped_model_answers_and_is_evaluated_without(data_file, tmp_path):
    code, out, err = command("answer", "-q", QUESTION, "-c", TEXT, "--json", "--quiet")
    assert (code, err) == (0, "")
    (answer,) = json.loads(out)[0]["answers"]
    assert TEXT[answer["start"] : answer["end"]] == answer["answer"]
    code, out, err = command("evaluate", "--data", data_file, "--json", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out)["examples"] == 1
    written = tmp_path / "answers.json"
    code, _, err = command("predict", "--data", data_file, "--predictions", written, "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(written.read_text()).keys() == {"q"}


def test_the_shipped_model_answers_a_file_of_rows_without(tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps({"question": QUESTION, "context": TEXT}) + "\n")
    code, out, err = command("bulk", "answer", data, "--output", tmp_path / "out", "--json", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out)["rows"] == 1
    row = json.loads((tmp_path / "out" / "part-000000.jsonl").read_text())
    assert TEXT[row["start"] : row["end"]] == row["answer"] != ""


@pytest.mark.parametrize("name", ["answer", "average", "info", "train"])
def test_commands_that_need_it_say_so_on_one_line(name, data_file, tmp_path):
    output = tmp_path / "out"
    arguments = {
        "answer": ["-q", QUESTION, "-c", TEXT, "--backend", "torch"],
        "average": ["--model", tmp_path, "--model", tmp_path, "--output", output],
        "info": [],
        "train": ["--base", tmp_path, "--train", data_file, "--dev", data_file, "--output", output],
    }[name]
    code, out, err = command(name, *arguments)
    assert (code, out) == (2, "")
    assert err in {f"error: {MISSING.format(package)}\n" for package in ("torch", "transformers")}
    assert not output.exists()


@pytest.mark.parametrize("name", ["BlockSkimForQuestionAnswering", "load", "calibrate", "train", "register_pipeline"])
def test_public_names_that_need_it_say_so(name):
    code = f"""
from blockskim.errors import ConfigError
try:
    from blockskim import {name}
except ConfigError as error:
    print(error)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() in {MISSING.format(package) for package in ("torch", "transformers")}


def test_another_missing_package_is_no_matter_of_pytorch():
    code = """
from blockskim.extras import torch_needed
try:
    with torch_needed():
        import no_such_package
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert python(code).stdout.strip() == "no_such_package"


def test_transformers_without_pytorch_is_left_alone(tmp_path):
    """Its Auto classes can be imported after this package; there is nothing to register then."""
    folder = tmp_path / "transformers" / "models" / "auto"
    folder.mkdir(parents=True)
    for package in (folder, folder.parent, folder.parent.parent):
        (package / "__init__.py").touch()
    (folder / "modeling_auto.py").write_text("AutoModelForQuestionAnswering = 'theirs'\n")
    code = f"""
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "Refusing"]
sys.modules["torch"] = None
sys.path.insert(0, {str(tmp_path)!r})
import blockskim
from transformers.models.auto.modeling_auto import AutoModelForQuestionAnswering
print(AutoModelForQuestionAnswering)
"""
    result = python(code)
    assert (result.returncode, result.stdout.strip()) == (0, "theirs"), result.stderr
