"""``blockskim highlight``: the sentences of texts that matter for a question."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockskim.atomic import write_whole
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
from blockskim.cli.output import console, inline, print_json, printable, printing_and_writing
from blockskim.cli.progress import window_progress

if TYPE_CHECKING:
    from rich.text import Text

    from blockskim.evidence.highlight import Highlights

InOrder = Annotated[bool, typer.Option("--in-order", help="As they stand in the files, and not best first.")]
Explain = Annotated[
    Path | None,
    typer.Option(
        "--explain", parser=options.output_path, metavar="FILE.html", help="Write a page with the sentences marked."
    ),
]


@takes_groups
def highlight(
    question: Question,
    more: More = None,
    file: File = None,
    wanted: Wanted = Wanted(),
    in_order: InOrder = False,
    explain: Explain = None,
    max_answer_len: options.MaxAnswerLength = 15,
    skimming: Skimming = Skimming(),
    computing: Computing = Computing(),
    printing: Printing = Printing(),
) -> None:
    """Show the sentences that matter for a question, word for word.

    Each comes with its file, its place in it, a score, and the answer in it if there is one. Offsets count characters.
    """
    options.set_up(printing.quiet)
    check_asked(question, skimming)
    options.check_writable(explain, "--explain")
    options.check_not_lost(explain, map(Path, [*(file or []), *(more or [])]), "--explain", "a text that is read")
    documents = named_documents(file, more)

    from dataclasses import replace

    from blockskim.evidence.finding import queries_over
    from blockskim.evidence.highlight import highlight as find
    from blockskim.evidence.options import EvidenceOptions

    evidence = EvidenceOptions(**wanted.settings(), order="text" if in_order else "score")
    how = replace(skimming.settings(), max_answer_len=max_answer_len)
    with window_progress(printing.quiet) as bar:
        reader, queries = loaded_answerer(computing, skimming).reader, queries_over(question, documents)
        results = find(reader, queries, evidence, how, progress=bar.update)
    with printing_and_writing(explain, lambda path: _write_page(path, results)):
        if printing.as_json:
            print_json([result.values() for result in results])
        else:
            _show(results, total_length(documents))


def _write_page(path: Path, results: "Sequence[Highlights]") -> None:
    """The page that shows the texts with the sentences marked, and what was skipped."""
    from blockskim.answering.explain_page import to_html

    passages = [trace.passage() for result in results for trace in result.traces]
    write_whole(path, to_html(passages, "; ".join(result.question for result in results), marked="evidence"))


def _show(results: "Sequence[Highlights]", characters: int) -> None:
    """Sentences for people, each behind its score, file, and role if it is no evidence; then how much they are."""
    from rich.text import Text

    out = console()
    mark = "" if out.is_terminal and not out.no_color else "**"
    for index, result in enumerate(results):
        if index:
            out.print()
        out.print(Text(printable(result.question), style="bold"))
        for sentence in result.sentences:
            line = Text("  ").append(f"{sentence['score']:.2f}", style="cyan")
            line.append(f"  {printable(str(sentence['document']))}", style="dim")
            if sentence["role"] != "evidence":
                line.append(f"  ({sentence['role']})", style="dim")
            out.print(line)
            out.print(_sentence(sentence, mark))
        if not result.sentences:
            out.print(Text("  nothing found"))
        out.print(Text(f"  {share_line(result.kept, characters)}", style="dim"))


def _sentence(sentence: Any, mark: str) -> "Text":
    """A sentence with the answer marked in it."""
    from rich.text import Text

    shown, text, answer = Text("  "), sentence["text"], sentence["answer"]
    if answer is None:
        return shown.append(printable(text))
    start, end = answer["start"] - sentence["start"], answer["end"] - sentence["start"]
    shown.append(inline(text[:start]))
    shown.append(f"{mark}{printable(text[start:end])}{mark}", style="bold underline")
    return shown.append(inline(text[end:]).rstrip())
