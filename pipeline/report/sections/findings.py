"""Findings of the comparison, each with the runs that it is based on."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report.context import ReportContext
from pipeline.report.run_selection import RunSelection
from pipeline.report.view_models import NothingToShowError


@dataclass(frozen=True)
class Findings:
    """Findings, the most important first.

    Attributes:
        lines: A sentence each, and its evidence: text of a link, and the run in the table that it points to.
    """

    lines: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


def build_findings(context: ReportContext, selection: RunSelection) -> Findings:
    """Select the findings on runs of this page, or on no run in particular."""
    names = set(selection.names)
    found = tuple(
        (item.sentence, _build_evidence(selection, item.runs))
        for item in context.project.comparison.findings
        if not item.runs or names & set(item.runs)
    )
    if not found:
        raise NothingToShowError("The comparison has no finding on the runs of this page.")
    return Findings(found)


def _build_evidence(selection: RunSelection, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Build one link per variant and learning rate, since its seeds are adjacent in the table."""
    seeds: dict[tuple[str, float], list[str]] = {}
    for row in selection.rows:
        if row.run in names:
            seeds.setdefault((row.variant, row.learning_rate), []).append(row.run)
    return tuple(
        (runs[0] if len(runs) == 1 else f"{variant} at {rate}, {len(runs)} seeds", runs[0])
        for (variant, rate), runs in seeds.items()
    )
