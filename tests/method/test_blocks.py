import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim.method.block_spans import surviving_blocks
from blockskim.method.blocks import (
    IGNORED,
    block_layout,
    relevance_labels,
    soften_labels,
    token_indices,
)

ALIGNMENTS = ["sequence", "context"]


def masks(*samples, width):
    """Attention and context mask of samples given as (padding before, tokens before the context, context, after)."""
    attention = torch.zeros(len(samples), width, dtype=torch.long)
    context = torch.zeros(len(samples), width, dtype=torch.long)
    for row, (padding, before, inside, after) in enumerate(samples):
        attention[row, padding : padding + before + inside + after] = 1
        context[row, padding + before : padding + before + inside] = 1
    return attention, context


small = st.integers(0, 30)
samples_strategy = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 20), small, st.integers(0, 3)), min_size=1)
sizes = st.sampled_from([8, 16, 32, 64])


def layout_of(samples, block_size, alignment, extra=0):
    width = max(sum(sample) for sample in samples) + extra
    attention, context = masks(*samples, width=width)
    return attention, context, block_layout(attention, context, block_size, alignment)


def block_numbers(attention, context, block_size, alignment):
    """Worked out token by token: the block of each token (-1 for none) and the blocks with nothing but context."""
    numbers, droppable = [], []
    for real, inside in zip(attention.tolist(), context.tolist(), strict=True):
        wanted = real if alignment == "sequence" else inside
        row, counter = [], 0
        for token in wanted:
            row.append(counter // block_size if token else -1)
            counter += token
        numbers.append(row)
        blocks = sorted(set(row) - {-1})
        droppable.append([all(inside[i] for i in range(len(row)) if row[i] == block) for block in blocks])
    return numbers, droppable


@given(samples_strategy, sizes, st.sampled_from(ALIGNMENTS), st.integers(0, 9))
def test_layout_is_what_counting_token_by_token_gives(samples, block_size, alignment, extra):
    attention, context, layout = layout_of(samples, block_size, alignment, extra)
    numbers, droppable = block_numbers(attention, context, block_size, alignment)
    for row in range(len(samples)):
        tokens = np.full(attention.shape[1], -1)
        for block in range(layout.starts.shape[1]):
            first, length = int(layout.starts[row, block]), int(layout.lengths[row, block])
            if length:
                tokens[first : first + length] = block
        assert tokens.tolist() == numbers[row]
        found = layout.droppable[row].tolist()
        assert found == droppable[row] + [False] * (len(found) - len(droppable[row]))


@given(samples_strategy, sizes)
def test_context_alignment_judges_every_context_token(samples, block_size):
    _, context, layout = layout_of(samples, block_size, "context")
    assert torch.equal((layout.lengths * layout.droppable).sum(-1), context.sum(-1))


@given(samples_strategy, sizes, st.sampled_from(ALIGNMENTS))
def test_question_and_special_and_padding_tokens_are_never_judged(samples, block_size, alignment):
    _, context, layout = layout_of(samples, block_size, alignment, extra=7)
    rows, blocks = layout.droppable.nonzero(as_tuple=True)
    indices, exists = token_indices(layout.starts[rows, blocks], layout.lengths[rows, blocks], block_size)
    inside = context[rows[:, None].expand_as(indices), indices]
    assert bool((inside == 1)[exists].all())


@given(samples_strategy, sizes, st.sampled_from(ALIGNMENTS), st.integers(1, 40))
def test_padding_changes_no_block(samples, block_size, alignment, extra):
    _, _, short = layout_of(samples, block_size, alignment)
    _, _, long = layout_of(samples, block_size, alignment, extra)
    for name in ("starts", "lengths", "droppable"):
        assert torch.equal(getattr(short, name), getattr(long, name))


def test_sequence_alignment_cuts_from_the_first_token_as_the_paper_does():
    attention, context = masks((0, 10, 20, 1), width=40)
    layout = block_layout(attention, context, 8, "sequence")
    assert layout.starts.tolist() == [[0, 8, 16, 24]]
    assert layout.lengths.tolist() == [[8, 8, 8, 7]]
    # The first holds the question, the second its end, the last the final separator.
    assert layout.droppable.tolist() == [[False, False, True, False]]


def test_context_alignment_cuts_the_context_alone():
    attention, context = masks((0, 10, 20, 1), (3, 4, 9, 1), width=40)
    layout = block_layout(attention, context, 8, "context")
    assert layout.starts.tolist() == [[10, 18, 26], [7, 15, 23]]
    assert layout.lengths.tolist() == [[8, 8, 4], [8, 1, 0]]
    assert layout.droppable.tolist() == [[True, True, True], [True, True, False]]


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_sample_without_context_has_no_judged_block(alignment):
    attention, context = masks((0, 20, 0, 0), (0, 3, 0, 1), width=24)
    assert not block_layout(attention, context, 8, alignment).droppable.any()


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_context_mask_on_padding_counts_for_nothing(alignment):
    attention, context = masks((0, 8, 16, 0), width=48)
    clean = block_layout(attention, context, 8, alignment)
    context[0, 24:] = 1
    assert torch.equal(block_layout(attention, context, 8, alignment).droppable, clean.droppable)


def test_empty_batch_has_an_empty_layout():
    empty = torch.zeros(0, 12, dtype=torch.long)
    assert block_layout(empty, empty, 8, "context").droppable.shape == (0, 1)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_masks_that_are_not_one_run_are_refused(alignment):
    attention, context = masks((0, 4, 16, 1), (0, 4, 16, 1), width=24)
    broken = context.clone()
    broken[1, 10] = 0
    with pytest.raises(ValueError, match="context_mask of sample 1"):
        block_layout(attention, broken, 8, alignment)
    broken = attention.clone()
    broken[0, 2] = 0
    with pytest.raises(ValueError, match="attention_mask of sample 0"):
        block_layout(broken, context, 8, alignment)


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 8\).*\(2, 9\)"):
        block_layout(torch.ones(2, 8), torch.ones(2, 9), 8, "context")
    with pytest.raises(ValueError, match=r"\(batch, tokens\)"):
        block_layout(torch.ones(8), torch.ones(8), 8, "context")


