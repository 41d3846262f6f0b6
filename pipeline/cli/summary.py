"""The command `summary`, which prints the results of the grid and checks conditions on them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.cli.exit_codes import CONDITION_HOLDS
from pipeline.cli.json_output import json_option, print_json


@click.command()
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print the table of settings as CSV instead of Markdown.")
@click.option(
    "--figures",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write loss-curves.png and settings.png to this folder, and show them in the Markdown.",
)
@click.option(
    "--fail-on", "conditions", multiple=True, metavar="CONDITION", help="Exit with code 3 if this holds; see above."
)
def summary(as_json: bool, as_csv: bool, figures: Path | None, conditions: tuple[str, ...]) -> None:
    """Print the results of the grid: best setting, all settings, findings.

    The Markdown fits a comment on a pull request. If more seeds would settle a comparison, it ends with the time that
    they take on this machine. With --fail-on, the command checks a condition on the best setting,
    which is a name, an operator (== != < <= > >=) and a value. Repeat the option for several conditions:

    \b
      pipeline summary --fail-on 'best.verdict != learning' --fail-on 'best.gap > 0.1'

    \b
    Names: best.variant, best.run, best.verdict (text); best.learning_rate, best.seeds, best.val_loss,
    best.gap, best.mean_iou, best.test_loss, best.test_accuracy, best.test_mean_iou (means over seeds), each also with
    _sd (standard deviation); best.missed_classes; likewise all metrics of compare.rank_by, such as best.dice and
    best.test_dice. A condition on an undefined value counts as one that holds.
    """  # noqa: D301 - the backspace makes click keep the line breaks of a paragraph
    from pipeline.analysis.best_setting import describe_best
    from pipeline.artifacts.project import Project
    from pipeline.params.file import read_params
    from pipeline.summary.describe import describe_results, format_csv, format_markdown
    from pipeline.summary.gate import parse_condition
    from pipeline.summary.seed_times import describe_seed_times

    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    checks = [parse_condition(text) for text in conditions]
    params, project = read_params(), Project()
    title, comparison = params.report.title, project.comparison
    results = comparison.summary
    drawn: list[tuple[str, Path]] = []
    if figures:
        from pipeline.summary.figures import write_figures

        drawn = write_figures(comparison, figures)
    if as_json:
        print_json(describe_results(title, results, comparison.findings))
    elif as_csv:
        click.echo(format_csv(comparison), nl=False)
    else:
        times = describe_seed_times(results, params.compare.equivalence_margin, project)
        click.echo(format_markdown(title, results, comparison.findings, drawn, times))
    failures = [text for check in checks if (text := check.explain_failure(describe_best(results)))]
    for text in failures:
        click.echo(f"Failed: {text}", err=True)
    if failures:
        sys.exit(CONDITION_HOLDS)
