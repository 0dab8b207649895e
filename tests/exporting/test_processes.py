"""An exported model in other processes: sent to them, or there because they were forked."""

import copy
import os
import pickle
import subprocess
import sys

import pytest

from blockskim import QuestionAnswerer

QUESTION = "Who built the mill?"
TEXT = "The mill was built by Ada Quist in 1911. " * 60

FORKING = f"""
import os
from blockskim import QuestionAnswerer

qa = QuestionAnswerer(backend="onnx", threads=2)
before = qa({QUESTION!r}, {TEXT!r})
child = os.fork()
if child == 0:
    os._exit(0 if qa({QUESTION!r}, {TEXT!r}) == before else 3)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
raise SystemExit(code)
"""


copies = pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda qa: pickle.loads(pickle.dumps(qa))], ids=["copy", "pickle"]
)


@copies
def test_a_copy_answers_the_same(copied):
    qa = QuestionAnswerer(backend="onnx", threads=2)
    other = copied(qa)
    assert other.model is not qa.model
    assert other(QUESTION, TEXT) == qa(QUESTION, TEXT)


@copies
def test_a_copy_has_settings_that_were_changed_in_memory(copied):
    qa = QuestionAnswerer(backend="onnx", threads=1)
    qa.model.skim_config.thresholds = 0.9
    qa.model.skim_config.points["mine"] = 0.0
    other = copied(qa)
    assert other.model.confidence == qa.model.confidence
    assert other.model.skim_config.document_threshold == qa.model.skim_config.document_threshold
    assert other.model.skim_config is not qa.model.skim_config
    for given in ({}, {"point": "mine"}):
        mine, found = (each(QUESTION, TEXT, return_trace=True, **given) for each in (qa, other))
        assert found["trace"].kept_by_layer == mine["trace"].kept_by_layer
        assert found["score"] == mine["score"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
