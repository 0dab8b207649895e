import numpy as np
import pytest
import torch

from blockskim.data.windows import WindowSettings, make_windows
from blockskim.errors import ConfigError
from blockskim.profiling.workloads import Workload, random_batch, random_workload
from kite_examples import examples
from tiny_models import skim_model
from tiny_tokenizers import word_piece

CPU = torch.device("cpu")


def test_random_samples_are_questions_with_contexts():
    batch = random_batch(3, 40, 60, seed=0, device=CPU)
    assert {value.shape for value in batch.inputs.values()} == {(3, 40)}
    assert batch.inputs["context_mask"].sum(-1).tolist() == [40 - 15] * 3
    assert batch.documents.tolist() == [0, 1, 2]
    again = random_batch(3, 40, 60, seed=0, device=CPU)
    assert torch.equal(batch.inputs["input_ids"], again.inputs["input_ids"])
    with pytest.raises(ConfigError, match="length is 15"):
        random_batch(1, 15, 60, 0, CPU)


def test_random_samples_fit_small_vocabularies():
    assert random_batch(4, 100, 60, 0, CPU).inputs["input_ids"].max() < 60


def test_blocks_of_random_samples_are_those_of_the_model():
    for alignment in ("sequence", "context"):
        model = skim_model("bert", alignment=alignment)
        workload = random_workload("tiny", model, 70, 0)
        (batch,) = workload.batches(2, CPU)
        layout = model.layout(batch.inputs["attention_mask"], batch.inputs["context_mask"])
        assert layout.droppable.sum(-1).tolist() == [workload.blocks] * 2
        assert not workload.has_answers


def test_windows_come_in_the_batches_of_inference():
    windows = make_windows(examples(7), word_piece(), WindowSettings(30, 4, 8))
    workload = Workload("data", windows)
    assert workload.has_answers
    batches = workload.batches(4, CPU)
    assert sorted(np.concatenate([batch.indices for batch in batches]).tolist()) == list(range(len(windows)))
    for batch in batches:
        assert len(batch.indices) <= 4
        expected = windows.windows[batch.indices, 0]
        same = batch.documents[:, None] == batch.documents[None]
        assert np.array_equal(same.numpy(), expected[:, None] == expected[None])
        for row, index in enumerate(batch.indices):
            ids = windows[int(index)]["input_ids"]
            assert batch.inputs["input_ids"][row, : len(ids)].tolist() == ids.tolist()
            assert int(batch.inputs["attention_mask"][row].sum()) == len(ids)
