"""Windows in files, each read when it is asked for, so that there may be more of them than memory holds.

A folder holds them: ``windows.bin`` has one record of 32-bit numbers behind the other, ``ends.npy`` says where each
ends, ``lengths.npy`` how many tokens it has, and ``windows.json`` what they were made of. Nothing is memory-mapped:
mapped pages count as a process's memory, and in random order all of them would soon be.
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from blockskim.data.examples import Example
from blockskim.data.tokens import FrozenTokenizer, PairTemplate
from blockskim.data.windows import WindowSet, WindowSettings, make_windows
from blockskim.errors import DataError, ModelError

VERSION = 1
"""Of the layout of the files."""

WINDOWS, ENDS, LENGTHS, ABOUT = "windows.bin", "ends.npy", "lengths.npy", "windows.json"

CHUNK_EXAMPLES = 512
CHUNK_CHARACTERS = 2_000_000
"""Examples that are tokenised together: at most so many, and none more once their contexts have so many characters."""

_HEAD = 6
"""Numbers that a record begins with: where the context begins, its tokens, how many spans of answers and of evidence
there are, and the target's first and last token. The token ids follow, then the spans."""


class StoredWindows(Sequence[dict[str, Any]]):
    """Windows in the files of a folder; an item is what ``WindowSet`` gives for it.

    Attributes:
        lengths: tokens of each window. Shape: (windows,)
        template: the special tokens around question and context.
        num_examples: of how many examples they are.
        questions_cut: how many questions of these lose their end; 0 in files that don't tell.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder that ``write_windows`` wrote.

        Raises:
            DataError: it is not there, or not as it was written.
        """
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            self._ends: NDArray[np.int64] = np.load(folder / ENDS, allow_pickle=False)
            self.lengths: NDArray[np.int32] = np.load(folder / LENGTHS, allow_pickle=False)
            size = (folder / WINDOWS).stat().st_size
            self.template = PairTemplate.from_json(about["template"])
            self.num_examples = int(about["examples"])
            # Earlier releases did not count them.
            self.questions_cut = int(about.get("questions_cut", 0))
            whole = (about["version"], about["windows"], size) == (VERSION, len(self.lengths), 4 * int(self._ends[-1]))
        except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, ModelError) as error:
            raise DataError(f"{folder} can't be read as windows: {error}") from error
        if not whole or len(self._ends) != len(self.lengths) + 1:
            raise DataError(f"{folder} is not as it was written")
        self._path = folder / WINDOWS

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        """Read one window."""
        number = range(len(self))[index]
        first, end = int(self._ends[number]), int(self._ends[number + 1])
        record = np.fromfile(self._path, dtype=np.int32, count=end - first, offset=4 * first).astype(np.int64)
        length = int(self.lengths[number])
        start, tokens, answers, evidence = record[:4].tolist()
        context_mask = np.zeros(length, dtype=np.int64)
        context_mask[start : start + tokens] = 1
        spans = record[_HEAD + length :].reshape(answers + evidence, 2)
        item = {"input_ids": record[_HEAD : _HEAD + length], "context_mask": context_mask, "index": number}
        if self.template.types is not None:
            types = np.full(length, self.template.types[1], dtype=np.int64)
            types[:start] = self.template.types[0]
            item["token_type_ids"] = types
        return {**item, "answer_spans": spans[:answers], "evidence_spans": spans[answers:], "target": record[4:_HEAD]}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read all windows in order."""
        return (self[index] for index in range(len(self)))


def write_windows(
    folder: Path,
    examples: Iterable[Example],
    tokenizer: FrozenTokenizer,
    settings: WindowSettings,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Tokenise examples, some at a time, and write their windows into the files of a folder.

    Args:
        folder: an empty one.
        examples: are read once.
        tokenizer: that reads them.
        settings: of the windows.
        progress: called with the number of examples so far, now and then.

    Raises:
        ConfigError: the settings leave no room.
        DataError: a question has no token.
        OSError: something can't be written.
    """
    ends, lengths, count, cut = array("q", [0]), array("i"), 0, 0
    settings.check(tokenizer.template.special_tokens)
    with (folder / WINDOWS).open("wb") as file:
        for chunk in _chunks(examples):
            windows = make_windows(chunk, tokenizer, settings, warn=False)
            _write_chunk(file, windows, ends, lengths)
            count += len(chunk)
            cut += windows.questions_cut
            if progress is not None:
                progress(count)
    np.save(folder / ENDS, np.array(ends, dtype=np.int64))
    np.save(folder / LENGTHS, np.array(lengths, dtype=np.int32))
    template = tokenizer.template.to_json()
    about = {"version": VERSION, "examples": count, "windows": len(lengths), "questions_cut": cut, "template": template}
    (folder / ABOUT).write_text(json.dumps(about) + "\n", encoding="utf-8")


def windows_key(examples: Iterable[Example], tokenizer: FrozenTokenizer, settings: WindowSettings) -> str:
    """A digest of all that windows depend on: examples, whatever their files are called, tokenizer and settings."""
    digest = hashlib.sha256(repr((VERSION, tokenizer.template, settings)).encode())
    digest.update(tokenizer.definition().encode())
    for example in examples:
        digest.update(repr(replace(example, source="")).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


def _chunks(examples: Iterable[Example]) -> Iterator[list[Example]]:
    left = iter(examples)
    while chunk := list(islice(left, 1)):
        size = len(chunk[0].context)
        while size < CHUNK_CHARACTERS and len(chunk) < CHUNK_EXAMPLES and (example := next(left, None)) is not None:
            chunk.append(example)
            size += len(example.context)
        yield chunk


def _write_chunk(file: BinaryIO, windows: WindowSet, ends: "array[int]", lengths: "array[int]") -> None:
    for index, item in enumerate(windows):
        spans = np.concatenate([item["answer_spans"], item["evidence_spans"]]).reshape(-1)
        counts = len(item["answer_spans"]), len(item["evidence_spans"])
        head = [windows.context_start(index), int(item["context_mask"].sum()), *counts, *item["target"].tolist()]
        record = np.concatenate([head, item["input_ids"], spans]).astype(np.int32)
        file.write(record.tobytes())
        ends.append(ends[-1] + len(record))
        lengths.append(len(item["input_ids"]))
