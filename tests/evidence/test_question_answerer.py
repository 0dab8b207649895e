"""What must hold of highlights, pruned texts and ranks, whatever the model says."""

import logging

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from blockskim.data.tokens import tokenize
from blockskim.errors import ConfigError, DataError
from blockskim.evidence.prune import GAP
from blockskim.evidence.sentences import split_sentences
from light_answerers import blank_letters, letters, light_answerer

QA = light_answerer()
BLANK_QA = light_answerer(blank_letters())
QUESTION = "Where is the red kite?"
TEXT = (
    "# Kites\n\nThe red kite nests in Wales. It eats worms, says the café in Cardiff! In 2024 there were 2,500 nests. "
    "Who counted them? A man from 東京, and a kite 🪁.\n\nThe end of the text is here, where nothing is red."
)
DOCUMENTS = {"a": TEXT, "b": "A short one. It is red.", "c": TEXT[::-1] + " 東京は赤い。鳶がいる。"}

sentence = st.sampled_from([part + " " for part in TEXT.split(" ")]) | st.text(max_size=5)
texts = st.lists(sentence, max_size=30).map("".join)
documents = st.dictionaries(st.sampled_from("abcd"), texts, min_size=1, max_size=3)
budgets = (
    st.floats(0.01, 1.0) | st.integers(1, 90).map("{} tokens".format) | st.integers(1, 300).map("{} characters".format)
)
wishes = st.fixed_dictionaries(
    {},
    optional={
        "threshold": st.floats(0, 1),
        "top_k": st.integers(1, 5),
        "budget": budgets,
        "context": st.integers(0, 2),
        "keep": st.sampled_from(["titles", lambda text: "kite" in text]),
    },
)


@pytest.fixture(autouse=True, scope="module")
def silent():
    logging.getLogger("blockskim").setLevel(logging.ERROR)
    yield
    logging.getLogger("blockskim").setLevel(logging.NOTSET)


