import copy
import logging
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blockskim import QuestionAnswerer
from blockskim.answering.trace import skim_summary
from blockskim.errors import ConfigError, DataError, ModelError
from blockskim.method.confidence import ConfidenceModel
from tiny_answerers import FAMILY, TEXT, answerer, dense_for, new_model
from tiny_tokenizers import KINDS, fixed_tokenizer, tokenizer

every_kind = pytest.mark.parametrize("kind", KINDS)
few = settings(max_examples=max(10, settings.default.max_examples // 3))
QUESTION = "Where is the nest?"

letters = st.sampled_from(
    list("abc redkit.,'\n\t ") + list("éß日本語🪁👩\u200d🚀e\u0301\u00a0\ufeffЖि한") + ["kite ", "Wales "]
)
texts = st.text().map(lambda text: text.replace("\0", "")) | st.lists(letters, max_size=40).map("".join)
contexts = texts.map(lambda text: f"{text}a")


def spans(answers):
    return [(answer["start"], answer["end"]) for answer in answers]


@pytest.mark.slow
@every_kind
@few
@given(context=contexts, top_k=st.integers(2, 6), align=st.booleans(), dense=st.booleans())
def test_answers_stand_in_the_text(kind, context, top_k, align, dense):
    context.encode()
    answers = answerer(kind)(QUESTION, context, top_k=top_k, align_to_words=align, dense=dense, max_seq_len=40)
    assert 1 <= len(answers) <= top_k
    for answer in answers:
        assert context[answer["start"] : answer["end"]] == answer["answer"]
        assert answer["answer"] == answer["answer"].strip()
        assert answer["answer"]
        assert 0.0 <= answer["score"] <= 1.0
    scores = [answer["score"] for answer in answers]
    assert scores == sorted(scores, reverse=True)
    assert len(set(spans(answers))) == len(answers)


anything = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("\x00\x01\x1b\x7f\x9f\u200b\u200e\u202e\ufeff\u0301\u20e3\ufe0fשלוםمرحبا🪁👩🏽🚀 \n"),
    ),
    min_size=1,
    max_size=60,
)


@every_kind
@few
@given(question=anything, context=anything, long=st.integers(0, 10_000), top_k=st.integers(1, 3))
def test_no_text_is_too_strange(kind, question, context, long, top_k):
    context += "x" * long * (long > 9_000)
    if not question.strip() or not context.strip():
        with pytest.raises(ValueError, match=r"the (question|context) is empty"):
            answerer(kind)(question, context)
        return
    answers = answerer(kind)(question, context, top_k=top_k, max_seq_len=60, align_to_words=bool(long % 2))
    answers = [answers] if top_k == 1 else answers
    for answer in answers:
        assert context[answer["start"] : answer["end"]] == answer["answer"]
    assert len(set(spans(answers))) == len(answers) >= 1


def test_a_text_without_anything_readable_has_no_answer(caplog):
    with caplog.at_level(logging.WARNING, "blockskim"):
        answer = answerer()("\x01", "\u200e\x02")
    assert (answer["start"], answer["end"], answer["answer"]) == (0, 0, "")
    assert caplog.messages == [
        "the context has no character that the model can read, so there is no answer in it",
        "the question has no character that the model can read; it is read as '?'",
    ]


def test_a_question_without_anything_readable_is_told_of(caplog):
    with caplog.at_level(logging.WARNING, "blockskim"):
        found = answerer()(["\u200b", QUESTION], TEXT)
        answerer().search([QUESTION, "\x01"], {"one": TEXT, "two": TEXT})
    assert caplog.messages == [
        "question 1 has no character that the model can read; it is read as '?'",
        "question 2 has no character that the model can read; it is read as '?'",
    ]
    assert found[0] == answerer()("?", TEXT)


@every_kind
@few
@given(context=contexts, top_k=st.integers(2, 30))
def test_as_many_answers_as_asked_for(kind, context, top_k):
    def ask(count):
        return answerer(kind)(QUESTION, context, top_k=count, max_seq_len=44, max_answer_len=4)

    everything = ask(100_000)
    answers = ask(top_k)
    assert len(answers) == min(top_k, len(everything))
    assert answers == everything[:top_k]


