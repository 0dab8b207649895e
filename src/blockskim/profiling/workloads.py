"""What a benchmark runs on: the windows of real data, or random samples of one length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from blockskim.data.collate import pad_windows
from blockskim.data.windows import WindowSet
from blockskim.errors import ConfigError
from blockskim.inference.runner import batches
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.profiling.contenders import Batch

# Which ids these are makes no difference to a random model.
START, SEPARATOR, FIRST_WORD = 1, 2, 3
QUESTION_TOKENS = 12


@dataclass(frozen=True, slots=True)
class Workload:
    """What a benchmark runs on.

    Attributes:
        name: for the record.
        windows: of a data file; None for random samples.
        blocks: context blocks of each random sample.
        length: tokens of each random sample.
        vocabulary: random tokens are below this.
        seed: of random samples.
    """

    name: str
    windows: WindowSet | None = None
    blocks: int = 0
    length: int = 0
    vocabulary: int = 0
    seed: int = 0

    @property
    def has_answers(self) -> bool:
        """Whether answers can be scored: the data tell some, or that there are none."""
        return self.windows is not None and any(example.annotated for example in self.windows.examples)

    def batches(self, batch_size: int, device: torch.device) -> list[Batch]:
        """The samples of the workload in batches of at most this size; random samples are one batch."""
        if self.windows is None:
            return [random_batch(batch_size, self.length, self.vocabulary, self.seed, device)]
        return window_batches(self.windows, batch_size, device)


def random_workload(name: str, model: BlockSkimForQuestionAnswering, length: int, seed: int) -> Workload:
    """Random samples of ``length`` tokens for a model.

    Raises:
        ConfigError: the length leaves no room for a context.
    """
    vocabulary = model.config.encoder_config.vocab_size
    inputs = random_batch(1, length, vocabulary, seed, torch.device("cpu")).inputs
    blocks = int(model.layout(inputs["attention_mask"], inputs["context_mask"]).droppable.sum())
    return Workload(f"{name}, {length} random tokens", None, blocks, length, vocabulary, seed)


def window_batches(windows: WindowSet, batch_size: int, device: torch.device) -> list[Batch]:
    """All windows, in the batches in which inference runs them: similar lengths and windows of an example together."""
    return [padded_batch(windows, indices, device) for indices in batches(windows, batch_size)]


def padded_batch(windows: WindowSet, indices: Sequence[int] | np.ndarray, device: torch.device) -> Batch:
    """Some windows as a batch."""
    items = [windows[int(index)] for index in indices]
    inputs = {name: value.to(device) for name, value in pad_windows(items, windows.template.pad_id).items()}
    examples = windows.windows[np.asarray(indices), 0]
    documents = torch.from_numpy(np.unique(examples, return_inverse=True)[1]).to(device)
    return Batch(inputs, documents, np.asarray(indices))


def random_batch(batch_size: int, length: int, vocabulary: int, seed: int, device: torch.device) -> Batch:
    """Random samples of one length: start token, 12 question tokens, separator, context, separator.

    Raises:
        ConfigError: the length leaves no room for a context.
    """
    first = QUESTION_TOKENS + 2
    if length < first + 2:
        raise ConfigError(f"length is {length}; a question with special tokens has {first + 1}, so take more")
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(FIRST_WORD, vocabulary, (batch_size, length), generator=generator)
    ids[:, 0] = START
    ids[:, first - 1] = ids[:, -1] = SEPARATOR
    context = torch.zeros_like(ids)
    context[:, first:-1] = 1
    types = torch.zeros_like(ids)
    types[:, first:] = 1
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "context_mask": context,
        "token_type_ids": types,
    }
    numbers = torch.arange(batch_size)
    placed = {name: value.to(device) for name, value in inputs.items()}
    return Batch(placed, numbers.to(device), numbers.numpy())
