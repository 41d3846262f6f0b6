"""Other people's results, as `report.references` in params.yaml names them: shown beside the runs, never among them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import runs
from pipeline.analysis.curve_files import Result, read_results
from pipeline.errors import PipelineError
from pipeline.params import Report
from pipeline.project import project_folder
from pipeline.report import view


@dataclass(frozen=True)
class References:
    """What was read, and a card for what could not be."""

    results: tuple[Result, ...]  # each named as the page calls it
    sources: tuple[tuple[str, str], ...]  # a reference's name, and whose it is
    problems: tuple[view.Card, ...]


def read_references(report: Report, root: Path) -> References:
    """Read the files that the parameters name, in `reports/references/` of the project."""
    results: list[Result] = []
    sources, problems = [], []
    project = project_folder(root)
    for reference in report.references:
        try:
            for found in read_results(project / runs.REFERENCES / reference.file):
                name = f"{reference.name}: {found.name}" if found.name else reference.name
                results.append(Result(name, found.curves, found.numbers))
            sources.append((reference.name, reference.source))
        except PipelineError as error:
            problems.append(
                view.Card(f"{reference.name} is not shown", str(error).replace(f"{project}/", ""), fault=True)
            )
    return References(tuple(results), tuple(sources), tuple(problems))