@few
@given(st.lists(st.integers(1, 120), min_size=1, max_size=4), st.integers(1, 5), st.sampled_from([None, 0.3, 0.6, 1.0]))
def test_batches_change_no_answer(sizes, batch_size, threshold):
    words = TEXT.split()
    contexts = [" ".join((words * 4)[:size]) for size in sizes]

    def ask(count):
        return answerer()(QUESTION, contexts, batch_size=count, threshold=threshold, max_seq_len=50, return_trace=True)

    for ours, theirs in zip(ask(batch_size), ask(64), strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-3, abs=1e-5)
        assert (ours["start"], ours["end"]) == (theirs["start"], theirs["end"])
        assert ours["trace"].kept_by_layer == theirs["trace"].kept_by_layer


@every_kind
def test_dense_answers_are_those_of_the_transformers_model(kind):
    tokenizer, model = fixed_tokenizer(kind), dense_for(kind)
    text = TEXT[:120]
    inputs = tokenizer(QUESTION, text, return_tensors="pt", return_offsets_mapping=True)
    offsets = inputs.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        output = model(**inputs)
    inside = torch.tensor([part == 1 for part in inputs.sequence_ids(0)])
    inside[0] = True
    chances = [
        logits[0].masked_fill(~inside, -torch.inf).softmax(-1) for logits in (output.start_logits, output.end_logits)
    ]
    inside[0] = False
    products = torch.outer(*chances).triu().tril(14) * torch.outer(inside, inside)
    best = int(products.argmax())
    start, end = divmod(best, len(inside))
    answer = answerer(kind)(QUESTION, text, dense=True, align_to_words=False)
    assert answer["score"] == pytest.approx(float(products.max()), rel=1e-4)
    assert answer["answer"] == text[offsets[start][0] : offsets[end][1]].strip()


@every_kind
def test_windows_that_overlap_give_no_answer_twice(kind):
    context = TEXT * 3
    answers = answerer(kind)(QUESTION, context, top_k=40, max_seq_len=80, doc_stride=60, dense=True)
    assert len(answers) == 40
    assert len(set(spans(answers))) == 40


def test_alignment_merges_spans_of_one_word():
    plain = answerer()(QUESTION, "kitesing", top_k=50, align_to_words=False)
    aligned = answerer()(QUESTION, "kitesing", top_k=50)
    assert len(plain) > 1
    assert [answer["answer"] for answer in aligned] == ["kitesing"]
    assert aligned[0]["score"] == plain[0]["score"]


@every_kind
@pytest.mark.parametrize("word", ["_" * 20_000, "a_" * 10_000])
def test_one_long_word_is_walked_through_once(kind, word):
    # With a walk through the word for each of its spans this takes hours.
    answers = answerer(kind)(QUESTION, word, top_k=3, dense=True)
    assert [answer["answer"] for answer in answers] == [word]


@every_kind
def test_all_answers_are_found_behind_a_long_word(kind):
    context = "_" * 300 + " the kite sings"
    answers = answerer(kind)(QUESTION, context, top_k=5, dense=True, max_answer_len=2)
    assert len(answers) == 5
    best = [answerer(kind)(QUESTION, context, top_k=count, dense=True, max_answer_len=2) for count in (2, 50)]
    assert answers[:2] == best[0]
    assert answers == best[1][:5]


def test_one_string_gives_a_dict_and_lists_give_lists():
    qa = answerer()
    assert set(qa("Who?", TEXT)) == {"score", "start", "end", "answer"}
    assert isinstance(qa("Who?", TEXT, top_k=2), list)
    assert len(qa(["Who?"], [TEXT])) == 1
    assert qa([], []) == []


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize(
    ("questions", "contexts"),
    [(["Who?", "Where?"], [TEXT, "In Wales."]), (["Who?", "Where?"], TEXT), ("Who?", [TEXT, "A man."])],
)
def test_lists_pair_up(questions, contexts, top_k):
    qa = answerer()
    pairs = [
        (
            questions if isinstance(questions, str) else questions[number],
            contexts if isinstance(contexts, str) else contexts[number],
        )
        for number in (0, 1)
    ]
    for together, (question, context) in zip(qa(questions, contexts, top_k=top_k), pairs, strict=True):
        alone = qa(question, context, top_k=top_k)
        assert isinstance(together, dict) == (top_k == 1)
        for ours, theirs in zip(*[[item] if top_k == 1 else item for item in (together, alone)], strict=True):
            assert ours == {**theirs, "score": pytest.approx(theirs["score"], rel=1e-4)}


