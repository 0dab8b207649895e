"""``blockskim answer``: questions and a text in, answers out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockskim.atomic import write_whole
from blockskim.cli import options
from blockskim.cli.documents import read_documents
from blockskim.cli.evidence_options import File, More
from blockskim.cli.option_groups import Computing, Printing, Windowing, takes_groups
from blockskim.cli.output import console, inline, print_json, printable, printing_and_writing
from blockskim.cli.progress import window_progress
from blockskim.cli.sentences import sentence_around
from blockskim.cli.session import load_answerer

if TYPE_CHECKING:
    from rich.text import Text

    from blockskim.answering.answerer import SearchResult


Question = Annotated[
    list[str], typer.Option("--question", "-q", metavar="QUESTION", help="What to ask; may be repeated.")
]
Context = Annotated[str | None, typer.Option("--context", "-c", metavar="TEXT", help="The text to read.")]
NoAnswer = Annotated[bool, typer.Option("--no-answer", help='"No answer" may be the answer, if that is likely.')]
TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, metavar="N", help="Answers to each question.")]
Explain = Annotated[
    Path | None,
    typer.Option(
        "--explain", parser=options.output_path, metavar="FILE.html", help="Write a page that shows what was skipped."
    ),
]


@takes_groups
def answer(
    question: Question,
    more: More = None,
    context: Context = None,
    file: File = None,
    top_k: TopK = 1,
    no_answer: NoAnswer = False,
    no_answer_threshold: options.NoAnswerThreshold = None,
    max_cost: options.MaxCost = None,
    threshold: options.Threshold = None,
    point: options.Point = None,
    dense: options.Dense = False,
    explain: Explain = None,
    max_answer_len: options.MaxAnswerLength = 15,
    windowing: Windowing = Windowing(),
    computing: Computing = Computing(),
    backend: options.BackendName = options.Backend.AUTO,
    printing: Printing = Printing(),
) -> None:
    """Answer questions from texts.

    Of several files the best answers over all of them are given, each with its file. Offsets count characters.
    """
    options.set_up(printing.quiet)
    options.check_one_way(dense, threshold, point)
    options.check_writable(explain, "--explain")
    options.check_not_lost(explain, map(Path, [*(file or []), *(more or [])]), "--explain", "a text that is read")
    for text in question:
        if not text.strip():
            raise typer.BadParameter("the question is empty", param_hint="--question")
    documents = _documents(context, [*(file or []), *(more or [])])

    answerer = load_answerer(computing, backend, windowing.batch_size, point)
    with window_progress(printing.quiet) as bar:
        results = answerer.search(
            question,
            documents,
            top_k=top_k,
            handle_impossible_answer=no_answer or no_answer_threshold is not None,
            no_answer_threshold=no_answer_threshold,
            max_answer_len=max_answer_len,
            threshold=threshold,
            dense=dense,
            max_cost=max_cost,
            progress=bar.update,
            **windowing.call(),
        )
    with printing_and_writing(explain, lambda path: _write_page(path, results)):
        if printing.as_json:
            print_json([_result(result) for result in results])
        else:
            _show(results, documents, top_k > 1)


def _documents(context: str | None, files: list[str]) -> dict[str, str]:
    """The texts by name, "" for one that has none."""
    if context is not None:
        if files:
            raise typer.BadParameter("give the text by -c or in files, not by both")
        if not context.strip():
            raise typer.BadParameter("the text is empty", param_hint="--context")
        return {"": context}
    if not files:
        raise typer.BadParameter("there is nothing to read; give a text by -c, files, or - for standard input")
    return read_documents(files)


def _write_page(path: Path, results: "Sequence[SearchResult]") -> None:
    """The page that shows what was read and what was skipped."""
    from blockskim.answering.explain_page import to_html

    passages = [trace.passage() for result in results for trace in result.traces]
    write_whole(path, to_html(passages, "; ".join(result.question for result in results)))


def _result(result: "SearchResult") -> dict[str, Any]:
    """What was found of a question, as JSON has it."""
    from blockskim.answering.trace import skim_summary

    return {
        "question": result.question,
        "answers": [_record(found) for found in result.answers],
        "skim": skim_summary(result.traces),
    }


def _record(found: Any) -> dict[str, Any]:
    record = {name: found[name] for name in ("answer", "score", "start", "end")}
    if "confidence" in found:
        record["confidence"] = found["confidence"]
    return record | {"document": found.get("document") or None}


def _show(results: "Sequence[SearchResult]", documents: dict[str, str], numbered: bool) -> None:
    """Answers for people: the answer, how sure, where, its sentence; then what was skipped."""
    from rich.text import Text

    from blockskim.answering.explain_page import cost_line
    from blockskim.answering.trace import skim_summary

    out = console()
    mark = "" if out.is_terminal and not out.no_color else "**"
    for index, result in enumerate(results):
        if index:
            out.print()
        out.print(Text(printable(result.question), style="bold"))
        for number, found in enumerate(result.answers, start=1):
            line = Text(f"  {number}. " if numbered else "  ")
            line.append(printable(found["answer"]) or "no answer", style="bold green" if found["answer"] else "bold")
            measure = "confidence" if "confidence" in found else "score"
            line.append(f"  {measure} {found.get('confidence', found['score']):.2f}", style="cyan")
            if found.get("document"):
                line.append(f"  {printable(found['document'])}", style="dim")
            out.print(line)
            if "document" in found:
                out.print(_sentence(documents[found["document"]], found, mark, "     " if numbered else "  "))
        if not result.answers:
            out.print(Text("  no answer found"))
        summary = skim_summary(result.traces)
        cost = cost_line(
            summary["blocks"],
            summary["kept_by_layer"][-1],
            summary["flops"],
            summary["dense_flops"],
            summary["seconds"],
        )
        out.print(Text(f"  {cost}", style="dim"))


def _sentence(text: str, found: Any, mark: str, indent: str) -> "Text":
    """The sentence of an answer, with the answer marked in it."""
    from rich.text import Text

    left, right = sentence_around(text, found["start"], found["end"])
    # The blanks around the answer are part of the sentence; printable would take them away.
    sentence = Text(indent, style="")
    sentence.append(inline(left))
    sentence.append(f"{mark}{printable(found['answer'])}{mark}", style="bold underline")
    sentence.append(inline(right).rstrip())
    return sentence
