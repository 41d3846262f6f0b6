"""The failure page of `make report`: failed stages with their last output and their parameters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pipeline.artifacts.project import FAILURE, REPORTS, Project
from pipeline.atomic_io import write_text
from pipeline.params import Params
from pipeline.params.flatten import flatten_parameters
from pipeline.report.render_html import render_html
from pipeline.runtime.stage_status import StageStatus, list_stage_statuses
from pipeline.wording import join_words

TEMPLATE = "failure.html"

# The sections of params.yaml to show for failed stages that do not belong to a single run.
SECTIONS = {
    "prepare": ("data",),
    "compare": ("grid", "verdict"),
    "showcase": ("data", "report"),
    "ensemble": ("grid", "evaluation"),
    "report": ("report",),
    "sweep": ("grid",),
}


def render_failure_page(params: Params | None, report: Path | None = None, project: Project | None = None) -> Path:
    """Write `reports/failure.html`.

    Args:
        params: The parameters; None if params.yaml cannot be read.
        report: The report of the other runs, to which the page links; None if it was not written.
        project: The project or study; None for the current folder.

    Returns:
        The path of the page.

    Raises:
        PipelineError: A template is missing or invalid.
    """
    project = project or Project()
    failed = find_failures(params, project)
    running = [one.name for one in list_stage_statuses(project.root) if one.state == "running"]
    page = {
        "title": "The report could not be finished" if failed else "No failure is recorded",
        "sentence": _describe_failures([one.name for one in failed], project),
        "running": f"Running: {join_words(running)}." if running else "",
        "report": os.path.relpath(report, project.root / REPORTS) if report else "",
        "failures": [_describe_failure(one, params, project) for one in failed],
    }
    path = project.root / FAILURE
    write_text(path, render_html(TEMPLATE, page, project))
    return path


def find_failures(params: Params | None, project: Project) -> list[StageStatus]:
    """Find the stages that failed or were stopped in the last attempt, excluding runs that are not in the grid."""
    cells = {cell.name for cell in params.cells()} if params else None
    ended = [one for one in list_stage_statuses(project.root) if one.state != "running"]
    shown = [one for one in ended if not one.run or cells is None or one.run in cells]
    sweep = next((one for one in shown if one.stage == "sweep"), None)
    others = [one for one in shown if one is not sweep]
    if sweep is None:
        return others
    if sweep.state == "failed":  # the sweep failed before it started a run, so recorded run failures are older
        return [one for one in others if one.stage == "prepare"] or [sweep]
    return others or [sweep]  # the sweep was stopped, and its runs with it


def _describe_failures(names: list[str], project: Project) -> str:
    if not names:
        return f"No stage recorded a failure. To see why make report failed, run {project.shell_command('dvc repro')}"
    return f"Failed: {join_words([*names[:3], *(['others'] if len(names) > 3 else [])])}."


def _describe_failure(one: StageStatus, params: Params | None, project: Project) -> dict[str, object]:
    lines, parameters = "\n".join(one.lines), dict[str, Any]()
    if params and one.run:
        parameters = next(cell.model_dump(mode="json") for cell in params.cells() if cell.name == one.run)
    elif params:
        parameters = params.model_dump(mode="json", include=set(SECTIONS.get(one.stage, ())))
    again = project.make_command("report") if one.stage == "sweep" else project.shell_command(f"dvc repro {one.name}")
    return {
        "status": one,
        "lines": "" if lines == one.reason else lines,
        "command": again,
        "parameters": flatten_parameters(parameters),
    }