@pytest.mark.parametrize(
    ("question", "context", "message"),
    [
        ("", TEXT, "the question is empty"),
        (" \n", TEXT, "the question is empty"),
        ("Who?", "", "the context is empty"),
        (["Who?", "Who?"], [TEXT, ""], "context 2 is empty"),
        (["Who?", ""], [TEXT, TEXT], "question 2 is empty"),
        ("Who?", [TEXT, TEXT, " "], "context 3 is empty"),
        ("Who?", "half \ud800", "the context holds half of a surrogate pair at character 5"),
    ],
)
def test_texts_that_are_none_are_named(question, context, message):
    with pytest.raises(DataError, match=message):
        answerer()(question, context)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": 3}, "the context must be a string or a list of strings, not int"),
        ({"context": [b"x"]}, "the context must be a string"),
        ({"question": ["a", "b"], "context": ["c"]}, "2 questions can't pair up with 1 contexts"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": True}, "top_k is True"),
        ({"max_answer_len": -1}, "max_answer_len is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"doc_stride": -1}, "doc_stride is -1"),
        ({"max_seq_len": 1000}, "the model reads at most 200"),
        ({"max_seq_len": 4}, "leaves"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"threshold": [0.1]}, "1 thresholds for 2 layers"),
        ({"threshold": 0.5, "dense": True}, "dense reads everything"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        answerer()(**{"question": "Who?", "context": TEXT, **arguments})


def test_a_model_needs_its_tokenizer():
    with pytest.raises(ConfigError, match="tokenizer"):
        QuestionAnswerer(new_model())


def test_a_question_that_is_cut_is_told_of(caplog):
    with caplog.at_level(logging.WARNING, "blockskim"):
        answerer()(["Who?", "who " * 20], TEXT, max_question_len=10)
    assert caplog.messages == ["question 2 is longer than 10 tokens; the rest of it is not read"]


def test_no_answer_is_an_answer_if_allowed():
    qa = answerer()
    answers = qa(QUESTION, TEXT, top_k=1000, handle_impossible_answer=True)
    nothing = [answer for answer in answers if not answer["answer"]]
    assert [(answer["start"], answer["end"]) for answer in nothing] == [(0, 0)]
    assert 0.0 < nothing[0]["score"] <= 1.0
    assert all(answer["answer"] for answer in qa(QUESTION, TEXT, top_k=1000))


def test_a_higher_threshold_skips_more():
    qa = answerer()
    traces = [qa(QUESTION, TEXT * 2, threshold=value, return_trace=True)["trace"] for value in (0.0, 0.3, 0.6, 1.0)]
    flops = [trace.flops for trace in traces]
    assert flops == sorted(flops, reverse=True)
    assert flops[0] == traces[0].dense_flops
    assert traces[0].kept_by_layer == (1.0, 1.0, 1.0)
    assert flops[-1] < flops[0]


def test_thresholds_of_each_layer():
    trace = answerer()(QUESTION, TEXT, threshold=[0.0, 1.0], return_trace=True)["trace"]
    assert trace.kept_by_layer[0] == 1.0 > trace.kept_by_layer[1]


@every_kind
@pytest.mark.parametrize("alignment", ["context", "sequence"])
def test_traces_tell_what_was_read(kind, alignment):
    qa = QuestionAnswerer(new_model(kind, alignment), fixed_tokenizer(kind))
    context = TEXT * 3
    answers = qa(QUESTION, context, top_k=3, return_trace=True, max_seq_len=90, align_to_words=False)
    trace = answers[0]["trace"]
    assert all(answer["trace"] is trace for answer in answers)
    assert len(trace.windows) > 1
    assert trace.blocks == sum(len(window.blocks) for window in trace.windows)
    assert [span[:2] for span in trace.spans] == spans(answers)
    assert trace.seconds > 0
    shares = trace.kept_by_layer
    assert len(shares) == 3
    assert list(shares) == sorted(shares, reverse=True)
    assert shares[-1] > 0
    for window in trace.windows:
        for block in window.blocks:
            assert window.start <= block.start < block.end <= window.end <= len(context)
            layers = [layer for layer, _ in block.probabilities]
            assert layers == list(range(1, len(layers) + 1))
            if block.dropped_in is None:
                assert layers == [1, 2]
            else:
                assert layers[-1] == block.dropped_in
                assert block.probabilities[-1][1] < 0.4
    # Answers stand in blocks that were read to the end, or in those that are never dropped.
    gone = np.ones(len(context), dtype=bool)
    for window in trace.windows:
        inside = np.ones(len(context), dtype=bool)
        inside[: window.start] = inside[window.end :] = False
        for block in window.blocks:
            if block.dropped_in is not None:
                inside[block.start : block.end] = False
        gone &= ~inside
    for start, end, _ in trace.spans:
        assert not gone[start] and not gone[end - 1]


def test_seconds_are_shared_out():
    answers = answerer()(["Who?", "Where?"], TEXT, return_trace=True)
    assert all(answer["trace"].seconds > 0 for answer in answers)


def test_search_names_the_document():
    documents = {"one": TEXT, "two": "The kite eats a worm in Wales.", "three": "Who? Where?"}
    result = answerer().search("Where is it?", documents, top_k=8)
    assert result.question == "Where is it?"
    assert len(result.answers) == 8
    for answer in result.answers:
        assert documents[answer["document"]][answer["start"] : answer["end"]] == answer["answer"]
    scores = [answer["score"] for answer in result.answers]
    assert scores == sorted(scores, reverse=True)
    assert [trace.document for trace in result.traces] == list(documents)
    assert len({(answer["document"], answer["start"], answer["end"]) for answer in result.answers}) == 8


def test_search_of_one_document_scores_as_a_call():
    [result] = answerer().search(["Who?"], {"": TEXT}, top_k=3)
    answers = answerer()("Who?", TEXT, top_k=3)
    assert [answer["answer"] for answer in result.answers] == [answer["answer"] for answer in answers]
    assert [answer["score"] for answer in result.answers] == pytest.approx([answer["score"] for answer in answers])


def test_scores_over_documents_sum_to_at_most_one():
    documents = dict.fromkeys("abc", "a kite")
    result = answerer().search("Who?", documents, top_k=1000, dense=True)
    total = sum(answer["score"] for answer in result.answers)
    assert 0.0 < total <= 1.0
    assert len({answer["score"] for answer in result.answers if answer["answer"] == "kite"}) == 1


def test_search_refuses_what_holds_no_document():
    with pytest.raises(DataError, match="there is no document to search"):
        answerer().search("Who?", {})
    with pytest.raises(ConfigError, match="the document 'b' is None, a missing value; a document must be a string"):
        answerer().search("Who?", {"a": TEXT, "b": None})
    with pytest.raises(DataError, match="the document 'a' holds half of a surrogate pair at character 5"):
        answerer().search("Who?", {"a": "half \ud800"})


def test_documents_without_text_have_no_answer_and_change_nothing(caplog):
    alone = answerer().search("Who?", {"a": TEXT, "b": "A man."}, top_k=5)
    with caplog.at_level(logging.WARNING, "blockskim"):
        result = answerer().search("Who?", {"none": "", "a": TEXT, "blank": " \n\u00a0", "b": "A man."}, top_k=5)
    assert result.answers == alone.answers
    assert caplog.messages == [
        "the document 'none' is empty, so there is no answer in it",
        "the document 'blank' is empty, so there is no answer in it",
    ]
    assert [trace.document for trace in result.traces] == ["none", "a", "blank", "b"]
    assert [trace.windows for trace in result.traces if trace.windows] == [trace.windows for trace in alone.traces]
    nothing = result.traces[2]
    assert (nothing.context, nothing.blocks, nothing.flops, nothing.seconds) == (" \n\u00a0", 0, 0, 0.0)
    assert nothing.kept_by_layer == (1.0, 1.0, 1.0)
    assert "nothing to skip" in nothing.to_html()
    assert skim_summary(result.traces)["flops"] == skim_summary(alone.traces)["flops"]


def test_documents_all_without_text_give_no_answers():
    results = answerer().search(["Who?", "Where?"], {"a": "", "b": "\n"})
    assert [(result.question, result.answers, len(result.traces)) for result in results] == [
        ("Who?", [], 2),
        ("Where?", [], 2),
    ]
    assert skim_summary(results[0].traces)["flops"] == 0
    assert results[0].traces[0].to_html()
    with pytest.raises(DataError, match="question 2 is empty"):
        answerer().search(["Who?", " "], {"a": ""})
    with pytest.raises(ConfigError, match="top_k is 0"):
        answerer().search("Who?", {"a": ""}, top_k=0)


@pytest.mark.parametrize("calibrated", [False, True])
def test_documents_all_without_text_have_no_answer_where_that_may_be_one(calibrated):
    """As a text has in which nothing can be read."""
    qa = confident() if calibrated else answerer()
    found = qa.search("Who?", {"a": "", "b": "\n"}, handle_impossible_answer=True, top_k=3)
    assert found.answers == qa.search("Who?", {"a": "\x07"}, handle_impossible_answer=True, top_k=3).answers
    assert [(answer["answer"], answer["score"], answer.get("document")) for answer in found.answers] == [
        ("", 1.0, None)
    ]
    assert ("confidence" in found.answers[0]) == calibrated
    assert "(no answer)" in found.traces[0].to_html()


def test_traces_tell_the_answers_that_were_given():
    """Whatever else was likely: "no answer" where that was given, and of a document those that are from it."""
    text = "The kite eats a worm in Wales."
    declined = confident()("Who?", text, handle_impossible_answer=True, no_answer_threshold=0, return_trace=True)
    assert declined["answer"] == ""
    assert declined["trace"].spans == ((0, 0, declined["score"]),)
    assert "<mark title" not in declined["trace"].to_html()
    documents = {"one": TEXT, "two": text, "three": "Who? Where?", 7: "A man.", "blank": " "}
    result = confident().search(
        "Who?", documents, top_k=6, dense=True, handle_impossible_answer=True, no_answer_threshold=0
    )
    shown = {}
    for name, trace in zip(documents, result.traces, strict=True):
        for rank, (start, end, score) in zip(trace.ranks, trace.spans, strict=True):
            assert (start, end, score) == tuple(result.answers[rank - 1][key] for key in ("start", "end", "score"))
            assert result.answers[rank - 1].get("document", name) == name
            shown.setdefault(rank, []).append(name)
            assert f'<li value="{rank}">' in trace.to_html()
    # The first is "no answer", which is of none of them.
    assert shown == {1: list(documents)} | {
        rank: [answer["document"]] for rank, answer in enumerate(result.answers[1:], start=2)
    }
    best = answerer().search("Who?", documents, dense=True)
    assert [trace.ranks for trace in best.traces].count((1,)) == 1
    assert sum(len(trace.spans) for trace in best.traces) == 1


def test_documents_are_searched_in_any_form():
    texts = [TEXT, "A man."]
    wanted = answerer().search("Who?", {"0": TEXT, "1": "A man."})
    for documents in (texts, tuple(texts), np.array(texts), iter(texts), zip("01", texts, strict=True)):
        found = answerer().search("Who?", documents)
        assert found.answers == wanted.answers
        assert [trace.document for trace in found.traces] == ["0", "1"]


def test_names_that_are_no_strings_come_back_as_they_are():
    result = answerer().search("Who?", {7: TEXT})
    assert result.answers[0]["document"] == 7
    assert result.traces[0].document == "7"
    assert "7" in result.traces[0].to_html()


def test_several_questions_at_once():
    results = answerer().search(["Who?", "Where?"], {"": TEXT})
    assert [result.question for result in results] == ["Who?", "Where?"]


def confident(threshold=0.5, right=(0.0, 0.5, 0.0, 0.5), none=(0.0, -0.5, 0.0, 0.0)):
    """An answerer whose model has calibrated confidence."""
    model = new_model()
    model.confidence = ConfidenceModel(right, none, threshold)
    return QuestionAnswerer(model, fixed_tokenizer("wordpiece"))


def test_answers_have_a_confidence_and_keep_their_score():
    plain, sure = answerer(), confident()
    for found, wanted in zip(sure("Who?", TEXT, top_k=5), plain("Who?", TEXT, top_k=5), strict=True):
        assert 0 < found.pop("confidence") < 1
        assert found == wanted


def test_no_answer_comes_first_above_the_threshold_alone():
    never, always = (confident(none=(value, 0.0, 0.0, 0.0)) for value in (-9.0, 9.0))
    chosen = {"handle_impossible_answer": True}
    assert never("Who?", TEXT, **chosen)["answer"] != ""
    found = always("Who?", TEXT, **chosen)
    assert (found["answer"], found["start"], found["end"]) == ("", 0, 0)
    assert found["confidence"] > 0.99
    assert always("Who?", TEXT)["answer"] == always("Who?", TEXT, **chosen, no_answer_threshold=1)["answer"] != ""
    assert never("Who?", TEXT, **chosen, no_answer_threshold=0)["answer"] == ""
    # Where it is not the answer, it stands behind the best one at least.
    several = always("Who?", TEXT, **chosen, no_answer_threshold=1, top_k=3)
    assert [answer["answer"] for answer in several].index("") == 1


def test_search_ranks_by_confidence_and_may_find_nothing():
    documents = {"one": TEXT, "two": "The kite eats a worm in Wales.", "three": "Who? Where?"}
    qa = confident()
    result = qa.search("Where is it?", documents, top_k=6)
    values = [answer["confidence"] for answer in result.answers]
    assert values == sorted(values, reverse=True)
    for answer in result.answers:
        alone = qa("Where is it?", documents[answer["document"]], top_k=6)
        assert answer["confidence"] in [pytest.approx(other["confidence"]) for other in alone]
    nothing = qa.search("Where is it?", documents, handle_impossible_answer=True, no_answer_threshold=0, top_k=3)
    assert nothing.answers[0]["answer"] == ""
    assert "document" not in nothing.answers[0]
    least = min(
        qa("Where is it?", text, handle_impossible_answer=True, no_answer_threshold=0)["confidence"]
        for text in documents.values()
    )
    assert nothing.answers[0]["confidence"] == pytest.approx(least)


def test_search_without_calibration_may_find_nothing_by_score():
    documents = {"one": TEXT, "two": "A man."}
    alone = [answerer()("Who?", text, top_k=1000, handle_impossible_answer=True) for text in documents.values()]
    declined = all(found[0]["answer"] == "" for found in alone)
    result = answerer().search("Who?", documents, handle_impossible_answer=True)
    assert (result.answers[0]["answer"] == "") == declined
    assert "confidence" not in result.answers[0]


def test_a_threshold_for_no_answer_needs_leave_to_give_none():
    with pytest.raises(ConfigError, match="no_answer_threshold is for handle_impossible_answer=True"):
        answerer()("Who?", TEXT, no_answer_threshold=0.5)
    for value in (-1, 2, "much", float("nan")):
        with pytest.raises(ConfigError, match="no_answer_threshold"):
            answerer()("Who?", TEXT, handle_impossible_answer=True, no_answer_threshold=value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 5}, "^model is 5; it must be a directory, a hub id, a Block-Skim model where one is taken, or None"),
        ({"model": ""}, "^model is ''; it must be a directory"),
        ({"model": ["a"]}, r"^model is \['a'\]; it must be a directory"),
        ({"model": torch.nn.Linear(2, 2)}, "^the model is a Linear; it must be a BlockSkimForQuestionAnswering, which"),
        ({"device": None}, "^device is None; it must be auto, cpu or cuda$"),
        ({"device": 0}, "^device is 0; it must be auto, cpu or cuda$"),
        ({"dtype": None}, "^dtype is None; it must be one of auto, float32, bfloat16, float16$"),
        ({"threads": "2"}, "^threads is '2'; it must be a whole number of at least 1$"),
        ({"threads": True}, "^threads is True; it must be a whole number of at least 1$"),
        ({"threads": 10**22}, "^threads is 10000000000000000000000; it must be at most"),
        ({"batch_size": None}, "^batch_size is None; it must be a whole number of at least 1$"),
        ({"tokenizer": "bert"}, "^tokenizer is 'bert'; it must be a tokenizer of transformers"),
    ],
    ids=str,
)
def test_answerers_are_not_made_of_what_is_none(arguments, message):
    with pytest.raises(ConfigError, match=message):
        QuestionAnswerer(**arguments)


