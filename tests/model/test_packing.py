"""What leaves the computation and what stays, and that windows packed directly are those packed from a padded batch."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.collate import pad_windows
from blockskim.data.examples import Example
from blockskim.data.packed_inputs import PackedInputs, question_matrix
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.method.block_spans import blocks_of_packed
from blockskim.method.blocks import block_layout
from blockskim.model.packing import Packing, pack_padded
from tiny_models import make_batch, new_skim_model
from tiny_tokenizers import KINDS, fixed_tokenizer

every_kind = pytest.mark.parametrize("kind", KINDS)
words = st.lists(st.sampled_from(["the", "red", "kite", "nest", "[SEP]", "</s>", "?", "🪁"]), min_size=1, max_size=30)


def windows_of(kind, pairs):
    examples = [Example(str(number), *(" ".join(part) for part in pair)) for number, pair in enumerate(pairs)]
    return make_windows(examples, fixed_tokenizer(kind), WindowSettings(30, 4, 9), stand_in="?")


@every_kind
@given(st.lists(st.tuples(words, words), min_size=1, max_size=5), st.randoms())
def test_windows_pack_as_their_padded_batch_does(kind, pairs, random):
    windows = windows_of(kind, pairs)
    indices = random.sample(range(len(windows)), random.randint(1, len(windows)))
    direct = windows.pack(indices)
    padded = pad_windows([windows[index] for index in indices], windows.template.pad_id)
    found, first = pack_padded(padded, torch.from_numpy(windows.examples_of(indices)))
    assert not first.any()
    for field in dataclasses.fields(PackedInputs):
        one, other = getattr(direct, field.name), getattr(found, field.name)
        if field.name == "questions":
            one, other = (np.where(direct.question_exists, part, 0) for part in (one, other))
        np.testing.assert_array_equal(one, other, err_msg=field.name)
    np.testing.assert_array_equal(direct.context_mask, padded["context_mask"].numpy().astype(bool))


@pytest.mark.parametrize("left", [False, True])
def test_packed_samples_skim_as_padded_ones(left):
    model = new_skim_model("bert", ("attended",), "context")
    batch = make_batch("bert", [(4, 30), (2, 41), (6, 0), (6, 12)], padding=3, left=left)
    packed, first = pack_padded(batch.inputs, None)
    expected = model.skim(**batch.inputs, thresholds=0.5)
    found = model.skim_packed(packed, 0.5)
    for name in ("start_logits", "end_logits"):
        rows = zip(getattr(found, name), getattr(expected, name), first, packed.lengths, strict=True)
        for own, padded, begin, length in rows:
            torch.testing.assert_close(own[:length], padded[begin : begin + length], atol=0, rtol=0)
            assert bool((own[length:] == -torch.inf).all())
    for name in ("kept", "probabilities", "flops", "dense_flops", "tokens"):
        one, other = getattr(found.trace, name), getattr(expected.trace, name)
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert found.trace.thresholds == expected.trace.thresholds == (0.5, 0.5)
    # The layout of padded input is in its coordinates.
    layout = block_layout(batch.inputs["attention_mask"], batch.inputs["context_mask"], 8, "context")
    there = layout.lengths.numpy() > 0
    np.testing.assert_array_equal(expected.trace.layout.starts[there], layout.starts.numpy()[there])


def test_no_samples_at_all():
    model = new_skim_model("bert", ("attended",), "context")
    windows = windows_of("wordpiece", [(["who"], ["kite"])])
    output = model.skim_packed(windows.pack([]), 0.5)
    assert output.start_logits.shape == (0, 0)


def test_questions_of_different_lengths_are_one_matrix():
    found = question_matrix([np.array([1, 2, 3]), np.array([], dtype=np.int64), np.array([5])])
    assert found["questions"].tolist() == [[1, 2, 3], [0, 0, 0], [5, 0, 0]]
    assert found["question_exists"].sum(-1).tolist() == [3, 0, 1]
    assert question_matrix([])["questions"].shape == (0, 1)


@every_kind
@given(st.lists(st.tuples(words, words), min_size=1, max_size=5), st.data())
def test_what_is_kept_stays_where_its_token_says(kind, pairs, data):
    inputs = windows_of(kind, pairs)
    inputs = inputs.pack(range(len(inputs)))
    packing = Packing.of(inputs, blocks_of_packed(inputs, 8, "context"), np.arange(len(inputs.lengths)))
    before = dataclasses.replace(packing)
    kept = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(before.block_starts), max_size=len(before.block_starts))),
        dtype=bool,
    )
    chosen = packing.drop(kept)
    np.testing.assert_array_equal(packing.tokens, before.tokens[chosen])
    assert packing.counts.sum() == len(packing.tokens) == len(packing.positions)
    np.testing.assert_array_equal(packing.block_index, before.block_index[kept])
    # Blocks and questions still name the tokens that they named before.
    alive = packing.counts > 0
    for start, old in zip(packing.block_starts, before.block_starts[kept], strict=True):
        assert packing.tokens[start] == before.tokens[old]
    exists = packing.question_exists & alive[:, None]
    np.testing.assert_array_equal(packing.tokens[packing.question[exists]], before.tokens[before.question[exists]])
    # A sample without any block left is gone whole, if it had blocks.
    had = np.isin(np.arange(len(alive)), before.block_samples)
    has = np.isin(np.arange(len(alive)), packing.block_samples)
    np.testing.assert_array_equal(alive, has | ~had)
