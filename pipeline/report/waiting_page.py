"""The growing report before the first run has ended, and after the report is complete."""

from __future__ import annotations

from pipeline.artifacts.project import GROWING_REPORT, REPORT, Project
from pipeline.atomic_io import write_text
from pipeline.params import Params
from pipeline.report.render_html import render_html
from pipeline.report.sections.progress import SweepProgress

TEMPLATE = "waiting.html"
LINK = """\
<!DOCTYPE html>
<html lang="en-US">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={name}">
<title>Learning report</title>
<p>The report is complete: <a href="{name}">{name}</a></p>
</html>
"""


def write_waiting_page(params: Params, project: Project, progress: SweepProgress) -> None:
    """Write the page that is shown until the first run has ended, and reloads itself.

    Raises:
        PipelineError: A template is missing or invalid.
    """
    page = {"title": params.report.title, "progress": progress}
    write_text(project.root / GROWING_REPORT, render_html(TEMPLATE, page, project))


def link_to_report(project: Project) -> None:
    """Replace the growing report, if there is one, by a page that opens the complete report."""
    path = project.root / GROWING_REPORT
    if path.exists():
        write_text(path, LINK.format(name=REPORT.name))
