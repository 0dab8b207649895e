"""``blockskim prune``: texts cut to what matters for a question."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockskim.cli import options
from blockskim.cli.evidence_options import (
    File,
    More,
    Question,
    Reading,
    Wanted,
    check_asked,
    loaded_answerer,
    named_documents,
    share_line,
    total_length,
)
from blockskim.cli.option_groups import Computing, Printing, takes_groups
from blockskim.cli.output import console, print_json, printable
from blockskim.cli.progress import window_progress

if TYPE_CHECKING:
    from blockskim.evidence.prune import PrunedTexts

Gap = Annotated[str, typer.Option("--gap", metavar="TEXT", help="What stands where something was cut out.")]


@takes_groups
def prune(
    question: Question,
    more: More = None,
    file: File = None,
    wanted: Wanted = Wanted(),
    gap: Gap = " […] ",
    reading: Reading = Reading(),
    computing: Computing = Computing(),
    printing: Printing = Printing(),
) -> None:
    """Cut texts to what matters for a question, for a language model to read.

    Sentences stay as they are and in their order; a file without evidence goes entirely.
    """
    options.set_up(printing.quiet)
    check_asked(question, reading)
    documents = named_documents(file, more)

    from blockskim.answering.trace import skim_summary
    from blockskim.evidence.options import EvidenceOptions
    from blockskim.evidence.prune import prune as cut

    evidence = EvidenceOptions(**wanted.settings())
    with window_progress(printing.quiet) as bar:
        reader = loaded_answerer(computing, reading).reader
        results = cut(reader, question, documents, evidence, reading.settings(), gap, progress=bar.update)
    if printing.as_json:
        print_json([{**_record(result), "skim": skim_summary(result.traces)} for result in results])
        return
    out = console()
    for index, result in enumerate(results):
        if index:
            out.print()
        if len(results) > 1:
            out.print(f"# {printable(result.question)}\n", style="bold")
        for place, (name, text) in enumerate(result.documents.items()):
            if len(documents) > 1:
                out.print("\n" * bool(place) + f"{printable(name)}:", style="dim")
            out.print("\n".join(printable(line) for line in text.splitlines()))
    if not printing.quiet:
        for result in results:
            typer.echo(share_line(result.kept, total_length(documents)), err=True)


def _record(result: "PrunedTexts") -> dict[str, Any]:
    """A result as JSON has it; of each piece its places in the pruned text and in the original."""
    pieces = {name: [[piece.start, piece.end, piece.original] for piece in own] for name, own in result.pieces.items()}
    return {"question": result.question, "documents": result.documents, "kept": result.kept, "pieces": pieces}
