"""``blockskim calibrate-evidence``: scores of sentences that mean something, written into a copy of the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blockskim.cli import options
from blockskim.cli.calibrate_confidence import Elsewhere, Output
from blockskim.cli.data_files import warn_of_trained_on
from blockskim.cli.evidence_options import Skimming, loaded_answerer
from blockskim.cli.option_groups import Computing, Printing, Selection, takes_groups
from blockskim.cli.output import console, print_json
from blockskim.cli.progress import window_progress
from blockskim.cli.session import read_selected

if TYPE_CHECKING:
    from blockskim.evidence.calibrate import EvidenceFit

Data = Annotated[
    list[Path],
    typer.Option("--data", metavar="FILE", help="Data that was not trained on, with answers or supporting facts."),
]


@takes_groups
def calibrate_evidence(
    data: Data,
    output: Output,
    more: options.MoreFiles = None,
    elsewhere: Elsewhere = 0.0,
    selection: Selection = Selection(),
    skimming: Skimming = Skimming(),
    computing: Computing = Computing(),
    printing: Printing = Printing(),
) -> None:
    """Learn how likely a sentence is evidence, and from which score on it is taken for some.

    The copy of the model scores sentences for highlight and prune anew. Its threshold is the one with the best F1 of
    sentences on the data; at its points highlight-95 and highlight-98 95 and 98 % of the evidence of the data stay.
    """
    options.set_up(printing.quiet)
    options.check_new_output(output)
    examples = read_selected(data, more, selection)

    from blockskim.data.other_contexts import asked_elsewhere
    from blockskim.evidence.calibrate import calibrate_evidence as fit
    from blockskim.surgery.settings_copy import check_has_settings, copy_with_settings

    answerer = loaded_answerer(computing, skimming)
    check_has_settings(answerer.loaded)
    warn_of_trained_on(answerer.loaded.name, examples, selection.hold_out)
    asked = [*examples, *asked_elsewhere(examples, elsewhere)]
    with window_progress(printing.quiet, start=f"reading {len(asked):,} texts twice") as bar:
        fitted = fit(answerer.reader, asked, skimming.settings(), progress=bar.update)
    values = fitted.model.to_dict()
    copy_with_settings(answerer.loaded, output, lambda config: config["skim"].update(evidence=values))
    if printing.as_json:
        print_json({**fitted.summary(), "output": str(output)})
    elif not printing.quiet:
        _show(fitted, output)


def _show(fitted: "EvidenceFit", output: Path) -> None:
    out = console()
    out.print(f"{fitted.evidence:,} of {fitted.sentences:,} sentences are evidence")
    for name, kept in fitted.kept.items():
        out.print(f"{name}: keeps {fitted.recall[name]:.1%} of the evidence in {kept:.1%} of the text")
    out.print(f"written to {output}", markup=False)
