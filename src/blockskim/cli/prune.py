"""``blockskim prune``: texts cut to what matters for a question."""

from typing import Annotated

import typer

from blockskim.cli import options
from blockskim.cli.evidence_options import (
    File,
    More,
    Question,
    Skimming,
    Wanted,
    check_asked,
    loaded_answerer,
    named_documents,
    share_line,
    total_length,
)
from blockskim.cli.option_groups import Computing, Printing, takes_groups
from blockskim.cli.output import console, print_json, print_text, printable
from blockskim.cli.progress import window_progress

Gap = Annotated[str, typer.Option("--gap", metavar="TEXT", help="What stands where something was cut out.")]


@takes_groups
def prune(
    question: Question,
    more: More = None,
    file: File = None,
    wanted: Wanted = Wanted(),
    gap: Gap = " […] ",
    skimming: Skimming = Skimming(),
    computing: Computing = Computing(),
    printing: Printing = Printing(),
) -> None:
    """Cut texts to what matters for a question, for a language model to read.

    Sentences stay as they are and in their order; a file without evidence goes entirely.
    """
    options.set_up(printing.quiet)
    check_asked(question, skimming)
    documents = named_documents(file, more)

    from blockskim.evidence.finding import queries_over
    from blockskim.evidence.options import EvidenceOptions
    from blockskim.evidence.prune import prune as cut

    evidence = EvidenceOptions(**wanted.settings())
    with window_progress(printing.quiet) as bar:
        reader, queries = loaded_answerer(computing, skimming).reader, queries_over(question, documents)
        results = cut(reader, queries, evidence, skimming.settings(), gap, progress=bar.update)
    if printing.as_json:
        print_json([result.values() for result in results])
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
            print_text(text)
    if not printing.quiet:
        for result in results:
            typer.echo(share_line(result.kept, total_length(documents)), err=True)