def labels_of(samples, starts, ends, block_size=8, alignment="context"):
    _, _, layout = layout_of(samples, block_size, alignment)
    return relevance_labels(layout, torch.tensor(starts), torch.tensor(ends))


def test_one_answer_token_makes_its_block_relevant():
    sample = (0, 4, 24, 1)
    for token in range(4, 28):
        labels = labels_of([sample], [token], [token])
        assert labels.tolist() == [[int(block == (token - 4) // 8) for block in range(3)]]


def test_an_answer_across_a_border_makes_both_blocks_relevant():
    # The released code asks for 2 answer tokens in a block; here each block has 1.
    assert labels_of([(0, 4, 24, 1)], [11], [12]).tolist() == [[1, 1, 0]]


def test_any_annotated_answer_makes_its_block_relevant():
    labels = labels_of([(0, 4, 32, 1), (0, 4, 32, 1)], [[5, 20, -1], [30, -1, -1]], [[6, 21, -1], [30, -1, -1]])
    assert labels.tolist() == [[1, 0, 1, 0], [0, 0, 0, 1]]


def test_an_unanswerable_example_has_no_relevant_block():
    samples = [(0, 4, 16, 1)] * 3
    labels = labels_of(samples, [-1, 0, 20], [-1, 0, 20])  # no answer, the first token, the last separator
    assert labels.tolist() == [[0, 0]] * 3


def test_blocks_that_are_not_judged_have_no_label():
    labels = labels_of([(0, 10, 30, 1), (0, 10, 6, 1)], [12, 12], [13, 12], alignment="sequence")
    # The answer stands in the block that also holds the end of the question: it can't be dropped, so is not trained.
    assert labels.tolist() == [[IGNORED, IGNORED, 0, 0, 0, IGNORED], [IGNORED] * 6]


def test_an_answer_that_ends_before_it_starts_is_none():
    assert labels_of([(0, 4, 16, 1)], [12], [9]).tolist() == [[0, 0]]


@given(samples_strategy, sizes, st.sampled_from(ALIGNMENTS), st.data())
def test_labels_are_what_looking_at_every_token_gives(samples, block_size, alignment, data):
    attention, context, layout = layout_of(samples, block_size, alignment)
    width = attention.shape[1]
    place = st.integers(-1, width - 1)
    answers = [data.draw(st.lists(st.tuples(place, place), min_size=2, max_size=2)) for _ in samples]
    labels = relevance_labels(layout, *torch.tensor(answers).unbind(-1))
    numbers, droppable = block_numbers(attention, context, block_size, alignment)
    for row, spans in enumerate(answers):
        marked = {token for first, last in spans if first >= 0 for token in range(first, last + 1)}
        for block, counts in enumerate(droppable[row]):
            holds = any(numbers[row][token] == block for token in marked)
            assert labels[row, block] == (int(holds) if counts else IGNORED)


def test_token_indices_repeat_the_first_token_behind_a_short_block():
    indices, exists = token_indices(torch.tensor([5, 20]), torch.tensor([4, 2]), 4)
    assert indices.tolist() == [[5, 6, 7, 8], [20, 21, 20, 20]]
    assert exists.tolist() == [[True] * 4, [True, True, False, False]]


probabilities = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), st.integers(0, 4)), min_size=1)