def valid(texts):
    """Half of a surrogate pair is no text, and is refused."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def allowed(budget, texts, tokenizer):
    """Characters or tokens that a budget allows, and what counts them."""
    if isinstance(budget, float):
        return int(budget * sum(map(len, texts)) + 1e-6), len
    number, unit = budget.split()
    return int(number), len if unit == "characters" else lambda text: len(tokenize(tokenizer, [text]).ids)


# Each example reads several texts, some of them more than once.
some = settings(max_examples=max(3, settings.default.max_examples // 2))


@some
@given(documents, wishes)
def test_highlights_are_exact_and_within_the_budget(documents, wishes):
    assume(valid(documents.values()))
    found = QA.highlight(QUESTION, documents, **wishes)
    places = [(each["document"], each["start"], each["end"]) for each in found]
    assert len(set(places)) == len(places)
    for each in found:
        text = documents[each["document"]]
        assert (each["start"], each["end"]) in split_sentences(text)
        assert text[each["start"] : each["end"]] == each["text"] != ""
        assert 0 <= each["score"] <= 1
        assert each["role"] in ("evidence", "context", "kept")
        if each["answer"] is not None:
            answer = each["answer"]
            assert text[answer["start"] : answer["end"]] == answer["text"] != ""
            assert each["start"] <= answer["start"] < answer["end"] <= each["end"]
            assert 0 < answer["confidence"] <= 1
        if each["role"] == "evidence":
            assert each["score"] >= wishes.get("threshold", 0)
    assert sum(each["role"] == "evidence" for each in found) <= wishes.get("top_k", len(found))
    assert [each["score"] for each in found] == sorted((each["score"] for each in found), reverse=True)
    ordered = QA.highlight(QUESTION, documents, order="text", **wishes)
    assert sorted(map(str, ordered)) == sorted(map(str, found))
    ranks = [(list(documents).index(each["document"]), each["start"]) for each in ordered]
    assert ranks == sorted(ranks)
    if "budget" in wishes:
        most, count = allowed(wishes["budget"], documents.values(), letters())
        assert sum(count(each["text"]) for each in found) <= most


@some
@given(documents, wishes, st.sampled_from([GAP, "", "\n", " kite. "]))
def test_pruned_texts_lead_back_to_the_originals_and_keep_the_budget(documents, wishes, gap):
    assume(valid(documents.values()))
    result = QA.prune(QUESTION, documents, gap=gap, **wishes)
    assert list(result.documents) == [name for name in documents if name in result.documents]
    assert list(result.pieces) == list(result.documents)
    kept = 0
    for name, pruned in result.documents.items():
        original, pieces = documents[name], result.pieces[name]
        assert pruned != ""
        assert gap.join(pruned[piece.start : piece.end] for piece in pieces) == pruned
        before = 0
        for piece in pieces:
            size = piece.end - piece.start
            assert size > 0
            assert piece.original >= before
            before = piece.original + size
            assert original[piece.original : before] == pruned[piece.start : piece.end]
            assert result.original_span(name, piece.start, piece.end) == (piece.original, before)
            for offset in range(piece.start, piece.end):
                assert original[result.original_offset(name, offset)] == pruned[offset]
            kept += size
    assert result.kept == pytest.approx(kept / max(1, sum(map(len, documents.values()))))
    if "budget" in wishes:
        most, count = allowed(wishes["budget"], documents.values(), letters())
        assert sum(count(text) for text in result.documents.values()) <= most


@some
@given(documents, st.integers(1, 60), st.sampled_from([GAP, " "]))
def test_a_budget_of_tokens_holds_where_tokens_begin_at_the_blank_before_a_word(documents, tokens, gap):
    assume(valid(documents.values()))
    count = allowed(f"{tokens} tokens", (), blank_letters())[1]
    found = BLANK_QA.highlight(QUESTION, documents, budget=f"{tokens} tokens")
    assert sum(count(each["text"]) for each in found) <= tokens
    result = BLANK_QA.prune(QUESTION, documents, budget=f"{tokens} tokens", gap=gap)
    assert sum(map(count, result.documents.values())) <= tokens


def test_a_sentence_that_fits_is_kept_whatever_the_others_take():
    """Of one budget and the next larger, neither may leave nothing where the shortest sentence fits into both."""
    count = allowed("1 tokens", (), blank_letters())[1]
    text = "Yes. It is red. The red kite nests in Wales and eats worms. One."
    least = min(count(text[start:end]) for start, end in split_sentences(text))
    for tokens in range(least, 40):
        result = BLANK_QA.prune(QUESTION, {"a": text}, budget=f"{tokens} tokens", gap=" ")
        assert 0 < sum(map(count, result.documents.values())) <= tokens


def test_what_takes_no_token_in_its_text_does_not_push_out_what_fits():
    """Pieces of a word that is too long for the tokenizer are parts of one token there, and tokens by themselves."""
    text = "Ann wrote it. " + "5f3a" * 500
    found = QA.highlight(QUESTION, {"a": text}, budget="20 tokens")
    assert "Ann wrote it." in [each["text"] for each in found]


def test_what_a_splitter_left_out_does_not_come_back():
    text = "It nests in Wales.<nav>Home About</nav>It eats worms."
    places = [(0, 18), (text.index("It eats"), len(text))]
    result = QA.prune(QUESTION, {"a": text}, top_k=2, sentences=lambda _: places)
    assert result.documents == {"a": f"It nests in Wales.{GAP}It eats worms."}
    assert result.original_span("a", 0, len(result.documents["a"])) == (0, len(text))


def test_scores_do_not_depend_on_how_long_an_answer_may_be():
    def scores(**way):
        return [(each["start"], each["score"]) for each in QA.highlight(QUESTION, {"a": TEXT}, threshold=0.0, **way)]

    assert scores() == scores(max_answer_len=1) == scores(max_answer_len=40)


@some
@given(documents, st.permutations(["a", "b", "c", "d"]), st.integers(1, 4))
def test_a_document_gets_the_same_whatever_else_is_read_and_how(documents, order, batch_size):
    assume(valid(documents.values()))
    every = QA.highlight(QUESTION, documents, threshold=0.0, order="text")
    turned = {name: documents[name] for name in order if name in documents}
    again = QA.highlight([QUESTION, "Who?"], turned, threshold=0.0, order="text", batch_size=batch_size)[0]
    for name, text in documents.items():
        own = [each for each in every if each["document"] == name]
        assert [each for each in again if each["document"] == name] == own
        assert QA.highlight(QUESTION, {name: text}, threshold=0.0, order="text") == own
    ranked = QA.rank(QUESTION, documents)
    assert {each["document"] for each in ranked} == set(documents)
    for each in ranked:
        scores = [found["score"] for found in every if found["document"] == each["document"]]
        assert each["score"] == max(scores, default=0)


@pytest.mark.parametrize("point", [{}, {"dense": True}, {"max_cost": 0.5}])
def test_all_ways_of_reading_give_scores_for_every_sentence(point):
    found = QA.highlight(QUESTION, DOCUMENTS, threshold=0.0, order="text", **point)
    sentences = [(name, *span) for name, text in DOCUMENTS.items() for span in split_sentences(text)]
    assert [(each["document"], each["start"], each["end"]) for each in found] == sentences
    assert len({each["score"] for each in found}) > len(found) / 2
    if point == {"dense": True}:
        assert min(each["score"] for each in found) > 0


def test_one_question_or_several():
    one = QA.highlight(QUESTION, DOCUMENTS)
    assert QA.highlight([QUESTION], DOCUMENTS) == [one]
    assert QA.highlight([QUESTION, "Who?"], list(DOCUMENTS.values()))[0] == [
        {**each, "document": str("abc".index(each["document"]))} for each in one
    ]
    assert QA.highlight([], DOCUMENTS) == QA.prune([], DOCUMENTS) == QA.rank([], DOCUMENTS) == []
    assert QA.rank([QUESTION], DOCUMENTS, top_k=2) == [QA.rank(QUESTION, DOCUMENTS)[:2]]
    assert QA.prune([QUESTION], DOCUMENTS, top_k=1)[0].documents == QA.prune(QUESTION, DOCUMENTS, top_k=1).documents


def test_the_calls_of_the_contract():
    found = QA.highlight("…?", {"a.txt": TEXT}, budget=0.3)
    assert set(found[0]) == {"document", "text", "start", "end", "score", "role", "answer"}
    assert found[0]["document"] == "a.txt"
    pruned = QA.prune("…?", {"a.txt": TEXT}, budget=0.3)
    assert 0 < len(pruned.documents["a.txt"]) <= 0.3 * len(TEXT)
    assert 0 < pruned.kept <= 0.3


def test_blank_documents_have_nothing_and_are_ranked_last():
    texts = {"blank": " \n", **DOCUMENTS}
    assert QA.rank(QUESTION, texts)[-1] == {"document": "blank", "score": 0.0}
    assert QA.highlight(QUESTION, {"blank": " "}) == []
    assert QA.highlight(["x", "y"], {"blank": " "}) == [[], []]
    result = QA.prune(QUESTION, {"blank": " "}, budget=0.5)
    assert (result.documents, result.kept) == ({}, 0.0)


def test_context_and_titles_come_with_evidence():
    best = QA.highlight(QUESTION, {"a": TEXT}, top_k=1)[0]
    spans = split_sentences(TEXT)
    place = spans.index((best["start"], best["end"]))
    found = QA.highlight(QUESTION, {"a": TEXT}, top_k=1, context=1, order="text", keep="titles")
    roles = {(each["start"], each["end"]): each["role"] for each in found}
    assert roles.pop(spans[place]) == "evidence"
    for near in {place - 1, place + 1} & set(range(1, len(spans))) - {place}:
        assert roles.pop(spans[near]) == "context"
    assert roles in ({spans[0]: "kept"}, {})
    assert "# Kites" in [each["text"] for each in found]


def test_with_no_room_for_its_context_evidence_is_alone():
    best = QA.highlight(QUESTION, {"a": TEXT}, top_k=1)[0]
    alone = QA.highlight(QUESTION, {"a": TEXT}, top_k=1, context=3, budget=f"{len(best['text'])} characters")
    assert alone == [best]


def test_another_splitter_makes_the_sentences():
    lines = lambda text: [(0, 9), (9, len(text))]  # noqa: E731
    found = QA.highlight(QUESTION, {"a": TEXT}, threshold=0.0, sentences=lines, order="text")
    assert [(each["start"], each["end"]) for each in found] == [(0, 7), (9, len(TEXT))]
    with pytest.raises(ConfigError, match=r"^sentences gave \(5, 2\)"):
        QA.highlight(QUESTION, {"a": TEXT}, sentences=lambda text: [(5, 2)])


def test_places_in_gaps():
    result = QA.prune(
        QUESTION,
        {"a": TEXT},
        sentences=lambda text: [(0, 7), (9, 12), (20, 30)],
        keep=lambda text: len(text) != 3,
        top_k=1,
        threshold=0.0,
    )
    if len(result.pieces["a"]) == 2:
        first, second = result.pieces["a"]
        assert result.original_offset("a", first.end) == second.original
        with pytest.raises(ConfigError, match="a gap alone"):
            result.original_span("a", first.end, second.start)
        assert result.original_span("a", first.end - 1, second.start + 1) == (6, 21)
    for wrong in (-1, 10_000):
        with pytest.raises(ConfigError, match="no place"):
            result.original_offset("a", wrong)
        with pytest.raises(ConfigError, match="no span"):
            result.original_span("a", wrong, wrong + 1)
    for call in (lambda: result.original_offset("b", 0), lambda: result.original_span("b", 0, 1)):
        with pytest.raises(ConfigError, match="nothing is left of a document 'b'"):
            call()


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"threshold": 2}, "threshold is 2"),
        ({"threshold": "x"}, "threshold is 'x'"),
        ({"top_k": 0}, "top_k is 0"),
        ({"budget": 0}, "budget is 0"),
        ({"budget": 500}, "budget is 500; it must be a share"),
        ({"budget": float("nan")}, "budget is nan"),
        ({"budget": "much"}, "budget is 'much'"),
        ({"budget": "0 tokens"}, "budget is '0 tokens'"),
        ({"budget": "1.5 tokens"}, "budget is '1.5 tokens'"),
        ({"budget": "120%"}, "budget is '120%'"),
        ({"budget": "9" * 400 + " tokens"}, "budget is '999"),
        ({"budget": True}, "budget is True"),
        ({"budget": "5 words"}, "budget is '5 words'"),
        ({"context": -1}, "context is -1"),
        ({"context": 1.5}, "context is 1.5"),
        ({"keep": "all"}, "keep is 'all'"),
        ({"point": "fast", "dense": True}, "dense reads everything"),
        ({"point": "slow"}, "no operating point 'slow'"),
        ({"max_cost": 0}, "max_cost is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_impossible_arguments_are_refused_on_one_line(wish, message):
    for call in (QA.highlight, QA.prune):
        with pytest.raises(ConfigError) as caught:
            call(QUESTION, DOCUMENTS, **wish)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_more_impossible_arguments():
    with pytest.raises(ConfigError, match="order is 'best'"):
        QA.highlight(QUESTION, DOCUMENTS, order="best")
    with pytest.raises(ConfigError, match="gap is 3"):
        QA.prune(QUESTION, DOCUMENTS, gap=3)
    for way in ({}, {"budget": "30 tokens"}):
        with pytest.raises(ConfigError, match=r"gap is .* holds half of a surrogate pair"):
            QA.prune(QUESTION, DOCUMENTS, gap="~\ud800", **way)
    with pytest.raises(ConfigError, match="top_k is 0"):
        QA.rank(QUESTION, DOCUMENTS, top_k=0)
    for call in (QA.highlight, QA.prune, QA.rank):
        with pytest.raises(DataError, match="the question is empty"):
            call(" ", DOCUMENTS)
        with pytest.raises(DataError, match="no document"):
            call(QUESTION, {})
        with pytest.raises(ConfigError, match="documents is one text"):
            call(QUESTION, TEXT)
        with pytest.raises(DataError, match="surrogate"):
            call(QUESTION, ["\ud800 x"])


def test_amounts_as_text():
    for same in (
        {"budget": 0.5},
        {"budget": "50%"},
        {"budget": "50 %"},
        {"budget": np.float32(0.5)},
        {"budget": "0.5"},
    ):
        assert QA.highlight(QUESTION, DOCUMENTS, **same) == QA.highlight(QUESTION, DOCUMENTS, budget=0.5)
    assert QA.highlight(QUESTION, DOCUMENTS, budget="9 tokens") != QA.highlight(
        QUESTION, DOCUMENTS, budget="9 characters"
    )


def test_progress_is_told():
    told = []
    QA.highlight(QUESTION, DOCUMENTS, batch_size=1, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == len(told) > 2
