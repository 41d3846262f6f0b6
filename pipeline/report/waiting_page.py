"""The page that stands in for the report until the first run has ended."""

from __future__ import annotations

from pipeline.artifacts.project import REPORT, Project
from pipeline.atomic_io import write_text
from pipeline.params import Params
from pipeline.report.render_html import render_html
from pipeline.report.sections.progress import SweepProgress

TEMPLATE = "waiting.html"


def write_waiting_page(params: Params, project: Project, progress: SweepProgress) -> None:
    """Write the page, which reloads itself, over the report.

    Raises:
        PipelineError: A template is missing or invalid.
    """
    page = {"title": params.report.title, "progress": progress}
    write_text(project.root / REPORT, render_html(TEMPLATE, page, project))
