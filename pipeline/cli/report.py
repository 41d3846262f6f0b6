"""The commands `report`, which renders the learning report, and `failure`, which renders a page on failed stages."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from pipeline.cli.exit_codes import CONDITION_HOLDS
from pipeline.cli.json_output import json_option, print_json
from pipeline.errors import PipelineError
from pipeline.runtime.shutdown import check_signals, defer_signals


@click.command()
@click.option("--runs", "selection", metavar="SELECTION", help="The runs to show, see above.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@click.option("--open", "show", is_flag=True, help="Show the report in the browser.")
@click.option("--provenance", is_flag=True, help="Add the date, durations, git commit, and a link to MLflow.")
@click.option("--against", metavar="GRID", help="Show what changed since another grid, see above.")
@click.option("--fail-on-regression", is_flag=True, help="With --against: exit with code 3 if a setting became worse.")
@json_option
def report(
    selection: str | None,
    out: Path | None,
    show: bool,
    provenance: bool,
    against: str | None,
    fail_on_regression: bool,
    as_json: bool,
) -> None:
    """Render the learning report.

    Without options, this is the stage that writes reports/learning-report.html. With --runs, the report shows only
    the selected runs and is written to another file in reports/. SELECTION is one of

    \b
      best                            the best run: the median run of the best setting
      best:3                          the median runs of the three best settings
      all                             every run
      unet-0.004-0,lite0-*            comma-separated names, with the wildcards * and ?
      "variant == 'unet' and learning_rate <= 1e-3"
                                      a filter in the syntax of pandas.DataFrame.query, with and, or, not, in
      mlflow:latest                   the run in MLflow (at tracking.uri) that started last
      mlflow:ID,ID                    runs in MLflow by their ids
      "mlflow:metrics.val_loss_best < 0.4"
                                      an MLflow search filter; the newest run per author and run name

    A setting is a variant at a learning rate. The best setting has the best mean over its seeds of compare.rank_by,
    which is the validation loss by default, and its median run is the seed with the median value.

    \b
    Columns of a filter are those of comparison/runs.csv: run, variant, status, verdict (text in quotes);
    learning_rate, seed, epochs, best_epoch, train_loss, val_loss, gap, val_mean_iou and others (numbers).

    If several users have runs in MLflow, a report from MLflow also ranks their results.

    With --against, a page shows what changed since another grid: settings paired by seed, verdicts, ranks,
    parameters, and the masks that changed most. GRID is a git revision (such as main or HEAD~1, whose results are in
    DVC's cache or remote), the folder of a project or study, or an MLflow search as above. With --fail-on-regression,
    the exit code is 3 if a setting became worse in compare.rank_by by more than chance explains, over its seeds, or is
    no longer ranked, for example because runs diverged.
    """  # noqa: D301 - the backspace makes click keep the line breaks of a paragraph
    if against is not None:
        if selection or provenance:
            raise click.UsageError("--against excludes --runs and --provenance.")
        _report_changes(against, out, show, fail_on_regression, as_json)
        return
    if fail_on_regression:
        raise click.UsageError("--fail-on-regression requires --against.")
    from pipeline.artifacts.project import FAILURE, Project
    from pipeline.params.file import read_params
    from pipeline.report.waiting_page import link_to_report
    from pipeline.report.write_report import write_report
    from pipeline.runtime.stage_status import record_stage

    is_stage = not (selection or out or show or provenance)
    with record_stage("report") if is_stage else contextlib.nullcontext():
        source, _, query = (selection or "").partition(":")
        if source.strip().lower() == "mlflow":
            from pipeline.mlflow_report.render import render_mlflow_report

            page = render_mlflow_report(read_params(), query, out, provenance=provenance)
        else:
            page = write_report(read_params(), selection, out, provenance=provenance)
        if as_json:
            print_json({"path": page.path, "notices": page.notices, "faults": page.faults})
        else:
            click.echo(page.path)
        for notice in page.notices:
            click.echo(f"Notice: {notice}", err=True)
        if show:
            _open_in_browser(page.path)
        if page.faults:
            incomplete = "\n".join(f"{notice.title}. {notice.text}" for notice in page.faults)
            raise PipelineError(f"The report was written, but these sections are incomplete:\n{incomplete}")
        if is_stage:
            FAILURE.unlink(missing_ok=True)
            link_to_report(Project())
    if is_stage:
        from pipeline.tracking.sync import sync_after_stage, sync_report

        defer_signals()
        sync_after_stage(sync_report, read_params())
        check_signals()


def _report_changes(against: str, out: Path | None, show: bool, fail_on_regression: bool, as_json: bool) -> None:
    from pipeline.artifacts.project import Project
    from pipeline.change_report.page import write_change_report
    from pipeline.change_report.reference import open_reference
    from pipeline.params.file import read_params

    params, project = read_params(), Project()
    page = write_change_report(open_reference(against, params, project), params, project, out)
    print_json(page) if as_json else click.echo(page.path)
    for notice in page.notices:
        click.echo(f"Notice: {notice}", err=True)
    if show:
        _open_in_browser(page.path)
    if fail_on_regression and page.obstacle:
        raise PipelineError(f"--fail-on-regression: {page.obstacle}, so the grids cannot be compared.")
    if fail_on_regression and page.regressions:
        for regression in page.regressions:
            click.echo(f"Failed: {regression}", err=True)
        sys.exit(CONDITION_HOLDS)


def _open_in_browser(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.absolute().as_uri()):
        raise PipelineError(f"No browser found to show {path}; copy the file to a machine with one.")


@click.command()
def failure() -> None:
    """Show what failed in the last `make report`.

    Renders reports/failure.html with the failed stages, their last output, parameters and commands. If only runs
    failed, a learning report on the other runs is rendered too.

    If another command is still running and nothing has failed, no page is written.
    """
    from pipeline.artifacts.project import Project
    from pipeline.compare.compare_runs import compare as compare_stage
    from pipeline.params.file import read_params
    from pipeline.report.failure import find_failures, render_failure_page
    from pipeline.report.write_report import write_report
    from pipeline.runtime.stage_status import list_stage_statuses

    found = page = None
    with contextlib.suppress(PipelineError):  # the failure page reports these errors
        found = read_params()
        lost = find_failures(found, Project())
        if lost and all(one.run for one in lost):
            compare_stage(found, lost=lost)
            page = write_report(found).path
    running = [one.name for one in list_stage_statuses() if one.state == "running"]
    if running and not find_failures(found, Project()):
        raise PipelineError(f"Nothing has failed so far; running: {', '.join(running)}.")
    click.echo(render_failure_page(found, page))
