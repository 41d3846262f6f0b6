"""The failure page of `make report`: failed stages, their last lines and parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import runs
from pipeline.atomic_io import write_text
from pipeline.params import Params
from pipeline.project import inside, make
from pipeline.report.formatting import flatten_parameters, join_words
from pipeline.report.html import render_html
from pipeline.runtime.stage_status import StageStatus, list_stage_statuses

TEMPLATE = "failure.html"

# Sections of params.yaml that each stage of the whole grid depends on.
SECTIONS = {
    "prepare": ("data",),
    "compare": ("grid", "verdict"),
    "showcase": ("data", "report"),
    "report": ("report",),
    "sweep": ("grid",),
}


@dataclass(frozen=True)
class Failure:
    """A stage that failed or was killed."""

    name: str
    reason: str
    ended: str  # local time
    lines: str  # empty if there is nothing beside the reason
    command: str
    parameters: tuple[tuple[str, str], ...]  # none if params.yaml cannot be read


@dataclass(frozen=True)
class FailurePage:
    """All failures."""

    title: str
    sentence: str
    running: str  # sentence on running stages; empty if there are none
    report: str  # path of the learning report of the other runs; empty if there is none
    failures: tuple[Failure, ...]


def render_failure_page(params: Params | None, report: Path | None = None, root: Path = Path()) -> Path:
    """Write `reports/failure.html`.

    Args:
        params: None if the file cannot be read.
        report: The learning report of the other runs, if there is one.
        root: Folder of the project or study.

    Raises:
        PipelineError: A template is missing or invalid.
    """
    failures = tuple(_build_failure(one, params, root) for one in find_failures(params, root))
    running = [one.name for one in list_stage_statuses(root) if one.state == "running"]
    page = FailurePage(
        title="The report could not be finished" if failures else "No failure is recorded",
        sentence=_describe_failures([failure.name for failure in failures], root),
        running=f"Running: {join_words(running)}." if running else "",
        report=os.path.relpath(report, root / runs.REPORTS) if report else "",
        failures=failures,
    )
    write_text(root / runs.FAILURE, render_html(TEMPLATE, page, root))
    return root / runs.FAILURE


def find_failures(params: Params | None, root: Path) -> list[StageStatus]:
    """Find the stages that failed most recently; runs outside the grid are left out."""
    cells = {cell.name for cell in params.cells()} if params else None
    ended = [one for one in list_stage_statuses(root) if one.state != "running"]
    shown = [one for one in ended if not one.run or cells is None or one.run in cells]
    sweep = next((one for one in shown if one.stage == "sweep"), None)
    others = [one for one in shown if one is not sweep]
    if sweep is None:
        return others
    if sweep.state == "failed":  # before it started any run: failures of runs are older
        return [one for one in others if one.stage == "prepare"] or [sweep]
    return others or [sweep]  # it was stopped, and its runs too


def _describe_failures(names: list[str], root: Path) -> str:
    if not names:
        return f"No stage has recorded a failure. To see why make report failed: {inside(root, 'dvc repro')}"
    return f"Failed: {join_words([*names[:3], *(['others'] if len(names) > 3 else [])])}."


def _build_failure(one: StageStatus, params: Params | None, root: Path) -> Failure:
    lines = "\n".join(one.lines)
    again = make("report", root) if one.stage == "sweep" else inside(root, f"dvc repro {one.name}")
    return Failure(
        name=one.name,
        reason=one.reason,
        ended=one.time.strftime("%Y-%m-%d %H:%M"),
        lines="" if lines == one.reason else lines,
        command=again,
        parameters=tuple(flatten_parameters(_select_parameters(one, params))) if params else (),
    )


def _select_parameters(one: StageStatus, params: Params) -> Mapping[str, Any]:
    if one.run:
        return next(cell.model_dump(mode="json") for cell in params.cells() if cell.name == one.run)
    return params.model_dump(mode="json", include=set(SECTIONS.get(one.stage, ())))
