"""What a run learns from and is measured by, made ready by its first process."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from blockskim.data.examples import Example
from blockskim.data.splitting import sample_examples
from blockskim.data.tokens import FrozenTokenizer
from blockskim.data.window_files import StoredWindows, windows_key
from blockskim.data.windows import STAND_IN, WindowSet, make_windows
from blockskim.model.data_record import DataRecord
from blockskim.model.modeling import BlockSkimForQuestionAnswering
from blockskim.training.callbacks import RunLines, steps_bar
from blockskim.training.recipe import Recipe
from blockskim.training.resume import check_same_inputs, input_digests
from blockskim.training.window_cache import UNNAMED, TrainingExamples, WindowCache

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunInputs:
    """What all processes of a run are told.

    Attributes:
        windows: the folder of the windows to learn from.
        development: the examples to measure by.
        digests: what ``resume.input_digests`` says of the run.
        data: the same examples, counted by file.
    """

    windows: Path
    development: list[Example]
    digests: dict[str, str | int | None]
    data: DataRecord


@dataclass(frozen=True, slots=True)
class InputMaker:
    """Makes examples ready.

    Attributes:
        cache: where windows go.
        tokenizer: that reads them.
        recipe: of the run.
        console: where to draw progress; None for nowhere.
        lines: where to tell of it; None for nowhere.
    """

    cache: WindowCache
    tokenizer: FrozenTokenizer
    recipe: Recipe
    console: Console | None
    lines: RunLines | None

    def make(
        self,
        train: Sequence[Example],
        dev: Sequence[Example],
        model: BlockSkimForQuestionAnswering,
        begun: Path | None,
        processes: int,
    ) -> RunInputs:
        """Tokenise what is learned from, and choose what is measured by.

        Warnings count the questions that lose their end, and those to learn from of which the tokenizer leaves nothing:
        they are left out. Such a one to measure by is read as "?", as when answering.

        Args:
            train: what to learn from.
            dev: what to choose the best checkpoint by, or to choose that from.
            model: that is trained, before the first step.
            begun: the folder of the run that goes on; None for a new one.
            processes: how many train.

        Raises:
            DataError: nothing can be learned from.
            ConfigError: a run would go on with other data or another base.
            OSError: windows can't be written; ``filename`` names them.
        """
        recipe, tokenizer = self.recipe, self.tokenizer
        examples = TrainingExamples(train, recipe, tokenizer)
        development = sample_examples(dev, recipe.eval_examples or None, recipe.seed)
        dev_windows = None
        if development:
            dev_windows = make_windows(development, tokenizer, recipe.windows, stand_in=STAND_IN, warn=False)
        key = windows_key(examples, tokenizer, recipe.windows)
        digests = input_digests(model, key, dev_windows, processes)
        if begun is not None:
            check_same_inputs(begun, digests)
        with self._progress(len(examples)) as progress:
            folder = self.cache.find_or_make(key, examples, tokenizer, recipe.windows, progress)
        _warn_of_cut_questions(recipe.windows.max_question_length, StoredWindows(folder), dev_windows)
        # Of a file of which no example was drawn some were held out all the same.
        measured = Counter({example.source or UNNAMED: 0 for example in dev})
        measured.update(example.source or UNNAMED for example in development)
        data = DataRecord(dict(examples.sources), examples.made, dict(measured))
        return RunInputs(folder, development, digests, data)

    @contextmanager
    def _progress(self, total: int) -> Iterator[Callable[[int], None] | None]:
        """A function that tells how many examples are tokenised."""
        if self.lines is not None:
            self.lines.begin("examples tokenised", total)
            yield self.lines.reach
        elif self.console is not None:
            with steps_bar(self.console, transient=True) as bar:
                task = bar.add_task("tokenising", total=total)
                yield lambda done: bar.update(task, completed=done)
        else:
            yield None


def _warn_of_cut_questions(limit: int, train: StoredWindows, dev: WindowSet | None) -> None:
    """Count the questions that are longer than a window takes, where there are any."""
    counts = [f"{train.questions_cut} of {train.num_examples} to learn from"]
    if dev is not None:
        counts.append(f"{dev.questions_cut} of {len(dev.examples)} to measure by")
    if train.questions_cut or (dev is not None and dev.questions_cut):
        logger.warning("questions longer than %d tokens: %s; the rest of them is not read", limit, ", ".join(counts))
