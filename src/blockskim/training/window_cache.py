"""The windows that a run learns from, as files: made once, found again by what they are made of."""

import logging
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np

from blockskim.atomic import new_directory
from blockskim.data.example_files import ChosenExamples
from blockskim.data.examples import Example
from blockskim.data.other_contexts import other_contexts, with_other_context
from blockskim.data.tokens import FrozenTokenizer, tokenize
from blockskim.data.window_files import ABOUT, ENDS, LENGTHS, WINDOWS, StoredWindows, write_windows
from blockskim.data.windows import WindowSettings
from blockskim.errors import DataError
from blockskim.training.recipe import Recipe

logger = logging.getLogger(__name__)

_NAME = re.compile(r"\.?[0-9a-f]{32}(\..*)?")
"""Of a folder of windows, which is their key, and of one that is being written."""

OWN = {WINDOWS, ENDS, LENGTHS, ABOUT, "model"}
"""All that lies in such a folder; the last one is the folder of ``new_directory``."""

FOLDER = "windows"
"""Of a run's output: where windows lie unless another folder is named."""


CHUNK = 512
"""Questions that are tokenised together, to see whether they have tokens."""

UNNAMED = "examples"
"""What stands for the name of a file where examples were read from none."""


class TrainingExamples:
    """The examples that can be learned from, then those that the recipe makes of them; may be read several times.

    Attributes:
        sources: number of the former by the name of their file.
    """

    def __init__(self, examples: Sequence[Example], recipe: Recipe, tokenizer: FrozenTokenizer) -> None:
        """Look at all examples.

        A warning counts those of whose question the tokenizer leaves nothing; they are left out.

        Raises:
            DataError: none can be learned from.
        """
        usable, unread = [], 0
        self.sources: Counter[str] = Counter()
        asked = (
            (number, example.question.strip(), example.source)
            for number, example in enumerate(examples)
            if example.answers or not example.answerable
        )
        while chunk := list(islice(asked, CHUNK)):
            tokens = np.diff(tokenize(tokenizer, [question for _, question, _ in chunk]).bounds)
            for (number, _, source), size in zip(chunk, tokens.tolist(), strict=True):
                if size:
                    usable.append(number)
                    self.sources[source or UNNAMED] += 1
            unread += int((tokens == 0).sum())
        if unread:
            logger.warning(
                "%d of %d questions to learn from have no character that the tokenizer reads; they are left out",
                unread,
                unread + len(usable),
            )
        if not usable:
            raise DataError(
                f"none of {len(examples)} training examples has an answer in its context"
                + (" and a question that the tokenizer reads" if unread else "")
            )
        self._usable = ChosenExamples(examples, np.array(usable, dtype=np.int64))
        self._elsewhere = other_contexts(self._usable, recipe.elsewhere_share, recipe.seed)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._usable) + len(self._elsewhere)

    @property
    def made(self) -> int:
        """How many of them the recipe makes."""
        return len(self._elsewhere)

    def __iter__(self) -> Iterator[Example]:
        """All of them, in an order that is always the same."""
        yield from self._usable
        for asked, other in self._elsewhere:
            yield with_other_context(self._usable[asked], self._usable[other].context)


class WindowCache:
    """A folder in which windows of one run, or of several, are kept."""

    def __init__(self, folder: Path, is_shared: bool) -> None:
        """Keep windows in ``folder``; one that is not shared by other runs holds those of the last one alone."""
        self.folder = folder
        self.is_shared = is_shared

    def find_or_make(
        self,
        key: str,
        examples: TrainingExamples,
        tokenizer: FrozenTokenizer,
        settings: WindowSettings,
        progress: Callable[[int], None] | None = None,
    ) -> Path:
        """The folder of some examples' windows; they are made unless they are there.

        Args:
            key: of the other three, as ``windows_key`` gives it.
            examples: what to read.
            tokenizer: that reads them.
            settings: of the windows.
            progress: called with the number of examples that are tokenised, now and then.

        Raises:
            DataError: a question has no token, or something else lies in a folder of windows that is damaged.
            OSError: something can't be written; ``filename`` names it.
        """
        path = self.folder / key
        if path.exists():
            try:
                StoredWindows(path)
                return path
            except DataError as error:
                _remove(path)
                if path.exists():
                    other = next((file for file in path.rglob("*") if file.name not in OWN), path)
                    raise DataError(f"{error}, and {other} keeps it from being made anew; move that away") from error
                logger.warning("%s; tokenising again", error)
        if not self.is_shared:
            # Of other data, or half written by a run that was killed.
            self.remove()
        try:
            with new_directory(path) as part:
                write_windows(part, examples, tokenizer, settings, progress)
        except BaseException as error:
            if isinstance(error, OSError) and self.is_shared and path.exists():
                return path  # Another run was quicker.
            if not self.is_shared:
                self.remove()
            raise
        return path

    def remove(self) -> None:
        """Remove all windows, and the folder unless something else lies in it, which stays as it is."""
        with suppress(OSError):
            for path in list(self.folder.iterdir()):
                _remove(path)
            self.folder.rmdir()


def _remove(path: Path) -> None:
    """Remove a folder of windows, or what a killed run left of one; anything else is left alone."""
    named = _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    if named and {file.name for file in path.rglob("*")} <= OWN:
        shutil.rmtree(path, ignore_errors=True)
