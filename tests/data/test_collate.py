import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blockskim.data.collate import pad_windows, training_collator
from blockskim.data.examples import Answer, Example
from blockskim.data.windows import WindowSettings, make_windows
from blockskim.method.blocks import block_layout, relevance_labels
from tiny_tokenizers import KINDS, fixed_tokenizer

every_kind = pytest.mark.parametrize("kind", KINDS)
CONTEXT = "the red kite nests in wales . " * 3 + "a kite eats a worm . " * 3


def windows_of(kind, max_length=60):
    examples = [
        Example(
            "1", "where", CONTEXT, (Answer("wales", 22), Answer("in wales", 19), Answer("worm", CONTEXT.index("worm")))
        ),
        Example("2", "who who", "the red kite", (Answer("red kite", 4),)),
        Example("3", "when", CONTEXT),
        Example("4", "when", ""),
    ]
    return make_windows(examples, fixed_tokenizer(kind), WindowSettings(max_length, 8, 10))


@every_kind
def test_padding_goes_to_the_longest_window(kind):
    items = list(windows_of(kind))
    pad_id = fixed_tokenizer(kind).pad_token_id
    batch = pad_windows(items, pad_id)
    names = {"input_ids", "attention_mask", "context_mask"} | ({"token_type_ids"} if kind == "wordpiece" else set())
    assert set(batch) == names
    width = max(len(item["input_ids"]) for item in items)
    for name, values in batch.items():
        assert values.shape == (len(items), width)
        assert values.dtype == torch.long, name
    for row, item in enumerate(items):
        length = len(item["input_ids"])
        for name in names - {"attention_mask"}:
            assert batch[name][row, :length].tolist() == item[name].tolist()
            assert set(batch[name][row, length:].tolist()) <= {pad_id if name == "input_ids" else 0}
        assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (width - length)


@every_kind
def test_padding_equals_the_tokenizers_own(kind):
    tokenizer = fixed_tokenizer(kind)
    texts = [("who", "the red kite nests in wales"), ("when", "a worm"), ("where is it", "")]
    windows = make_windows([Example(str(i), *pair) for i, pair in enumerate(texts)], tokenizer)
    batch = pad_windows(list(windows), tokenizer.pad_token_id)
    expected = tokenizer(*map(list, zip(*texts, strict=True)), padding=True, return_tensors="pt")
    for name, values in expected.items():
        assert torch.equal(batch[name], values), name


def labels_of(batch, block_size=8, alignment="context"):
    """The labels that a model makes of a training batch."""
    layout = block_layout(batch["attention_mask"], batch["context_mask"], block_size, alignment)
    return relevance_labels(layout, batch["start_positions"], batch["end_positions"])


@every_kind
@pytest.mark.parametrize("alignment", ["sequence", "context"])
@pytest.mark.parametrize("block_size", [8, 16])
def test_training_batches_have_targets_and_labels(kind, alignment, block_size):
    items = list(windows_of(kind))
    batch = training_collator(fixed_tokenizer(kind).pad_token_id)(items)
    layout = block_layout(batch["attention_mask"], batch["context_mask"], block_size, alignment)
    labels = labels_of(batch, block_size, alignment)
    assert labels.shape == layout.droppable.shape
    relevant = 0
    for row, item in enumerate(items):
        assert [int(batch[f"{side}_positions"][row, 0]) for side in ("start", "end")] == item["target"].tolist()
        marked = {place for first, last in item["answer_spans"] for place in range(first, last + 1)}
        for block in range(layout.droppable.shape[1]):
            first, length = int(layout.starts[row, block]), int(layout.lengths[row, block])
            label = int(bool(marked & set(range(first, first + length)))) if layout.droppable[row, block] else -100
            assert int(labels[row, block]) == label
            relevant += label == 1
    assert relevant > 0


def test_any_annotated_answer_makes_its_block_relevant():
    windows = windows_of("wordpiece", max_length=200)
    batch = training_collator(0)([windows[0]])
    first = windows.context_start(0)
    blocks = {(place - first) // 8 for start, end in windows[0]["answer_spans"] for place in range(start, end + 1)}
    assert len(blocks) > 1
    assert set(labels_of(batch)[0].nonzero().flatten().tolist()) == blocks
    # The answer that the QA loss is about is the first one.
    assert batch["start_positions"][:, 0].tolist() == [windows[0]["answer_spans"][0, 0]]


def test_unanswerable_windows_have_no_relevant_block():
    windows = windows_of("bytes")
    items = [window for window in windows if not len(window["answer_spans"])]
    assert len(items) > 2
    batch = training_collator(1)(items)
    labels = labels_of(batch)
    assert not bool((labels == 1).any())
    assert bool((labels == 0).any())
    assert batch["start_positions"].tolist() == batch["end_positions"].tolist() == [[0]] * len(items)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_batch_mates_change_nothing_but_padding(rows):
    windows = windows_of("wordpiece", max_length=50)
    collate = training_collator(0)
    together = collate([windows[row] for row in rows])
    for place, row in enumerate(rows):
        alone = collate([windows[row]])
        for name, values in alone.items():
            found = together[name][place]
            width = values.shape[1]
            assert torch.equal(found[:width], values[0]), name
            filling = -1 if name.endswith("positions") else 0
            assert set(found[width:].tolist()) <= {filling}


def test_spans_of_different_numbers_share_a_batch():
    def item(*spans):
        return {
            "input_ids": np.arange(20),
            "context_mask": np.array([0] * 3 + [1] * 16 + [0]),
            "answer_spans": np.array(spans, dtype=np.int64).reshape(-1, 2),
            "evidence_spans": np.zeros((0, 2), dtype=np.int64),
            "target": np.array(spans[0] if spans else (0, 0)),
        }

    batch = training_collator(0)([item(), item((3, 4), (12, 12)), item((10, 11))])
    assert labels_of(batch).tolist() == [[0, 0], [1, 1], [1, 1]]
    layout = block_layout(batch["attention_mask"], batch["context_mask"], 8, "context")
    targets = relevance_labels(layout, batch["start_positions"][:, 0], batch["end_positions"][:, 0])
    assert targets.tolist() == [[0, 0], [1, 0], [1, 1]]


@pytest.mark.parametrize("label_evidence", [True, False])
def test_blocks_of_supporting_sentences_are_relevant_if_wanted(label_evidence):
    words = ["the kite is red .", *["the worm is big ."] * 4, "an owl eat it .", *["who see it ?"] * 9]
    text = " ".join(words)
    owl = text.index("an owl")
    evidence = ((owl, owl + len("an owl eat it .")), (0, 5))
    windows = make_windows(
        [Example("e", "who eat it ?", text, (Answer("red", 12),), evidence=evidence)], fixed_tokenizer("wordpiece")
    )
    batch = training_collator(0, label_evidence)([windows[0]])
    start = windows.context_start(0)
    spans = [*windows[0]["answer_spans"], *(windows[0]["evidence_spans"] if label_evidence else [])]
    wanted = {(place - start) // 8 for low, high in spans for place in range(low, high + 1)}
    assert set((labels_of(batch)[0] == 1).nonzero().flatten().tolist()) == wanted
    assert (len(wanted) > 1) == label_evidence
    # What is to be answered stays the answer.
    assert batch["start_positions"][:, 0].tolist() == [windows[0]["answer_spans"][0, 0]]
