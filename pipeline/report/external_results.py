"""Results from outside the project that the report shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.artifacts.project import EXTERNAL_RESULTS, Project
from pipeline.curve_readers.external_results import ExternalResult, read_results
from pipeline.params import Report
from pipeline.report.notices import Notice, collect_problem


@dataclass(frozen=True)
class ExternalResults:
    """Results from outside the project, and notices for files that could not be read."""

    results: tuple[ExternalResult, ...]  # with the names that the page shows
    sources: tuple[tuple[str, str], ...]  # name, and author or publication
    problems: tuple[Notice, ...]


def read_external_results(report: Report, project: Project) -> ExternalResults:
    """Read the files in `reports/external_results/` that `report.external_results` lists."""
    results: list[ExternalResult] = []
    sources: list[tuple[str, str]] = []
    problems: list[Notice] = []
    home = f"{project.home}/"  # paths on the page are relative to it
    for reference in report.external_results:
        with collect_problem(problems, f"{reference.name} is not shown"):
            for found in read_results(project.home / EXTERNAL_RESULTS / reference.file):
                name = f"{reference.name}: {found.name}" if found.name else reference.name
                notes = tuple(note.replace(home, "") for note in found.notes)
                results.append(replace(found, name=name, notes=notes))
            sources.append((reference.name, reference.source))
    problems = [replace(notice, text=notice.text.replace(home, "")) for notice in problems]
    return ExternalResults(tuple(results), tuple(sources), tuple(problems))
