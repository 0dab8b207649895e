import json

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset
from transformers import BertForQuestionAnswering, pipeline, pipelines
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.pt_utils import KeyDataset

import blockskim
from blockskim import QuestionAnswerer
from blockskim.errors import ConfigError, DataError, ModelError
from blockskim.integrations.transformers_pipeline import TASK, QuestionAnsweringPipeline
from tiny_answerers import save_model, save_plain
from tiny_models import new_dense_model
from tiny_tokenizers import fixed_tokenizer, tokenizer

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


@pytest.fixture(scope="module")
def pipe(directory):
    return pipeline("question-answering", model=str(directory), device="cpu", batch_size=2)


QUESTIONS = [QUESTION, "where ?", "who eats ?"]
CONTEXTS = [CONTEXT, "the kite is in wales .", "a worm in a nest ."]
RECORDS = [{"question": asked, "context": text} for asked, text in zip(QUESTIONS, CONTEXTS, strict=True)]


class Rows(Dataset):
    """A data set as PyTorch has them: a length and items, and no end to iterate to."""

    def __len__(self):
        return len(RECORDS)

    def __getitem__(self, index):
        return RECORDS[index % len(RECORDS)]


class Stream(IterableDataset):
    """A data set that is read from its start."""

    def __iter__(self):
        return iter(RECORDS)


def ask_alone(pipe):
    return [pipe.answerer(record["question"], record["context"]) for record in RECORDS]


ALL_FORMS = {
    "question and context": lambda: {"question": QUESTIONS, "context": CONTEXTS},
    "arrays": lambda: {"question": np.array(QUESTIONS), "context": np.array(CONTEXTS, dtype=object)},
    "generators": lambda: {"question": iter(QUESTIONS), "context": (text for text in CONTEXTS)},
    "records": lambda: [RECORDS],
    "tuple of records": lambda: [tuple(RECORDS)],
    "record after record": lambda: RECORDS,
    "data": lambda: {"data": RECORDS},
    "X": lambda: {"X": RECORDS},
    "record of lists": lambda: [{"question": QUESTIONS, "context": CONTEXTS}],
    "record of arrays": lambda: [{"question": np.array(QUESTIONS), "context": tuple(CONTEXTS)}],
    "records of lists": lambda: [
        [{"question": QUESTIONS[:1], "context": CONTEXTS[:1]}, {"question": QUESTIONS[1:], "context": CONTEXTS[1:]}]
    ],
    "one record of lists in a list": lambda: [[{"question": QUESTIONS, "context": CONTEXTS}]],
    "records with and without lists": lambda: [[RECORDS[0], {"question": QUESTIONS[1:], "context": CONTEXTS[1:]}]],
    "generator": lambda: [(record for record in RECORDS)],
    "generator of lists": lambda: [iter([{"question": QUESTIONS, "context": CONTEXTS}])],
    "data set": lambda: [Rows()],
    "stream": lambda: [Stream()],
    "key of a data set": lambda: [KeyDataset([{"row": record} for record in RECORDS], "row")],
}


@pytest.mark.parametrize("make", ALL_FORMS.values(), ids=ALL_FORMS)
@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"batch_size": 1, "num_workers": 0, "padding": True}])
def test_every_form_gives_the_same_answers(pipe, make, options):
    given = make()
    found = pipe(**given, **options) if isinstance(given, dict) else pipe(*given, **options)
    wanted = ask_alone(pipe)
    for ours, theirs in zip(list(found), wanted, strict=True):
        assert ours == {**theirs, "score": pytest.approx(theirs["score"], rel=1e-4)}


@pytest.mark.parametrize(
    "ask",
    [
        lambda pipe: pipe(QUESTION, CONTEXT),
        lambda pipe: pipe({"question": QUESTION, "context": CONTEXT}),
        lambda pipe: pipe(question=np.str_(QUESTION), context=CONTEXT, num_workers=None, top_k=None, doc_stride=None),
        lambda pipe: pipe(pipe.create_sample(QUESTION, CONTEXT)),
        lambda pipe: pipe(QuestionAnsweringPipeline.create_sample(question=QUESTION, context=CONTEXT)),
        lambda pipe: pipe([pipe.create_sample(QUESTION, CONTEXT)])[0],
        lambda pipe: pipe.predict({"question": QUESTION, "context": CONTEXT}),
    ],
)
def test_one_question_gives_one_answer(pipe, ask):
    assert ask(pipe) == pipe.answerer(QUESTION, CONTEXT)