def test_a_given_model_is_where_and_what_it_is():
    qa = answerer()
    model, tokenizer = qa.model, qa.tokenizer
    assert QuestionAnswerer(model, tokenizer, device="cpu", dtype="float32")(QUESTION, TEXT) == qa(QUESTION, TEXT)
    with pytest.raises(ConfigError, match=r"dtype is 'bfloat16', but the model that is given is in torch\.float32"):
        QuestionAnswerer(model, tokenizer, dtype="bfloat16")
    for wrong in ({"device": None}, {"device": "gpu"}, {"dtype": "half"}, {"threads": -1}):
        with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} is"):
            QuestionAnswerer(model, tokenizer, **wrong)
    with pytest.raises(ModelError, match=r"they don't belong together"):
        QuestionAnswerer(model, fixed_tokenizer("bytes"))


def test_a_model_in_training_mode_is_told_of(caplog):
    model = new_model().train()
    wanted = answerer()(QUESTION, TEXT)
    with caplog.at_level(logging.WARNING, "blockskim"):
        qa = QuestionAnswerer(model, fixed_tokenizer("wordpiece"))
    assert caplog.messages == ["the model was in training mode; it is in evaluation mode now, as answers need it"]
    assert qa(QUESTION, TEXT) == wanted
    caplog.clear()
    QuestionAnswerer(model, fixed_tokenizer("wordpiece"))
    assert not caplog.messages


