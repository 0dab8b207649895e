"""The folder in which what the documentation shows is run: small texts, data and models by the names that it uses."""

import gzip
import json
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTES = {
    "pump.md": "# The pump\n\nThe pump is a Kestrel 4. Its warranty is three years from the date of purchase.\n",
    "returns.md": "# Returns\n\nReturns are sent to the depot in Lille. They must arrive within thirty days.\n",
    "kites.md": "# Red kites\n\nThe red kite nests in Wales. It eats worms. In 2024 there were 2,500 nests.\n",
}
PLACES = ("wales", "a nest", "the red nest", "a red kite nest")
MODELS = ("my-encoder", "my-checkpoint", "my-model", "teacher")
DATA = ("train.json", "held-out.json", "dev.json")


def fill(folder: Path, text: str) -> None:
    """Put what a page names into a folder.

    Args:
        folder: an empty folder.
        text: of the page; models and data that it does not name are not made.
    """
    (folder / "examples").mkdir()
    for name in ("examples/demo.txt", "README.md"):
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "examples" / "notes", folder / "examples" / "notes")
    for name in ("notes", "reports"):
        (folder / name).mkdir()
    for name, content in NOTES.items():
        (folder / "notes" / name).write_text(content, encoding="utf-8")
        (folder / "reports" / name).with_suffix(".txt").write_text(content, encoding="utf-8")
    _rows(folder, text)
    if any(name in text for name in DATA):
        for number, name in enumerate(DATA):
            (folder / name).write_text(json.dumps(squad_data(8, number)), encoding="utf-8")
    if any(name in text for name in MODELS):
        _models(folder)


def squad_data(articles: int, seed: int) -> dict:
    """A file of questions about kites, each with a context of some sixty words."""
    data = []
    for article in range(articles):
        place = PLACES[(article + seed) % len(PLACES)]
        filler = " ".join(f"the {word} eat a worm in 2024 ." for word in ("kite", "red kite", "nest", "kite") * 2)
        context = f"{filler} the kite {article} is in {place} . {filler}"
        answers = [{"text": place, "answer_start": context.index(f"in {place} .") + 3}]
        qas = [
            {"id": f"{seed}-{article}-{number}", "question": f"where is the kite {article} ?", "answers": answers}
            for number in range(4)
        ]
        data.append({"title": f"Article {seed} {article}", "paragraphs": [{"context": context, "qas": qas}]})
    return {"version": "1.1", "data": data}


def _rows(folder: Path, text: str) -> None:
    """Files of rows for ``blockskim bulk``."""
    if "tickets.jsonl" in text:
        rows = [
            json.dumps({"ticket_id": number, "question": "Where does the kite nest?", "context": content})
            for number, content in enumerate(NOTES.values())
        ]
        (folder / "tickets.jsonl.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
        (folder / "sample.jsonl").write_text("\n".join(rows), encoding="utf-8")
    if "reviews.csv" in text:
        (folder / "reviews.csv").write_text("id,body\n1,The battery is good.\n2,The battery is flat.\n", "utf-8")
    if ".parquet" in text:
        import pyarrow
        from pyarrow import parquet

        (folder / "dump").mkdir()
        table = pyarrow.table({"q": ["Where does it nest?"] * 2, "text": ["It nests in Wales.", "Wales has nests."]})
        parquet.write_table(table, folder / "dump" / "a.parquet")


def _models(folder: Path) -> None:
    """An encoder, two QA checkpoints and a model that skims, all tiny and random."""
    from blockskim import BlockSkimForQuestionAnswering, SkimConfig
    from tiny_models import new_dense_model, spread_opinions
    from tiny_tokenizers import word_piece

    tokenizer = word_piece()
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 512, "num_hidden_layers": 6}
    checkpoint = new_dense_model("bert", initializer_range=0.05, **sizes)
    config = SkimConfig(predictor_width=8, thresholds=0.3, points={"fast": 0.6})
    model = BlockSkimForQuestionAnswering.from_backbone(checkpoint, config).eval()
    spread_opinions(model, "bert")
    made = zip(MODELS, (checkpoint.base_model, checkpoint, model, checkpoint), strict=True)
    for name, network in made:
        network.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
