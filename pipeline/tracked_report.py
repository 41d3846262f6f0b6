"""The learning report of runs that MLflow has: fetched, compared and rendered as those of the grid are."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline import runs
from pipeline.compare.stage import compare
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.recorded import recorded_cell
from pipeline.report.selection import stem
from pipeline.report.stage import Elsewhere, Rendered, render_report
from pipeline.runs import DataSet
from pipeline.tracking.fetch import Fetched, fetch_runs

CACHE = runs.SCRATCH / "mlflow"


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
        PipelineError: The runs cannot be fetched, or are of other data.
    """
    fetched = fetch_runs(params.tracking, wanted, root / CACHE)
    _check_data(fetched, root)
    digest = hashlib.sha256("".join(sorted(one.record.key for one in fetched)).encode()).hexdigest()[:12]
    place = root / CACHE / f"compared-{digest}"
    for one in fetched:
        _link(place / runs.RUNS / one.record.run, one.run)
        _link(place / runs.EVALUATION / one.record.run, one.evaluation)
    _link(place / runs.PREPARED, root / runs.PREPARED)
    compare(params, place, [recorded_cell(one.record, one.run) for one in fetched])
    names = stem([one.record.run for one in fetched])
    target = out if out is not None else root / runs.REPORTS / f"mlflow-{names}.html"
    return render_report(params, None, target, root, live=live, elsewhere=Elsewhere(place, f"mlflow:{wanted.strip()}"))


def _check_data(fetched: list[Fetched], root: Path) -> None:
    here = DataSet.read(root / runs.PREPARED).fingerprint
    others = [one.record.run for one in fetched if one.record.data_fingerprint != here]
    if others:
        raise PipelineError(
            f"{', '.join(others)}: trained on other data than {runs.PREPARED} holds now, whose fingerprint is "
            f"{here[:12]}. Prepare those again with the parameters of that time: dvc repro prepare"
        )


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(target.resolve())