def test_what_a_caller_does_with_its_tokenizer_changes_no_answer():
    own = tokenizer("wordpiece")
    backend = own.backend_tokenizer
    backend.enable_truncation(7)
    backend.enable_padding(length=5)
    before = backend.truncation, backend.padding
    qa, wanted = QuestionAnswerer(new_model(), own), answerer()(QUESTION, TEXT * 2)
    assert qa(QUESTION, TEXT * 2) == wanted
    assert (backend.truncation, backend.padding) == before
    backend.enable_truncation(3, direction="left")
    own(["a", "b c d"], padding="max_length", truncation=True, max_length=4, split_special_tokens=True)
    own.add_tokens(["kite nests", "in Wales"])
    backend.normalizer = None
    before = backend.truncation, backend.padding
    assert qa(QUESTION, TEXT * 2) == wanted
    assert (backend.truncation, backend.padding) == before
    assert qa.tokenizer is own
    with pytest.raises(AttributeError):
        qa.tokenizer = own


def test_what_a_caller_hands_in_stays_as_it_is():
    model = new_model(points={"fast": [0.3, 0.5]})
    qa = QuestionAnswerer(model, fixed_tokenizer("wordpiece"), point="fast")
    questions, contexts, thresholds = ["Who?", "Where?"], [TEXT, "A man."], [0.2, 0.3]
    documents = {"a": TEXT, "b": " "}
    array, settings = np.array([0.2, 0.3]), model.skim_config.to_dict()
    qa(questions, contexts, threshold=thresholds)
    qa(questions, contexts, threshold=array)
    result = qa.search("Who?", documents, threshold=array)
    assert (questions, contexts, thresholds) == (["Who?", "Where?"], [TEXT, "A man."], [0.2, 0.3])
    assert documents == {"a": TEXT, "b": " "}
    assert array.tolist() == [0.2, 0.3]
    assert model.skim_config.to_dict() == settings
    documents["a"] = "gone"
    assert result.traces[0].context == TEXT


