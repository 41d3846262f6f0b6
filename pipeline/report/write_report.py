"""Build the sections of the learning report and write it as one HTML file.

Equal inputs give equal bytes, unless provenance is included.

To add a section, write a module in `sections/` with its view classes and a function that builds them from a
`PageContext`, write a template in `reports/templates`, and add the section to `write_report`. The function returns None
if pages of these data or runs have no such section, and raises `PipelineError` to show a notice in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.analysis.leaderboard import TeamResults
from pipeline.artifacts.project import Project
from pipeline.atomic_io import write_text
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.report.external_results import read_external_results
from pipeline.report.notices import NothingToShowError, Notice
from pipeline.report.page_context import PageContext
from pipeline.report.render_html import render_html
from pipeline.report.run_selection import select_runs
from pipeline.report.sections.authors import build_authors
from pipeline.report.sections.curves import build_curves
from pipeline.report.sections.data_card import DataCard, build_data_card
from pipeline.report.sections.ensemble import build_ensemble
from pipeline.report.sections.examples import build_examples
from pipeline.report.sections.gap_breakdown import build_gap_breakdown
from pipeline.report.sections.header import Header, build_header
from pipeline.report.sections.learning_curves import build_learning_curves
from pipeline.report.sections.metrics import build_metrics
from pipeline.report.sections.notes import build_notes
from pipeline.report.sections.objects import build_objects
from pipeline.report.sections.progress import SweepProgress
from pipeline.report.sections.reproduce import build_reproduce
from pipeline.report.sections.results import build_results
from pipeline.report.sections.run_table import build_run_table
from pipeline.report.sections.selected_findings import build_findings
from pipeline.report.sections.suspicious_masks import build_suspicious_masks
from pipeline.report.sections.test_scores import build_test_scores

TEMPLATE = "page.html"


@dataclass(frozen=True)
class RenderedReport:
    """The path of a report, and notices about its missing content."""

    path: Path
    faults: tuple[Notice, ...]
    notices: tuple[str, ...] = ()  # sentences on skipped runs


@dataclass(frozen=True)
class RunSource:
    """Runs from MLflow that a report shows instead of the runs of the grid."""

    folder: Path  # project folder with the runs, their evaluations and their comparison
    origin: str  # value of `report --runs` that selects these runs
    team: TeamResults
    notices: tuple[str, ...] = ()  # sentences on skipped runs


@dataclass(frozen=True)
class GrowingGrid:
    """The runs of the grid that have ended so far, which a report shows while the others are trained."""

    folder: Path  # like a project's folder, with the comparison of these runs
    progress: SweepProgress


OMITTED_WHILE_GROWING = ("notes", "masks", "test", "ensemble", "reproduce")  # sections on the whole grid


@dataclass(frozen=True)
class Section:
    """A section of the page: the values of its template, or a notice if they could not be built."""

    id: str
    title: str
    body: object

    @property
    def is_missing(self) -> bool:
        """Whether the section has a notice in place of its content."""
        return isinstance(self.body, Notice)


@dataclass(frozen=True)
class Page:
    """The header and the sections of a report."""

    header: Header
    sections: tuple[Section, ...]

    @property
    def is_growing(self) -> bool:
        """Whether more runs will end, so that the page reloads itself."""
        progress = (section.body for section in self.sections if isinstance(section.body, SweepProgress))
        return any(not one.is_stopped for one in progress)

    @property
    def faults(self) -> tuple[Notice, ...]:
        """Notices in place of content that should exist."""
        notices = list(self.header.problems)
        for section in self.sections:
            notices += [section.body] if isinstance(section.body, Notice) else getattr(section.body, "problems", ())
        return tuple(notice for notice in notices if notice.is_fault)


def write_report(
    params: Params,
    run_spec: str | None = None,
    out: Path | None = None,
    project: Project | None = None,
    *,
    provenance: bool = False,
    source: RunSource | GrowingGrid | None = None,
) -> RenderedReport:
    """Write the report of a selection of runs.

    A section whose files are missing or broken is replaced by a notice.

    Args:
        params: The parameters of the project.
        run_spec: The runs to show, as in `select_runs`.
        out: The file to write; None for a file in `reports/` that is named after the selection.
        project: The project or study; None for the current folder.
        provenance: Whether to include date, git commit, durations and versions. Equal inputs then give different bytes.
        source: Runs from MLflow, or the first runs of the grid, to show instead of the whole grid.

    Raises:
        PipelineError: The comparison or a run does not exist, or a template is missing or invalid.
    """
    project = project or Project()
    context = _open_page(project, params, run_spec, source)
    external = read_external_results(params.report, project)

    def build(name: str, title: str, body: Callable[[], object]) -> tuple[Section, ...]:
        if isinstance(source, GrowingGrid) and name in OMITTED_WHILE_GROWING:
            return ()
        section = _build(name, title, body)
        return () if section.body is None else (section,)

    progress: tuple[Section, ...] = ()
    authors: tuple[Section, ...] = ()
    if isinstance(source, GrowingGrid):
        progress = (Section("progress", "Progress", source.progress),)
    elif source:
        authors = build("authors", "By author", lambda: build_authors(source.team, context))
    # Without prepared data, the header reports that it is missing.
    has_data = context.project.prepared.path.is_dir()
    data = build("data", "The data", lambda: build_data_card(context)) if has_data else ()
    has_leakage = any(isinstance(section.body, DataCard) and section.body.leakage for section in data)
    sections = (
        *progress,
        *(data if has_leakage else ()),  # at the top, because leakage puts all scores in doubt
        *authors,
        *build("notes", "Notes", lambda: build_notes(project, params.report.notes_file, context)),
        *build("findings", "Findings", lambda: build_findings(context)),
        *build("curves", "Loss curves", lambda: build_curves(context, external)),
        *build("results", "Results", lambda: build_results(context)),
        *build("more_images", "More images", lambda: build_learning_curves(context)),
        *build("runs", "All runs", lambda: build_run_table(context, external)),
        *build("metrics", "Metrics by class", lambda: build_metrics(context)),
        *build("gap", "Where the gap comes from", lambda: build_gap_breakdown(context)),
        *build("objects", "Objects", lambda: build_objects(context)),
        *build("masks", "Where masks may be wrong", lambda: build_suspicious_masks(context)),
        *build("test", "Test scores", lambda: build_test_scores(context)),
        *build("ensemble", "Ensemble", lambda: build_ensemble(context)),
        *build("examples", "Examples", lambda: build_examples(context)),
        *(() if has_leakage else data),
        *build("reproduce", "How to reproduce", lambda: build_reproduce(params, context, provenance=provenance)),
    )
    page = Page(build_header(params, context), sections)
    path = out if out is not None else project.root / context.selection.out
    num_learning_rates = len({row.learning_rate for row in context.summary.runs})
    write_text(path, render_html(TEMPLATE, page, project, num_learning_rates))
    return RenderedReport(path, page.faults, context.selection.notices)


def _open_page(
    project: Project, params: Params, run_spec: str | None, source: RunSource | GrowingGrid | None
) -> PageContext:
    """Select the runs of the page, and open the artifacts that it shows."""
    shown = Project(source.folder) if source else project
    selection = select_runs(shown.comparison.summary, run_spec)
    if isinstance(source, GrowingGrid):
        so_far = f"Results so far: {source.progress.complete} of {source.progress.total} runs have ended."
        selection = replace(selection, notices=(so_far,))
    elif source:
        selection = replace(selection, origin=source.origin, notices=source.notices)
    return PageContext(shown, params.data, selection)


def _build(name: str, title: str, build: Callable[[], object]) -> Section:
    try:
        return Section(name, title, build())
    except NothingToShowError as error:
        return Section(name, title, Notice.from_error(f"{title}: nothing to show", error))
    except PipelineError as error:
        return Section(name, title, Notice.from_error(f"{title}: missing", error))