def test_samples_are_made_of_lists_and_of_one_context_for_all(pipe):
    assert pipe.create_sample(QUESTIONS, CONTEXTS) == RECORDS
    assert pipe.create_sample(question=np.array(QUESTIONS), context=CONTEXT) == [
        {"question": asked, "context": CONTEXT} for asked in QUESTIONS
    ]
    assert len(pipe(pipe.create_sample(QUESTIONS, CONTEXTS))) == 3
    with pytest.raises(ConfigError, match="3 questions can't pair up with 2 contexts"):
        pipe.create_sample(QUESTIONS, CONTEXTS[:2])


def test_several_answers_to_each_question_of_a_record(pipe):
    found = pipe([{"question": QUESTIONS, "context": CONTEXTS}], top_k=2)
    assert [len(answers) for answers in found] == [2, 2, 2]


def test_workers_and_batch_size_of_the_whole_pipeline(directory):
    pipe = pipeline("question-answering", model=str(directory), device="cpu", num_workers=3, batch_size=4)
    assert pipe(question=QUESTION, context=CONTEXT) == pipe.answerer(QUESTION, CONTEXT)
    assert pipe.answerer.batch_size == 4


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda pipe: pipe(), "^the inputs must be question=… and context=…, or dictionaries"),
        (lambda pipe: pipe(5), "^the inputs must be .*, not 5$"),
        (lambda pipe: pipe(b"where ?"), "^the inputs must be .*, not b'where"),
        (lambda pipe: pipe(question=QUESTION), "the context must be a string or a list of strings, not None"),
        (lambda pipe: pipe(RECORDS, question=QUESTION, context=CONTEXT), "not both"),
        (lambda pipe: pipe(data=RECORDS, question=QUESTION, context=CONTEXT), "not both"),
        (lambda pipe: pipe(RECORDS, X=RECORDS), "not both"),
        (
            lambda pipe: pipe([RECORDS[0], [QUESTION]]),
            r"^input 2 \(index 1\): each input must be a dictionary with 'question' and 'context'",
        ),
        (
            lambda pipe: pipe([RECORDS[0], {"question": QUESTIONS, "context": CONTEXTS[:2]}]),
            r"^input 2 \(index 1\): 3 questions can't pair up with 2 contexts$",
        ),
        (
            lambda pipe: pipe([RECORDS[0], {"question": QUESTION, "context": None}]),
            r"^input 2 \(index 1\): the context must be a string or a list of strings, not None, a missing value$",
        ),
        (
            lambda pipe: list(pipe(iter([*RECORDS, {"question": QUESTION, "context": 5}]))),
            r"^input 4 \(index 3\): the context must be a string or a list of strings, not int \(5\)$",
        ),
        (lambda pipe: list(pipe(iter(RECORDS), batch_size=0)), "batch_size is 0"),
        (lambda pipe: pipe(np.array([[QUESTION, CONTEXT]])), "not a ndarray; give its rows as dictionaries"),
    ],
)
def test_what_cannot_be_asked_is_told_in_the_librarys_own_words(pipe, ask, message):
    with pytest.raises(ConfigError, match=message):
        ask(pipe)


def test_questions_of_a_stream_are_called_by_their_place_in_it(pipe, caplog):
    two = {"question": [QUESTION] * 2, "context": CONTEXT}
    records = [RECORDS[0], two, RECORDS[1], {"question": "who " * 70, "context": CONTEXT}]
    for form in (list, iter):
        caplog.clear()
        assert len(list(pipe(form(records), batch_size=2))) == 5
        assert [message for message in caplog.messages if "longer" in message] == [
            "question 5 is longer than 64 tokens; the rest of it is not read"
        ]
        with pytest.raises(DataError, match=r"^context 6 is empty$"):
            list(pipe(form([*records, {"question": QUESTION, "context": " "}]), batch_size=2))
    traced = list(pipe(iter(records), batch_size=2, return_trace=True))
    assert all(answer["trace"].context == CONTEXT for answer in traced[1:3])
    with pytest.raises(ConfigError, match="return_trace"):
        pipe(records, return_trace="yes")


def test_the_callers_model_and_tokenizer_stay_as_they_are(caplog):
    model = BertForQuestionAnswering(new_dense_model("bert", vocab_size=len(fixed_tokenizer("wordpiece"))).config)
    own = tokenizer("wordpiece")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = model.config.to_dict()
    pipe = pipeline("question-answering", model=model, tokenizer=own, device="cpu")
    own.backend_tokenizer.enable_truncation(4)
    wanted = pipe(question=QUESTION, context=CONTEXT)
    assert own.backend_tokenizer.truncation["max_length"] == 4
    own.backend_tokenizer.no_truncation()
    assert pipe(question=QUESTION, context=CONTEXT) == wanted
    assert model.training
    assert not [record for record in caplog.records if record.name.startswith("blockskim")]
    assert model.config.to_dict() == settings
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_registering_twice_is_harmless(caplog):
    blockskim.register_pipeline()
    assert not caplog.records