def test_an_answerer_can_be_sent_to_another_process():
    qa = QuestionAnswerer(new_model(), fixed_tokenizer("wordpiece"))
    wanted = qa(QUESTION, TEXT)
    assert pickle.loads(pickle.dumps(qa))(QUESTION, TEXT) == wanted
    assert copy.deepcopy(qa)(QUESTION, TEXT) == wanted


def test_families_are_those_of_the_tokenizers():
    assert set(FAMILY) == set(KINDS)


def test_an_answerer_for_an_operating_point_skims_by_its_thresholds():
    model, tokenizer = (
        new_model(thresholds=0.0, points={"exact": 0.0, "fast": [0.6, 0.7]}),
        fixed_tokenizer("wordpiece"),
    )
    asked = {"question": QUESTION, "context": TEXT, "return_trace": True}
    plain, fast = QuestionAnswerer(model, tokenizer), QuestionAnswerer(model, tokenizer, point="fast")
    expected = plain(**asked, threshold=[0.6, 0.7])
    found = fast(**asked)
    assert (found["answer"], found["score"]) == (expected["answer"], expected["score"])
    flops = [sum(window.flops for window in answer["trace"].windows) for answer in (found, expected, plain(**asked))]
    assert flops[0] == flops[1] < flops[2]
    assert (
        fast.search(QUESTION, {"a": TEXT}).answers == plain.search(QUESTION, {"a": TEXT}, threshold=[0.6, 0.7]).answers
    )


