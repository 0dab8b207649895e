"""An engine with models of PyTorch and of ONNX Runtime: the library's answers, and a capacity that fits."""

from concurrent.futures import wait
from dataclasses import replace

import pytest
import torch

from blockskim.answering.model_choice import ModelChoice
from blockskim.inference.shipped import shipped_model
from blockskim.method.evidence import UNCALIBRATED
from blockskim.serving.engine import ONE_WINDOW, ONNX_TURN, Engine, ModelSettings, fitting_capacity, load_answerer
from blockskim.serving.scheduler import Capacity
from tiny_answerers import TEXT, answerer, save_model

QUESTIONS = ["Where is the nest?", "Who counted them?", "What is red?", "When were there 2,500 nests?"]


def same(found, expected):
    """Whether two answers are the same, up to what a model of PyTorch makes of other batch mates."""
    return {**found, "score": None} == {**expected, "score": None} and found["score"] == pytest.approx(
        expected["score"], rel=1e-4
    )


@pytest.mark.slow
def test_answers_of_pytorch_among_others_are_those_of_the_library():
    qa = answerer()
    engine = Engine(qa, replace(Capacity(), batch_tokens=1_000, turn_tokens=300))
    engine.warm_up()
    asked = [(question, TEXT[shift:] * (1 + shift // 10)) for shift in range(0, 60, 6) for question in QUESTIONS]
    futures = [engine.ask({"kind": "answer", "pairs": [pair], "options": {"max_seq_len": 60}}) for pair in asked]
    wait(futures, 300)
    for (question, text), future in zip(asked, futures, strict=True):
        assert same(future.result(0)["answers"][0], qa(question, text, max_seq_len=60))
    assert engine.describe() | {"points": []} == {
        "backend": "torch",
        "device": "cpu",
        "dtype": "float32",
        "layers": qa.model.num_layers,
        "max_tokens": qa.model.position_limit,
        "skims": True,
        "points": [],
        "calibrated_confidence": False,
        "calibrated_evidence": False,
        "evidence_threshold": UNCALIBRATED.threshold,
        "evidence_points": [],
    }
    engine.close()


def test_a_directory_of_pytorch(tmp_path):
    choice = ModelChoice(name=str(save_model(tmp_path / "kite", points={"fast": 0.5})))
    qa = load_answerer(ModelSettings(choice, point="fast"))
    assert qa.point == "fast"
    assert fitting_capacity(qa, Capacity()) == Capacity()
    assert ModelSettings(choice).served_name == "kite"
    (tmp_path / "latest").symlink_to(tmp_path / "kite")
    assert ModelSettings(ModelChoice(name=f"{tmp_path}/latest/")).served_name == "latest"
    assert ModelSettings(ModelChoice(name="owner/name")).served_name == "owner/name"
    assert isinstance(qa.model, torch.nn.Module)
    # What its errors call it holds no path.
    assert str(tmp_path) not in qa.loaded.name


def test_onnx_runtime_has_one_window_at_a_time_on_each_of_several_threads():
    qa = load_answerer(ModelSettings(ModelChoice(name=shipped_model(), threads=2)))
    assert qa.model.threads == 1
    fitting = fitting_capacity(qa, Capacity(), 2)
    assert (fitting.runners, fitting.turn_tokens, fitting.batch_tokens) == (2, ONNX_TURN, ONE_WINDOW)
    reports = []
    engine = Engine(qa, fitting, reports.append)
    text = "The kettle sings on the stove, and it is warm in here. " * 80
    found = engine.ask({"kind": "answer", "pairs": [["What sings?", text]], "options": {}}).result(60)
    engine.close()
    assert len(reports) > 1
    assert {report.windows for report in reports} == {1}
    assert fitting.crowd_tokens == ONNX_TURN
    assert fitting_capacity(qa, Capacity(batch_tokens=300), 2).crowd_tokens == 300
    assert same(found["answers"][0], qa("What sings?", text))


def test_a_gpu_has_whole_batches():
    class OnGpu:
        device = torch.device("cuda")

    class Answerer:
        model = OnGpu()

    assert fitting_capacity(Answerer(), Capacity()).turn_tokens == Capacity().batch_tokens
