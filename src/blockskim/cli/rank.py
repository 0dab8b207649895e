"""``blockskim rank``: texts by how likely they hold evidence for a question."""

from typing import Annotated

import typer

from blockskim.cli import options
from blockskim.cli.evidence_options import File, More, Question, Skimming, check_asked, loaded_answerer, named_documents
from blockskim.cli.option_groups import Computing, Printing, takes_groups
from blockskim.cli.output import console, print_json, printable
from blockskim.cli.progress import window_progress

TopK = Annotated[int | None, typer.Option("--top-k", "-k", min=1, metavar="N", help="The first N files only.")]


@takes_groups
def rank(
    question: Question,
    more: More = None,
    file: File = None,
    top_k: TopK = None,
    skimming: Skimming = Skimming(),
    computing: Computing = Computing(),
    printing: Printing = Printing(),
) -> None:
    """Order texts by how likely they hold evidence for a question, likeliest first."""
    options.set_up(printing.quiet)
    check_asked(question, skimming)
    documents = named_documents(file, more)

    from rich.text import Text

    from blockskim.answering.trace import skim_summary
    from blockskim.evidence.finding import find_evidence, queries_over
    from blockskim.evidence.highlight import rank as ranked

    with window_progress(printing.quiet) as bar:
        reader, queries = loaded_answerer(computing, skimming).reader, queries_over(question, documents)
        found = find_evidence(reader, queries, skimming.settings(), progress=bar.update)
    results = [(each, ranked(each, top_k)) for each in found]
    if printing.as_json:
        print_json(
            [
                {"question": each.question, "documents": order, "skim": skim_summary(each.traces)}
                for each, order in results
            ]
        )
        return
    out = console()
    for index, (each, order) in enumerate(results):
        if index:
            out.print()
        out.print(Text(printable(each.question), style="bold"))
        for document in order:
            line = Text("  ").append(f"{document['score']:.2f}", style="cyan")
            out.print(line.append(f"  {printable(str(document['document']))}"))
