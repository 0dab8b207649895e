import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim.training.distillation_losses import span_distillation_loss, state_loss


def logits_of(*shape, seed=0):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3).requires_grad_()


def places(*lengths):
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def test_distillation_loss_is_the_divergence_at_a_temperature_times_its_square():
    start, end, own_start, own_end = (logits_of(3, 7, seed=seed).detach() for seed in range(4))
    temperature = 2.5
    found = span_distillation_loss(own_start, own_end, start, end, places(7, 7, 7), temperature)
    parts = []
    for own, teacher in ((own_start, start), (own_end, end)):
        own, teacher = (own / temperature).softmax(-1), (teacher / temperature).softmax(-1)
        parts.append((teacher * (teacher / own).log()).sum(-1).mean())
    torch.testing.assert_close(found, sum(parts) / 2 * temperature**2)


@given(st.integers(0, 99), st.floats(0.3, 20))
def test_what_is_outside_of_the_mask_takes_no_part_in_distillation(seed, temperature):
    mask = places(5, 3)
    student, teacher = logits_of(2, 5, seed=seed), logits_of(2, 5, seed=seed + 100).detach()
    loss = span_distillation_loss(student, student, teacher, teacher, mask, temperature)
    loss.backward()
    assert not student.grad[~mask].any()
    assert student.grad[mask].abs().min() > 0 or loss < 1e-4
    # Neither padding nor what was dropped (minus infinity) makes a difference, on either side.
    for filled in (-torch.inf, 1e4):
        again = student.detach().masked_fill(~mask, filled).requires_grad_()
        teacher_logits = teacher.masked_fill(~mask, -filled)
        same = span_distillation_loss(again, again, teacher_logits, teacher_logits, mask, temperature)
        same.backward()
        torch.testing.assert_close(same, loss)
        torch.testing.assert_close(again.grad, student.grad)


def test_a_student_that_agrees_loses_nothing_and_teaches_nobody():
    teacher = logits_of(2, 6)
    loss = span_distillation_loss(teacher.detach(), teacher.detach(), teacher, teacher, places(6, 4), 2.0)
    assert float(loss) == pytest.approx(0.0, abs=1e-6)
    assert not loss.requires_grad


def test_gradients_of_distillation_keep_their_size_at_high_temperatures():
    sizes = []
    for temperature in (10.0, 40.0):
        student = logits_of(4, 9)
        teacher = logits_of(4, 9, seed=5).detach()
        span_distillation_loss(student, student, teacher, teacher, places(9, 9, 9, 9), temperature).backward()
        sizes.append(float(student.grad.norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


@pytest.mark.parametrize("kind", ["mse", "cosine"])
def test_state_loss_is_a_mean_over_the_tokens_of_the_mask(kind):
    mask = places(4, 2)
    states = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    teacher = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
    found = state_loss(states, teacher, mask, kind)
    chosen = [(states[0, i], teacher[0, i]) for i in range(4)] + [(states[1, i], teacher[1, i]) for i in range(2)]
    if kind == "mse":
        expected = sum(((own - other) ** 2).mean() for own, other in chosen) / 6
    else:
        expected = sum(1 - own @ other / own.norm() / other.norm() for own, other in chosen) / 6
    torch.testing.assert_close(found, expected)
    found.backward()
    assert teacher.grad is None
    assert not states.grad[~mask].any()
    same = states.detach()
    assert float(state_loss(same, same, mask, kind)) == pytest.approx(0.0, abs=1e-6)
    assert float(state_loss(same, teacher, torch.zeros_like(mask), kind)) == 0.0
