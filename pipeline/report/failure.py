"""The page that stands where `make report` could not end: what failed, its last lines and its parameters."""

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
from pipeline.report import wording
from pipeline.report.html import render
from pipeline.runtime.stage_status import StageStatus, list_stage_statuses

TEMPLATE = "failure.html"

# The sections of params.yaml that a stage of the whole grid reads.
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
    ended: str  # when, in this machine's time
    lines: str  # empty where it said nothing but the reason
    command: str
    parameters: tuple[tuple[str, str], ...]  # none where params.yaml cannot be read


@dataclass(frozen=True)
class FailurePage:
    """All that failed."""

    title: str
    sentence: str
    under_way: str  # stages that work right now; empty where there is none
    report: str  # address of the learning report of the runs that are there; empty where there is none
    failures: tuple[Failure, ...]


def render_failure(params: Params | None, report: Path | None = None, root: Path = Path()) -> Path:
    """Write `reports/failure.html`.

    Args:
        params: None where the file cannot be read.
        report: the learning report, where it could be made of what is there.
        root: the project's folder, or a study's.

    Raises:
        PipelineError: A template is missing or wrong.
    """
    failures = tuple(_failure(one, params, root) for one in failed(params, root))
    under_way = [one.name for one in list_stage_statuses(root) if one.state == "running"]
    page = FailurePage(
        title="The report could not be finished" if failures else "Nothing is known to have failed",
        sentence=_sentence([failure.name for failure in failures], root),
        under_way=f"Under way: {wording.listing(under_way)}." if under_way else "",
        report=os.path.relpath(report, root / runs.REPORTS) if report else "",
        failures=failures,
    )
    write_text(root / runs.FAILURE, render(TEMPLATE, page, root))
    return root / runs.FAILURE


def failed(params: Params | None, root: Path) -> list[StageStatus]:
    """The stages that ended badly last; of runs those of the grid, where it is known."""
    cells = {cell.name for cell in params.cells()} if params else None
    ended = [one for one in list_stage_statuses(root) if one.state != "running"]
    shown = [one for one in ended if not one.run or cells is None or one.run in cells]
    sweep = next((one for one in shown if one.stage == "sweep"), None)
    others = [one for one in shown if one is not sweep]
    if sweep is None:
        return others
    if sweep.state == "failed":  # before any run was begun: what is known of runs is older
        return [one for one in others if one.stage == "prepare"] or [sweep]
    return others or [sweep]  # stopped, and its runs with it


def _sentence(names: list[str], root: Path) -> str:
    if not names:
        return f"No stage tells of a failure. If make report failed, DVC itself says why: {inside(root, 'dvc repro')}"
    return f"What failed: {wording.listing([*names[:3], *(['others'] if len(names) > 3 else [])])}."


def _failure(one: StageStatus, params: Params | None, root: Path) -> Failure:
    lines = "\n".join(one.lines)
    again = make("report", root) if one.stage == "sweep" else inside(root, f"dvc repro {one.name}")
    return Failure(
        name=one.name,
        reason=one.reason,
        ended=one.time.strftime("%Y-%m-%d %H:%M"),
        lines="" if lines == one.reason else lines,
        command=again,
        parameters=tuple(wording.parameters(_parameters(one, params))) if params else (),
    )


def _parameters(one: StageStatus, params: Params) -> Mapping[str, Any]:
    if one.run:
        return next(cell.model_dump(mode="json") for cell in params.cells() if cell.name == one.run)
    return params.model_dump(mode="json", include=set(SECTIONS.get(one.stage, ())))
