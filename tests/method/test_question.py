import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim.method.question import question_tokens
from tiny_models import FAMILIES, SEPARATOR, START, make_batch


def found(batch):
    places, exists = question_tokens(*(batch[name] for name in ("input_ids", "attention_mask", "context_mask")))
    assert places.shape == exists.shape
    return [row[there].tolist() for row, there in zip(places, exists, strict=True)]


@given(
    st.sampled_from(sorted(FAMILIES)),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 20)), min_size=1, max_size=5),
    st.integers(0, 7),
    st.booleans(),
)
def test_question_is_what_stands_between_the_special_tokens(family, sizes, padding, left):
    batch = make_batch(family, sizes, padding=padding, left=left)
    for row, (places, (question, _)) in enumerate(zip(found(batch.inputs), sizes, strict=True)):
        first = int(batch.real[row].long().argmax())
        assert places == list(range(first + 1, first + 1 + question))


def single(ids, context, padding=0):
    mask = torch.zeros(1, len(ids) + padding, dtype=torch.long)
    attention = mask.clone()
    attention[0, : len(ids)] = 1
    mask[0, list(context)] = 1
    return {
        "input_ids": torch.tensor([[*ids, *[0] * padding]]),
        "attention_mask": attention,
        "context_mask": mask,
    }


def test_without_a_question_all_that_is_not_context_takes_its_place():
    assert found(single([START, SEPARATOR, 10, 11, 12, SEPARATOR], range(2, 5))) == [[0, 1, 5]]
    assert found(single([START, SEPARATOR, 10, 11, 12, SEPARATOR], range(2, 5), padding=4)) == [[0, 1, 5]]
    assert found(single([START, 10, 11], range(1, 3))) == [[0]]


def test_an_input_of_context_alone_has_no_question():
    places, exists = question_tokens(*single([10, 11, 12], range(3)).values())
    assert places.shape == (1, 1)
    assert not exists.any()


def test_separators_inside_of_the_question_are_left_out():
    assert found(single([START, 10, SEPARATOR, 11, SEPARATOR, 20, 21], range(5, 7))) == [[1, 3]]


def test_batch_mates_and_padding_change_nothing():
    alone = make_batch("bert", [(3, 10)])
    together = make_batch("bert", [(3, 10), (9, 30)], padding=5)
    assert found(alone.inputs)[0] == found(together.inputs)[0]
