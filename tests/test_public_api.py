"""What ``import blockskim`` offers and costs. Each test that is about imports has a process of its own."""

import json
import os
import subprocess
import sys

import pytest

import blockskim
from tiny_answerers import save_model


def python(code, *arguments):
    """Output of a fresh interpreter."""
    result = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("name", blockskim.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(blockskim)
    assert getattr(blockskim, name) is not None


def test_the_names_are_those_of_the_library():
    assert set(blockskim.__all__) - {"__version__"} == set(blockskim._HOMES)
    what_docs_use = "Recipe WindowSettings evaluate_windows load make_windows"
    assert set(what_docs_use.split()) < set(blockskim.__all__)
    assert blockskim.__all__ == sorted(blockskim.__all__)


def test_windows_are_made_and_evaluated_by_public_names(directory, tmp_path):
    (tmp_path / "data.json").write_text(
        '{"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "The kite nests in Wales.", "qas": '
        '[{"id": "q", "question": "Where?", "answers": [{"text": "Wales", "answer_start": 18}]}]}]}]}'
    )
    loaded = blockskim.load(directory, device="cpu")
    examples = list(blockskim.read_examples(tmp_path / "data.json"))
    windows = blockskim.make_windows(examples, loaded.tokenizer, blockskim.WindowSettings(60, 10, 20))
    assert set(blockskim.evaluate_windows(loaded.model, windows).predictions) == {"q"}


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        blockskim.nothing  # noqa: B018


def test_importing_the_package_or_the_command_line_imports_no_torch():
    code = (
        "import sys, blockskim, blockskim.cli.main; print([n for n in ('torch', 'transformers') if n in sys.modules])"
    )
    assert python(code).strip() == "[]"


IMPORTS = {
    "blockskim first": "import blockskim\nfrom transformers import AutoConfig, AutoModelForQuestionAnswering",
    "transformers first": "from transformers import AutoConfig, AutoModelForQuestionAnswering\nimport blockskim",
    "config first": "from transformers import AutoConfig\nimport blockskim\nfrom transformers import "
    "AutoModelForQuestionAnswering",
    "model first": "import blockskim.model.modeling\nfrom transformers import AutoConfig, "
    "AutoModelForQuestionAnswering",
    # What the model's own module imports.
    "checkpoints first": "import blockskim.model.checkpoints\nfrom transformers import AutoConfig, "
    "AutoModelForQuestionAnswering",
    "backbones first": "import blockskim.model.backbones\nfrom transformers import AutoConfig, "
    "AutoModelForQuestionAnswering",
}


# One interpreter imports what none of the cases is about, and a copy of it runs each case.
EACH_IN_A_COPY = """
import json, os, sys
import torch
for name, imports in json.loads(sys.argv[2]).items():
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert not {"blockskim", "transformers"} & set(sys.modules)
            exec(imports)
            config = AutoConfig.from_pretrained(sys.argv[1])
            model = AutoModelForQuestionAnswering.from_pretrained(sys.argv[1])
            print(name, config.model_type, type(model).__name__, sep="\\t", flush=True)
            code = 0
        finally:
            os._exit(code)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def models(directory):
    """Of each order of imports the model type and the class that transformers' Auto classes give."""
    lines = python(EACH_IN_A_COPY, directory, json.dumps(IMPORTS)).splitlines()
    return {name: found for name, *found in (line.split("\t") for line in lines)}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("imports", IMPORTS)
def test_auto_classes_know_the_model_after_a_plain_import(imports, models):
    assert models[imports] == ["blockskim", "BlockSkimForQuestionAnswering"]
