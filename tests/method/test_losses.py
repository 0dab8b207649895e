import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from blockskim.method.losses import block_loss, span_loss, teaching_loss


def logits_of(*shape, seed=0):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3).requires_grad_()


@given(st.lists(st.sampled_from([0, 1, -100]), min_size=1, max_size=12), st.floats(0.1, 200), st.integers(0, 99))
def test_block_loss_is_torchs_weighted_cross_entropy(labels, balance, seed):
    logits, labels = logits_of(len(labels), 2, seed=seed), torch.tensor(labels)
    found = block_loss(logits, labels, balance)
    found.backward()
    if not (labels >= 0).any():
        assert found.item() == 0.0
        assert not logits.grad.any()
        return
    again = logits.detach().clone().requires_grad_()
    expected = nn.CrossEntropyLoss(weight=torch.tensor([1.0, balance]))(again, labels)
    expected.backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(logits.grad, again.grad)


def test_block_loss_worked_out_by_hand():
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0], [5.0, -5.0]]).log_softmax(-1)
    # Both droppable blocks cost log 2, whatever they weigh.
    assert float(block_loss(logits, torch.tensor([1, 0, -100]), 20.0)) == pytest.approx(0.693147, abs=1e-6)
    logits = torch.tensor([[0.0, 3.0], [0.0, 3.0]]).log_softmax(-1)
    relevant, irrelevant = -float(logits[0, 1]), -float(logits[1, 0])
    expected = (20 * relevant + irrelevant) / 21
    assert float(block_loss(logits, torch.tensor([1, 0]), 20.0)) == pytest.approx(expected, rel=1e-6)


def test_blocks_that_are_not_judged_never_enter_the_loss():
    droppable = logits_of(4, 2)
    more = torch.cat([droppable.detach(), torch.full((3, 2), 1e4)])
    labels = torch.tensor([0, 1, 0, 0, -100, -100, -100])
    torch.testing.assert_close(block_loss(more, labels, 20.0), block_loss(droppable, labels[:4], 20.0))


@pytest.mark.parametrize("labels", [[], [-100, -100]])
def test_no_judged_block_gives_a_loss_of_0_with_a_gradient(labels):
    logits = logits_of(len(labels), 2)
    loss = block_loss(logits, torch.tensor(labels, dtype=torch.long), 20.0)
    assert loss.item() == 0.0
    loss.backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_are_in_float32(dtype):
    logits = logits_of(4, 2).to(dtype)
    assert block_loss(logits, torch.tensor([0, 1, 0, 0]), 20.0).dtype == torch.float32
    start, end, mask = logits_of(2, 6).to(dtype), logits_of(2, 6).to(dtype), torch.ones(2, 6, dtype=torch.bool)
    assert span_loss(start, end, mask, torch.tensor([1, 2]), torch.tensor([1, 2])).dtype == torch.float32


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), min_size=1, max_size=5), st.integers(0, 99))
def test_span_loss_is_the_mean_cross_entropy_of_both_ends(positions, seed):
    # A sample without an answer has -1 at both ends.
    positions = [(start, end) if min(start, end) >= 0 else (-1, -1) for start, end in positions]
    starts, ends = torch.tensor(positions).unbind(-1)
    first, last = logits_of(len(positions), 5, seed=seed), logits_of(len(positions), 5, seed=seed + 1)
    mask = torch.ones(len(positions), 5, dtype=torch.bool)
    found = span_loss(first, last, mask, starts, ends)
    if (starts < 0).all():
        assert found.item() == 0.0
        found.backward()
        return
    entropy = nn.CrossEntropyLoss(ignore_index=-1)
    torch.testing.assert_close(found, (entropy(first, starts) + entropy(last, ends)) / 2)


def test_padding_never_enters_the_span_loss():
    start, end = logits_of(2, 6), logits_of(2, 6, seed=1)
    starts, ends = torch.tensor([1, 0]), torch.tensor([3, 2])
    mask = torch.ones(2, 6, dtype=torch.bool)
    expected = span_loss(start, end, mask, starts, ends)
    filled = [torch.cat([logits.detach(), torch.full((2, 4), 50.0)], 1).requires_grad_() for logits in (start, end)]
    found = span_loss(*filled, torch.cat([mask, torch.zeros(2, 4, dtype=torch.bool)], 1), starts, ends)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert not filled[0].grad[:, 6:].any()
    assert bool(filled[0].grad.isfinite().all())


def test_a_share_of_relevance_counts_as_that_much_of_a_relevant_and_an_irrelevant_block():
    logits = torch.tensor([[0.3, -0.2], [1.0, 2.0]])
    costs = -logits.log_softmax(-1)
    expected = (0.75 * costs[0, 0] + 20 * 0.25 * costs[0, 1] + costs[1, 0]) / (0.75 + 20 * 0.25 + 1)
    torch.testing.assert_close(block_loss(logits, torch.tensor([0.25, 0.0]), 20.0), expected)


@given(st.integers(1, 9), st.integers(0, 99))
def test_teaching_is_the_cross_entropy_with_the_teachers_opinion(blocks, seed):
    pupil, teacher = logits_of(blocks, 2, seed=seed), logits_of(blocks, 2, seed=seed + 100)
    loss = teaching_loss(pupil, teacher)
    shares = teacher.detach().softmax(-1)
    torch.testing.assert_close(loss, -(shares * pupil.log_softmax(-1)).sum(-1).mean())
    loss.backward()
    assert teacher.grad is None
    # The pupil is drawn to the teacher, and stays where it agrees.
    torch.testing.assert_close(pupil.grad, (pupil.detach().softmax(-1) - shares) / blocks)


def test_teaching_about_no_block_is_0_with_a_gradient():
    pupil = logits_of(0, 2)
    loss = teaching_loss(pupil, torch.zeros(0, 2))
    loss.backward()
    assert loss.item() == 0.0
