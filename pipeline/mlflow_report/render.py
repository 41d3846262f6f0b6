"""Fetch runs from MLflow, compare them, and render their report."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

from pipeline import runs
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.atomic_io import as_json
from pipeline.compare.stage import compare
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.run_config import read_run_config
from pipeline.report.run_selection import create_file_stem
from pipeline.report.sections.authors import TeamResults
from pipeline.report.stage import RenderedReport, RunSource, render_report
from pipeline.runs import DataSet
from pipeline.tracking.colleagues import everybodys_results
from pipeline.tracking.fetch import Fetched, fetch_runs
from pipeline.tracking.skipped_runs import describe_skipped
from pipeline.tracking.tags import user

CACHE = runs.SCRATCH / "mlflow"
MAX_AUTHOR = 40  # characters; names of folders have at most 255 bytes


def render_mlflow_report(
    params: Params, query: str, out: Path | None = None, root: Path = Path(), *, provenance: bool = False
) -> RenderedReport:
    """Write the report of runs from MLflow.

    Args:
        params: The address of MLflow, and the content of the report.
        query: As in `fetch_runs`.
        out: The file to write; None for a file in `reports/` named after the runs.
        root: Folder of the project or study. Its prepared data must be those of the runs.
        provenance: As in `render_report`.

    Raises:
        PipelineError: No run can be fetched, or a run given by its id is of other data.
    """
    fingerprint = DataSet.read(root / runs.PREPARED).fingerprint
    found = fetch_runs(params.tracking, query, root / CACHE, fingerprint, _check_files)
    team = TeamResults(everybodys_results(params.tracking, fingerprint), user())
    fetched = _add_authors(found.runs)
    digest = hashlib.sha256("".join(sorted(one.record.run + one.record.key for one in fetched)).encode()).hexdigest()
    folder = root / CACHE / f"compared-{digest[:12]}"
    shutil.rmtree(folder, ignore_errors=True)
    for one in fetched:
        _link_run(one, folder / runs.RUNS / one.record.run)
        _link(folder / runs.EVALUATION / one.record.run, one.evaluation)
    _link(folder / runs.PREPARED, root / runs.PREPARED)
    compare(params, Project(folder), [read_run_config(one.record, one.run) for one in fetched])
    stem = create_file_stem([one.record.run for one in fetched])
    path = out if out is not None else root / runs.REPORTS / f"mlflow-{stem}.html"
    source = RunSource(folder, f"mlflow:{query.strip()}", team, describe_skipped(found.skipped))
    return render_report(params, None, path, root, provenance=provenance, source=source)


def _add_authors(fetched: list[Fetched]) -> list[Fetched]:
    """Append the author to the variant of each run, if there are several authors: their variants may differ."""
    if len({one.author for one in fetched}) < 2:
        return fetched
    return [_rename(one, f"{one.record.cell['variant']}@{_sanitize(one.author)}") for one in fetched]


def _rename(one: Fetched, variant: str) -> Fetched:
    cell = {**one.record.cell, "variant": variant}
    name = read_run_config(replace(one.record, cell=cell), one.run).name
    return replace(one, record=replace(one.record, run=name, cell=cell))


def _sanitize(author: str) -> str:
    """Convert a name to a part of a folder's name; a hash distinguishes names that differ in replaced characters."""
    plain = re.sub(r"[^\w.-]+", "_", author)[:MAX_AUTHOR]
    return plain if plain == author else f"{plain}-{hashlib.sha256(author.encode()).hexdigest()[:4]}"


def _check_files(fetched: Fetched) -> None:
    """Check the files that a comparison needs.

    Raises:
        PipelineError: A file is missing or of another version.
    """
    read_run_config(fetched.record, fetched.run)
    history = RunFolder(fetched.run).history
    if len(history) < fetched.record.epochs:
        raise PipelineError(
            f"{fetched.run / runs.HISTORY} has {len(history)} epochs, but {runs.RECORD} has {fetched.record.epochs}."
        )
    if fetched.record.status == "finished":
        EvaluationFolder(fetched.evaluation).read_per_image()


def _link_run(one: Fetched, folder: Path) -> None:
    """Link a run's files into a folder, with a record under the name on the page."""
    for file in one.run.iterdir():
        _link(folder / file.name, file)
    (folder / runs.RECORD).unlink()
    (folder / runs.RECORD).write_text(as_json(one.record), encoding="utf-8")


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target.resolve())
