import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim.method.blocks import token_indices
from blockskim.method.layer_view import LayerView
from blockskim.method.predictors.match import MatchPredictor, match_margin

WIDTH, FEATURES, BLOCK = 6, 10, 8


def predictor():
    torch.manual_seed(0)
    network = MatchPredictor(FEATURES, WIDTH)
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(torch.randn_like(value) * 0.4)
    return network.eval()


def make_view(sizes, questions, seed=0, places=None):
    """Packed samples of [CLS] question [SEP] context; ``sizes`` has the lengths of each sample's blocks."""
    starts, lengths, samples, numbers, asked = [], [], [], [], []
    end = 0
    for sample, (blocks, question) in enumerate(zip(sizes, questions, strict=True)):
        asked.append(range(end + 1, end + 1 + question))
        end += question + 2
        for number, length in enumerate(blocks):
            starts.append(end)
            lengths.append(length)
            samples.append(sample)
            numbers.append(number)
            end += length
    tokens, exists = token_indices(torch.tensor(starts), torch.tensor(lengths), BLOCK)
    width = max(questions)
    question = torch.tensor([[*part, *[0] * (width - len(part))] for part in asked])
    states = torch.randn(end, FEATURES, generator=torch.Generator().manual_seed(seed))
    return LayerView(
        None,
        torch.zeros(end, 3),
        states,
        tokens,
        exists,
        torch.tensor(samples),
        question,
        torch.arange(width) < torch.tensor(questions)[:, None],
        torch.tensor(numbers if places is None else places),
    )


def by_hand(network, view):
    """The same in NumPy, block by block and token by token."""
    weights = {name: value.detach().double().numpy() for name, value in network.named_parameters()}

    def linear(name, values):
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normal(token):
        centred = token - token.mean()
        return centred / np.sqrt((centred**2).mean() + 1e-5) * weights["norm.weight"] + weights["norm.bias"]

    context = view.attn_output.double().numpy()
    states = []
    for block, sample in enumerate(view.samples.tolist()):
        own = [linear("block", normal(context[t])) for t in view.tokens[block][view.exists[block]].tolist()]
        asked = [
            linear("question", normal(context[t])) for t in view.question[sample][view.question_exists[sample]].tolist()
        ]
        similar = np.array([[one @ other / np.sqrt(WIDTH) for other in asked] for one in own])
        best = similar.max(0)
        features = [
            np.mean([np.maximum(one, 0) for one in own], 0),
            np.max([np.maximum(one, 0) for one in own], 0),
            np.mean([np.maximum(other, 0) for other in asked], 0),
            [best.mean(), best.max(), similar.max(1).mean()],
        ]
        states.append(np.maximum(linear("join", np.concatenate(features)), 0))
    samples, places = view.samples.tolist(), view.block_numbers.tolist()
    at = {pair: index for index, pair in enumerate(zip(samples, places, strict=True))}
    for number in range(2):
        mixed = []
        for block, (sample, place) in enumerate(zip(samples, places, strict=True)):
            beside = [
                states[at[sample, other]] if (sample, other) in at else np.zeros(WIDTH)
                for other in (place - 1, place + 1)
            ]
            same = np.array([states[other] for other in range(len(states)) if samples[other] == sample])
            everything = np.concatenate([states[block], *beside, same.max(0), same.mean(0)])
            mixed.append(states[block] + np.maximum(linear(f"rounds.{number}", everything), 0))
        states = mixed
    return linear("decide", np.array(states))


lengths_of_blocks = st.lists(st.integers(1, BLOCK), max_size=5)


@given(st.lists(lengths_of_blocks, min_size=1, max_size=3), st.data(), st.integers(0, 99))
def test_logits_are_those_worked_out_token_by_token(sizes, data, seed):
    sizes = [*sizes, [3]]
    questions = [data.draw(st.integers(1, 5)) for _ in sizes]
    # Blocks that were dropped leave gaps in the numbers of those that stay.
    places = [place for blocks in sizes for place in sorted(data.draw(st.sets(
        st.integers(0, 9), min_size=len(blocks), max_size=len(blocks)
    )))]  # fmt: skip
    view = make_view(sizes, questions, seed, places)
    network = predictor()
    found = network(view).detach().numpy()
    expected = by_hand(network, view)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
    margin = match_margin(network)(view).numpy()
    np.testing.assert_allclose(margin, expected[:, 1] - expected[:, 0], atol=2e-4, rtol=1e-4)


def test_question_tokens_that_are_missing_count_for_nothing_however_unlike_the_others_are():
    """In their place stands another token, which may be far more similar."""
    network = predictor()
    with torch.no_grad():
        network.block.weight.mul_(20.0)
        network.question.weight.mul_(20.0)
    view = make_view([[8, 5], [8, 8, 8], [8, 8]], [1, 5, 2])
    logits = network(view).detach()
    torch.testing.assert_close(match_margin(network)(view), logits[:, 1] - logits[:, 0], atol=1e-2, rtol=1e-4)


def test_blocks_see_their_neighbours_and_their_window_but_no_other_sample():
    network = predictor()
    view = make_view([[8, 8, 8, 5], [8, 8]], [3, 4])
    before = network(view)
    changed = view.attn_output.clone()
    changed[view.tokens[0]] *= -1.0
    after = network(dataclasses.replace(view, attn_output=changed))
    assert not torch.isclose(after[:4], before[:4]).all(-1).any()
    assert torch.equal(after[4:], before[4:])


def test_a_gap_keeps_blocks_from_being_neighbours():
    network = predictor()
    together = network(make_view([[8, 8]], [3], places=[0, 1]))
    apart = network(make_view([[8, 8]], [3], places=[0, 2]))
    assert not torch.allclose(together, apart)


def test_a_sample_whose_blocks_are_all_gone_does_no_harm():
    network = predictor()
    view = make_view([[8, 8], [], [8]], [3, 2, 4])
    found = network(view)
    assert found.shape == (3, 2)
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_to_float32(dtype):
    view = make_view([[8, 8, 4], [8]], [3, 5])
    exact = predictor()(view)
    found = predictor().to(dtype)(dataclasses.replace(view, attn_output=view.attn_output.to(dtype)))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("sizes", [[[8, 8, 5]], [[1]], [[8, 8], [3]]])
def test_the_form_for_inference_gives_the_same_margin(sizes):
    network = predictor()
    view = make_view(sizes, [4, 2][: len(sizes)])
    logits = network(view).detach()
    torch.testing.assert_close(match_margin(network)(view), logits[:, 1] - logits[:, 0], atol=1e-4, rtol=1e-4)


def test_gradients_reach_states_and_all_weights():
    network = predictor()
    view = make_view([[8, 8, 8], [8, 3]], [3, 5])
    states = view.attn_output.clone().requires_grad_()
    network(dataclasses.replace(view, attn_output=states)).square().sum().backward()
    assert bool(states.grad[view.tokens[view.exists]].any(-1).all())
    assert all(bool(value.grad.any()) for value in network.parameters())
