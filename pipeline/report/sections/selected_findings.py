"""The findings of `compare` about the runs on a page, with links to these runs."""

from __future__ import annotations

from pipeline.artifacts.comparison import Finding, RunSummary
from pipeline.report.notices import NothingToShowError
from pipeline.report.page_context import PageContext

Evidence = tuple[tuple[str, str], ...]  # links to rows of the table of runs: text and run


def build_findings(context: PageContext) -> tuple[tuple[str, Evidence], ...]:
    """List the sentences of the findings on this page, with links to the runs that they are based on.

    Raises:
        PipelineError: No finding is about the runs on the page, or the file is missing or broken.
    """
    found = select_findings(context)
    if not found:
        raise NothingToShowError("The comparison has no finding about the runs on this page.")
    return tuple((item.sentence, _build_evidence(context.listed_runs, item.runs)) for item in found)


def select_findings(context: PageContext) -> list[Finding]:
    """Select the findings about runs on this page, and those that are not about particular runs."""
    names = set(context.selection.names)
    return [item for item in context.project.comparison.findings if not item.runs or names & set(item.runs)]


def _build_evidence(shown: tuple[RunSummary, ...], names: tuple[str, ...]) -> Evidence:
    """Build one link per variant and learning rate, because their seeds are adjacent in the table of shown runs."""
    seeds: dict[tuple[str, float], list[str]] = {}
    for row in shown:
        if row.run in names:
            seeds.setdefault(row.setting, []).append(row.run)
    return tuple(
        (runs[0] if len(runs) == 1 else f"{variant} at {rate}, {len(runs)} seeds", runs[0])
        for (variant, rate), runs in seeds.items()
    )
