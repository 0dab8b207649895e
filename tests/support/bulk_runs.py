"""Runs over files of rows with a backend that computes nothing: they need neither PyTorch nor a model."""

import functools
import json
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from blockskim.answering.model_choice import ModelChoice
from blockskim.data.tokens import FrozenTokenizer, PairTemplate
from blockskim.evidence.question_answerer import QuestionAnswerer
from blockskim.scaling import shard_worker
from blockskim.scaling.bulk import run_bulk
from blockskim.scaling.input_files import find_inputs
from blockskim.scaling.meter import MeteredBackend
from blockskim.scaling.plan import BulkPlan
from blockskim.scaling.rows import Columns
from hashing_backend import HashingBackend

TEXT = "The red kite nests in Wales. It eats worms, says the café in Cardiff! In 2024 there were 2,500 nests."


@functools.cache
def letters() -> FrozenTokenizer:
    """A tokenizer of letters. Don't change it."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz0123456789.,;:!?"]
    pieces = [*words, *(f"##{piece}" for piece in words[4:])]
    backend = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return FrozenTokenizer(
        backend,
        PairTemplate.from_json({"before": [2], "between": [3], "after": [3], "types": [0, 1], "pad_id": 0}),
    )


def hashing_answerer(**settings):
    """An answerer without a network, and its backend, which counts."""
    backend = MeteredBackend(HashingBackend(**settings))
    return QuestionAnswerer(backend, letters()), backend


@contextmanager
def without_model(make=hashing_answerer):
    """Have workers of this process answer without a network."""
    with mock.patch.object(shard_worker, "load_answerer", lambda *_: make()):
        yield


def model_folder(folder: Path) -> Path:
    """A directory that stands for a model."""
    path = folder / "model"
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text("{}")
    return path


def plan_for(folder: Path, *inputs: Path, **settings) -> BulkPlan:
    """A run over files into ``folder / "out"``; ``settings`` are of the plan or of its columns."""
    of_columns = {name: settings.pop(name) for name in tuple(settings) if name in Columns.__dataclass_fields__}
    return BulkPlan(
        **{
            "job": "answer",
            "files": tuple(find_inputs(inputs)),
            "output": folder / "out",
            "columns": Columns(**of_columns),
            "model": ModelChoice(name=str(model_folder(folder))),
            "shard_rows": 3,
            "options": {"max_seq_len": 60, "doc_stride": 10, "max_question_len": 20},
            **settings,
        }
    )


def run(plan: BulkPlan, **options):
    """Run without a model."""
    with without_model():
        return run_bulk(plan, **options)


def written(output: Path) -> list[dict]:
    """The rows of all shards of JSON lines, in the order of the shards."""
    shards = sorted(output.glob("part-*.jsonl"))
    return [json.loads(line) for path in shards for line in path.read_text(encoding="utf-8").split("\n") if line]


def rows_of(number: int) -> list[dict]:
    """Rows that differ."""
    return [
        {"id": row, "question": f"Where is nest {row}?", "context": f"{row} {TEXT[row % 40 :]}"}
        for row in range(number)
    ]


def json_lines(path: Path, rows) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def shards_of(output: Path) -> dict[str, bytes]:
    """The content of all shards by name."""
    return {path.name: path.read_bytes() for path in output.glob("part-*")}


def tables_of(folder: Path, *columns) -> list[Path]:
    """A Parquet file of rows for each column of Arrow, which is "k" in it."""
    import pyarrow
    from pyarrow import parquet

    paths = []
    for number, column in enumerate(columns):
        table = pyarrow.Table.from_pylist([{**row, "id": None} for row in rows_of(len(column))])
        paths.append(folder / f"{number}.parquet")
        parquet.write_table(table.append_column("k", column), paths[-1])
    return paths
