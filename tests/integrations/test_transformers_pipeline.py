import json

import pytest
import torch
from transformers import BertForQuestionAnswering, pipeline, pipelines
from transformers.pipelines import PIPELINE_REGISTRY

import blockskim
from blockskim import QuestionAnswerer
from blockskim.errors import ConfigError, DataError, ModelError
from blockskim.integrations.transformers_pipeline import TASK, QuestionAnsweringPipeline
from tiny_answerers import save_model, save_plain

QUESTION = "what does the kite eat ?"
CONTEXT = "the red kite nests in wales . the kite eats worms ."


@pytest.fixture(scope="module", autouse=True)
def registered():
    removed = dict(getattr(pipelines, "REMOVED_TASKS", {}))
    blockskim.register_pipeline()
    yield
    PIPELINE_REGISTRY.supported_tasks.pop(TASK)
    getattr(pipelines, "REMOVED_TASKS", {}).update(removed)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def test_answers_as_question_answerer_does(directory):
    pipe = pipeline("question-answering", model=str(directory), device="cpu")
    assert isinstance(pipe, QuestionAnsweringPipeline)
    answerer = QuestionAnswerer(directory, dtype="float32")
    wanted = answerer(QUESTION, CONTEXT)
    assert pipe(question=QUESTION, context=CONTEXT) == wanted
    assert pipe({"question": QUESTION, "context": CONTEXT}) == wanted
    record = {"question": QUESTION, "context": CONTEXT, "id": "other keys don't matter"}
    assert pipe([record, record]) == [wanted, wanted]
    assert pipe([record]) == [wanted]
    assert pipe(question=[QUESTION], context=[CONTEXT]) == [wanted]
    assert pipe(data=[record]) == [wanted]
    assert set(wanted) == {"score", "start", "end", "answer"}


def test_options_hold_for_a_call_or_for_all(directory):
    pipe = pipeline("question-answering", model=str(directory), device="cpu", top_k=2, max_answer_len=3)
    found = pipe(question=QUESTION, context=CONTEXT)
    assert found == QuestionAnswerer(directory, dtype="float32")(QUESTION, CONTEXT, top_k=2, max_answer_len=3)
    assert len(found) == 2
    assert len(pipe(question=QUESTION, context=CONTEXT, topk=3, padding="longest")) == 3
    assert isinstance(pipe(question=QUESTION, context=CONTEXT, top_k=1), dict)
    blank = pipe(question=QUESTION, context=CONTEXT, top_k=40, handle_impossible_answer=True)
    assert "" in [answer["answer"] for answer in blank]


def test_a_generator_is_answered_as_it_comes(directory):
    pipe = pipeline("question-answering", model=str(directory), device="cpu", batch_size=2)
    taken = []

    def records():
        for number in range(5):
            taken.append(number)
            yield {"question": QUESTION, "context": f"{CONTEXT} {number}"}

    answers = pipe(records())
    assert next(answers)["answer"]
    assert taken == [0, 1]
    assert len(list(answers)) == 4


def test_a_plain_checkpoint_works_and_reads_everything(tmp_path):
    directory = save_plain(tmp_path / "plain")
    pipe = pipeline("question-answering", model=str(directory), device="cpu")
    assert pipe(question=QUESTION, context=CONTEXT) == QuestionAnswerer(directory, dtype="float32")(QUESTION, CONTEXT)
    model = BertForQuestionAnswering.from_pretrained(directory)
    again = pipeline("question-answering", model=model, tokenizer=pipe.tokenizer, device="cpu")
    assert again(question=QUESTION, context=CONTEXT) == pipe(question=QUESTION, context=CONTEXT)
    with pytest.raises(ConfigError, match="a threshold needs a Block-Skim model"):
        pipe(question=QUESTION, context=CONTEXT, threshold=0.5)
    with pytest.raises(ConfigError, match="an operating point needs a Block-Skim model"):
        pipe(question=QUESTION, context=CONTEXT, point="fast")


def test_without_a_model_it_takes_the_one_that_comes_along():
    pipe = pipeline("question-answering", device="cpu")
    found = pipe(question="Where does the kite nest?", context="The red kite nests in Wales. It eats worms.")
    assert found["answer"] == "Wales"
    assert pipe.model.dtype != torch.float16
    assert any(pipe.model.skim_config.thresholds)


def test_what_was_saved_is_a_model_without_code(directory, tmp_path):
    pipe = pipeline("question-answering", model=str(directory), device="cpu")
    pipe.save_pretrained(tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("*.py"))
    assert "custom_pipelines" not in json.loads((tmp_path / "saved" / "config.json").read_text())
    again = pipeline("question-answering", model=str(tmp_path / "saved"), device="cpu")
    assert again(question=QUESTION, context=CONTEXT) == pipe(question=QUESTION, context=CONTEXT)


def test_wrong_inputs_are_named(directory):
    pipe = pipeline("question-answering", model=str(directory), device="cpu")
    with pytest.raises(DataError, match="the context is empty"):
        pipe(question=QUESTION, context=" ")
    with pytest.raises(ConfigError, match="each input must be a dictionary with 'question' and 'context'"):
        pipe([{"question": QUESTION}])
    with pytest.raises(ConfigError, match="the context must be a string"):
        pipe(question=QUESTION)
    with pytest.raises(ConfigError, match="the inputs must be"):
        pipe("where ?")
    with pytest.raises(ConfigError, match="not both"):
        pipe({"question": QUESTION, "context": CONTEXT}, question=QUESTION)
    with pytest.raises(ModelError, match="needs the model's tokenizer"):
        QuestionAnsweringPipeline(pipe.model)


def test_registering_twice_is_harmless(caplog):
    blockskim.register_pipeline()
    assert not caplog.records
