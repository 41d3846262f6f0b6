"""Render the report of runs from MLflow."""

from __future__ import annotations

from pathlib import Path

from pipeline.analysis.measurement import describe_grid_measurement
from pipeline.artifacts.project import REPORTS, Project
from pipeline.mlflow_report.fetch_grid import fetch_grid
from pipeline.params import Params
from pipeline.report.run_selection import create_file_stem
from pipeline.report.write_report import RenderedReport, RunSource, write_report
from pipeline.tracking.team_results import read_team_results


def render_mlflow_report(
    params: Params, query: str, out: Path | None = None, project: Project | None = None, *, provenance: bool = False
) -> RenderedReport:
    """Write the report of runs from MLflow.

    Args:
        params: The parameters of the project, with the address of MLflow and the content of the report.
        query: The runs to fetch, as in `fetch_runs`.
        out: The file to write; None for a file in `reports/` that is named after the runs.
        project: The project or study whose prepared data the runs were trained on; None for the current folder.
        provenance: Whether to include provenance, as in `write_report`.

    Returns:
        The report, with sentences on skipped runs.

    Raises:
        PipelineError: No run can be fetched, or a run requested by id was trained on different data.
    """
    project = project or Project()
    grid = fetch_grid(params, query, project)
    fetched, fingerprint = Project(grid.folder), project.prepared.dataset.fingerprint
    measurement = describe_grid_measurement(fetched, fetched.comparison.summary)
    team = read_team_results(params.tracking, fingerprint, params.compare.rank_by, measurement)
    path = out if out is not None else project.root / REPORTS / f"mlflow-{create_file_stem(grid.runs)}.html"
    source = RunSource(grid.folder, f"mlflow:{query.strip()}", team, grid.skipped)
    return write_report(params, None, path, project, provenance=provenance, source=source)
