"""Answers for every row of a Ray Dataset."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from blockskim.answering.model_choice import ModelChoice
from blockskim.checks import check_count, listing
from blockskim.errors import ConfigError, DataError
from blockskim.extras import load_ray
from blockskim.scaling.arrow_values import column_values
from blockskim.scaling.jobs import JOBS, Field, results_of
from blockskim.scaling.model_files import model_directory
from blockskim.scaling.plan import ERROR
from blockskim.scaling.processes import set_tokenizer_threads
from blockskim.scaling.ray_cluster import ModelParcel, join_cluster, share_cluster
from blockskim.scaling.rows import Row, column_text
from blockskim.scaling.shard_files import arrow_column
from blockskim.scaling.shard_worker import TRIAL, described, each_alone_if_need_be, load_answerer

if TYPE_CHECKING:
    from ray.data import Dataset


@dataclass(frozen=True, slots=True)
class DatasetTask:
    """What is done with the rows of a dataset.

    Attributes:
        job: by its name in ``JOBS``.
        question: asked of every row; None where rows bring their own.
        question_column: holds the question of a row.
        context_column: holds the text to read.
        options: of the job.
        model: which model runs.
    """

    job: str
    question: str | None
    question_column: str
    context_column: str
    options: Mapping[str, Any]
    model: ModelChoice

    @property
    def fields(self) -> tuple[Field, ...]:
        """The columns that are added."""
        return (*JOBS[self.job].fields(self.options), Field(ERROR, "text"))


def answer_dataset(
    dataset: "Dataset",
    *,
    question: str | None = None,
    question_column: str = "question",
    context_column: str = "context",
    model: ModelChoice | None = None,
    workers: int = 1,
    rows_at_once: int = 1000,
    **options: Any,
) -> "Dataset":
    """Answer the question of every row of a Ray Dataset from its text.

    Nothing runs before the result is consumed. A process that belongs to no cluster joins the one that Ray finds, or
    starts one on this machine.

    Args:
        dataset: rows with a text each, and a question unless there is one for all.
        question: asked of every row; None where rows bring their own.
        question_column: holds the question of a row.
        context_column: holds the text to read.
        model: which model runs, and on what; its ``threads`` are those of all actors together. None for the one that
            comes along. Its files are brought to the machines that lack them.
        workers: actors with a model each.
        rows_at_once: rows of a call; those of similar length run together.
        options: of ``QuestionAnswerer``'s call, such as ``top_k``, ``point`` or ``batch_size``.

    Returns:
        The dataset with more columns: ``answer``, ``score``, ``confidence``, ``start``, ``end``, or a list ``answers``
        of these for a ``top_k`` above 1; and ``error``, which says what is wrong with a row that has no answer. The
        values are those that ``blockskim bulk answer`` writes.

    Raises:
        ConfigError: a setting is impossible, or Ray is not installed.
        ModelError: the model can't be read.
    """
    workers = check_count("workers", workers)
    rows_at_once = check_count("rows_at_once", rows_at_once)
    if question is not None and not question.strip():
        raise ConfigError("the question is empty")
    ray = load_ray()
    choice = ModelChoice() if model is None else model
    task = DatasetTask("answer", question, question_column, context_column, options, choice)
    path = model_directory(choice.name)
    # What is lazy runs after this call, so the cluster stays joined until the process ends.
    join_cluster()
    share = share_cluster(ray, choice, workers)
    return dataset.map_batches(
        DatasetActor,
        fn_constructor_args=(task, ModelParcel.of(ray, path), share.threads),
        batch_size=rows_at_once,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(size=workers),
        **share.resources,
    )


class DatasetActor:
    """Adds columns to tables of rows, with one model."""

    def __init__(self, task: DatasetTask, model: ModelParcel, threads: int) -> None:
        """Load the model, and try it: impossible options are refused now, and not once for every row."""
        set_tokenizer_threads(threads)
        self._task = task
        self._open = ExitStack()
        directory = self._open.enter_context(model.directory())
        self._answerer, _ = load_answerer(replace(task.model, name=directory, threads=threads))
        self._call([TRIAL])

    def __call__(self, table: Any) -> Any:
        """A table of Arrow with more columns.

        Raises:
            ConfigError: it has a column already that is to be added.
        """
        fields = self._task.fields
        taken = [field.name for field in fields if field.name in table.column_names]
        if taken:
            raise ConfigError(
                f"the dataset has the columns {listing(taken)} already, which are added here; rename them"
            )
        asked = self._task.question_column if self._task.question is None else None
        names = [name for name in (asked, self._task.context_column) if name and name in table.column_names]
        columns = [column_values(table.column(name)) for name in names]
        rows = [self._row(dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]
        if not names:
            rows = [self._row({})] * table.num_rows
        values = self._values(rows)
        for field in fields:
            table = table.append_column(field.name, arrow_column([value.get(field.name) for value in values], field))
        return table

    def _row(self, record: Mapping[str, Any]) -> Row:
        task = self._task
        try:
            question = column_text(record, task.question_column) if task.question is None else task.question
            return Row(question, column_text(record, task.context_column), {}, "")
        except DataError as error:
            return Row("", "", {}, "", str(error))

    def _values(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """What is added to each row. An exception would end everything, so it becomes the error of its row.

        Raises:
            BlockSkimError: the model fails on every text.
        """
        found = iter(each_alone_if_need_be(self._call, [row for row in rows if not row.error]))
        results = [{ERROR: row.error} if row.error else next(found) for row in rows]
        return [{ERROR: described(one)} if isinstance(one, Exception) else one for one in results]

    def _call(self, rows: Sequence[Row]) -> list[dict[str, Any] | DataError]:
        return results_of(self._task.job, self._answerer, rows, self._task.options)[0]