@given(probabilities, st.floats(0, 1, width=32))
def test_what_passes_stays_and_every_group_keeps_its_best(blocks, threshold):
    values = np.array([value for value, _ in blocks], dtype=np.float32)
    groups = np.array([group for _, group in blocks])
    keep = surviving_blocks(values, threshold, groups, 6)
    for group in range(5):
        inside = np.flatnonzero(groups == group)
        if not len(inside):
            continue
        passing = [int(i) for i in inside if values[i] >= threshold]
        kept = [int(i) for i in inside if keep[i]]
        assert kept == (passing or [int(inside[values[inside].argmax()])])


@given(probabilities, st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_the_kept_set_shrinks_as_the_threshold_rises(blocks, one, other):
    values = np.array([value for value, _ in blocks], dtype=np.float32)
    groups = np.array([group for _, group in blocks])
    low, high = (surviving_blocks(values, threshold, groups, 5) for threshold in sorted((one, other)))
    assert bool((low | ~high).all())


def test_a_block_at_the_threshold_stays():
    keep = surviving_blocks(np.float32([0.5, 0.25, 0.75]), 0.5, np.array([0, 0, 0]), 1)
    assert keep.tolist() == [True, False, True]


def test_nothing_passes_and_the_best_block_survives():
    values, groups = np.float32([0.1, 0.3, 0.2, 0.05, 0.05]), np.array([0, 0, 0, 1, 1])
    assert surviving_blocks(values, 0.9, groups, 2).tolist() == [False, True, False, True, False]


def test_a_threshold_of_0_keeps_even_the_impossible():
    assert surviving_blocks(np.zeros(3, dtype=np.float32), 0.0, np.zeros(3, dtype=np.int64), 1).all()


def test_survivors_do_not_depend_on_the_order_of_groups():
    generator = np.random.default_rng(0)
    values, groups, order = generator.random(40, dtype=np.float32), np.arange(40) % 7, generator.permutation(40)
    keep = surviving_blocks(values, 0.8, groups, 7)
    assert np.array_equal(surviving_blocks(values[order], 0.8, groups[order], 7), keep[order])


def test_no_blocks_no_survivors():
    assert surviving_blocks(np.zeros(0, dtype=np.float32), 0.5, np.zeros(0, dtype=np.int64), 0).shape == (0,)


def test_blocks_beside_a_relevant_one_get_a_share():
    labels = torch.tensor([[0, 0, 1, 0, 0, -100], [1, 1, 0, -100, 0, 0], [0, 0, 0, 0, 0, 1]])
    expected = torch.tensor(
        [[0, 0.25, 1, 0.25, 0, -100], [1, 1, 0.25, -100, 0, 0], [0, 0, 0, 0, 0.25, 1]], dtype=torch.float32
    )
    assert torch.equal(soften_labels(labels, 0.25), expected)
    assert torch.equal(soften_labels(labels, 0.0), labels.float())