def test_a_call_chooses_otherwise_than_the_answerer_was_made_for():
    model = new_model(thresholds=0.3, points={"exact": 0.0, "fast": [0.6, 0.7]})
    plain = QuestionAnswerer(model, fixed_tokenizer("wordpiece"))
    fast = QuestionAnswerer(model, fixed_tokenizer("wordpiece"), point="fast")

    def flops(qa, **choice):
        called = qa(QUESTION, TEXT, return_trace=True, **choice)["trace"].flops
        found = qa.search(QUESTION, {"": TEXT}, **choice)
        assert found.traces[0].flops == called
        return called

    own, exact, faster = flops(plain), flops(plain, point="exact"), flops(plain, point="fast")
    assert faster < own < exact
    assert flops(fast) == faster
    for choice in ({"point": "exact"}, {"dense": True}, {"threshold": 0.0}):
        assert flops(fast, **choice) >= exact == flops(plain, point="exact")
    assert flops(fast, dense=True) == flops(plain, dense=True)
    assert flops(fast, threshold=0.3) == own
    assert flops(fast) == faster


@pytest.mark.parametrize(
    "choices",
    [{"point": "fast", "dense": True}, {"point": "fast", "threshold": 0.5}, {"threshold": 0.5, "dense": True}],
)
@pytest.mark.parametrize("point", [None, "fast"])
def test_choices_of_one_call_exclude_each_other(choices, point):
    qa = QuestionAnswerer(new_model(points={"fast": 0.5}), fixed_tokenizer("wordpiece"), point=point)
    with pytest.raises(ConfigError, match="can't go"):
        qa(QUESTION, TEXT, **choices)
    with pytest.raises(ConfigError, match="can't go"):
        qa.search(QUESTION, {"a": TEXT}, **choices)


def test_an_unknown_operating_point_is_refused_with_those_there_are():
    model = new_model(points={"exact": 0.0, "fast": 0.5})
    with pytest.raises(ConfigError, match=r"'faster'.*exact, fast"):
        QuestionAnswerer(model, fixed_tokenizer("wordpiece"), point="faster")
    qa = QuestionAnswerer(model, fixed_tokenizer("wordpiece"))
    with pytest.raises(ConfigError, match=r"'faster'.*exact, fast"):
        qa(QUESTION, TEXT, point="faster")
    with pytest.raises(ConfigError, match=r"'faster'.*exact, fast"):
        qa.search(QUESTION, {"a": TEXT}, point="faster")


def test_a_point_that_changes_is_taken_as_it_is_now():
    model = new_model(points={"fast": 0.0})
    qa = QuestionAnswerer(model, fixed_tokenizer("wordpiece"), point="fast")
    before = qa(QUESTION, TEXT, return_trace=True)["trace"]
    model.skim_config = model.skim_config.replace(points={"fast": 0.9})
    assert qa(QUESTION, TEXT, return_trace=True)["trace"].flops < before.flops == before.dense_flops
