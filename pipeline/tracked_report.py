"""The learning report of runs that MLflow has: fetched, compared and rendered as those of the grid are."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

from pipeline import runs
from pipeline.atomic_io import as_json
from pipeline.compare.reading import RunFiles
from pipeline.compare.stage import compare
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.recorded import recorded_cell
from pipeline.report.sections.authors import Everybody
from pipeline.report.selection import stem
from pipeline.report.stage import Elsewhere, Rendered, render_report
from pipeline.runs import DataSet
from pipeline.tracking.fetch import FetchedRun, describe_skipped, fetch_runs
from pipeline.tracking.tags import get_user
from pipeline.tracking.team_results import read_team_results

CACHE = runs.SCRATCH / "mlflow"
LONGEST_AUTHOR = 40  # characters, of what may be 255 bytes with the rest of a run's name


def render_tracked(
    params: Params, wanted: str, out: Path | None = None, root: Path = Path(), *, live: bool = False
) -> Rendered:
    """Write the page of runs that MLflow has.

    Args:
        params: where MLflow listens, and what the page says beside the results.
        wanted: what `fetch_runs` reads.
        out: where to write; None for a file in `reports/` that is named after the runs.
        root: the project's folder, or a study's. Its prepared data must be what the runs were trained on.
        live: as `render_report` has it.

    Raises:
        PipelineError: No run can be fetched, or a run given by its id is of other data.
    """
    fingerprint = DataSet.read(root / runs.PREPARED).fingerprint
    found = fetch_runs(params.tracking, wanted, root / CACHE, fingerprint, _check_files)
    everybody = Everybody(read_team_results(params.tracking, fingerprint), get_user())
    fetched = _signed(found.runs)
    digest = hashlib.sha256("".join(sorted(one.record.run + one.record.key for one in fetched)).encode()).hexdigest()
    place = root / CACHE / f"compared-{digest[:12]}"
    shutil.rmtree(place, ignore_errors=True)
    for one in fetched:
        _copy_run(one, place / runs.RUNS / one.record.run)
        _link(place / runs.EVALUATION / one.record.run, one.evaluation)
    _link(place / runs.PREPARED, root / runs.PREPARED)
    compare(params, place, [recorded_cell(one.record, one.run) for one in fetched])
    names = stem([one.record.run for one in fetched])
    target = out if out is not None else root / runs.REPORTS / f"mlflow-{names}.html"
    elsewhere = Elsewhere(place, f"mlflow:{wanted.strip()}", everybody, describe_skipped(found.skipped))
    return render_report(params, None, target, root, live=live, elsewhere=elsewhere)


def _signed(fetched: list[FetchedRun]) -> list[FetchedRun]:
    """Of several authors, the runs with the author's name behind the variant's: one's `unet` is not another's."""
    if len({one.author for one in fetched}) < 2:
        return fetched
    return [_renamed(one, f"{one.record.cell['variant']}@{_file_name(one.author)}") for one in fetched]


def _renamed(one: FetchedRun, variant: str) -> FetchedRun:
    cell = {**one.record.cell, "variant": variant}
    name = recorded_cell(replace(one.record, cell=cell), one.run).name
    return replace(one, record=replace(one.record, run=name, cell=cell))


def _file_name(author: str) -> str:
    """The name as part of a folder's; a hash keeps apart what differs only in what was replaced."""
    plain = re.sub(r"[^\w.-]+", "_", author)[:LONGEST_AUTHOR]
    return plain if plain == author else f"{plain}-{hashlib.sha256(author.encode()).hexdigest()[:4]}"


def _check_files(fetched: FetchedRun) -> None:
    """Raise `PipelineError` if a file that a comparison cannot do without is missing or of another version."""
    recorded_cell(fetched.record, fetched.run)
    files = RunFiles(fetched.record.run, fetched.run, (fetched.run, fetched.evaluation))
    if len(files.history) < fetched.record.epochs:
        raise PipelineError(
            f"{fetched.run / runs.HISTORY} has {len(files.history)} epochs, where {runs.RECORD} says "
            f"{fetched.record.epochs}."
        )
    if fetched.record.status == "finished":
        files.per_image()


def _copy_run(one: FetchedRun, folder: Path) -> None:
    """The run under its name on the page: its files as links, and a record that says that name."""
    for file in one.run.iterdir():
        _link(folder / file.name, file)
    (folder / runs.RECORD).unlink()
    (folder / runs.RECORD).write_text(as_json(one.record), encoding="utf-8")


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target.resolve())
