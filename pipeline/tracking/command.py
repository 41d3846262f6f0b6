"""`pipeline track`: which runs, and how it is told what MLflow got."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.run_selection import chosen_runs
from pipeline.project import make
from pipeline.tracking.mark_killed import mark_killed
from pipeline.tracking.mlflow_run import Sent
from pipeline.tracking.store import shown, tracking_uri
from pipeline.tracking.sync import track, tracked_names


def track_runs(params: Params, targets: Sequence[str], to: str | None, root: Path) -> str:
    """Send finished runs to MLflow, and return a sentence on what was sent.

    Args:
        params: the whole of `params.yaml`.
        targets: which runs, by name or pattern; empty for all.
        to: MLflow's address, if it is another than the one where the project tracks.
        root: the project's folder, or a study's.

    Raises:
        PipelineError: There is no such run, its files are broken, or the store does not answer; what was sent stands.
    """
    if to is not None and "://" not in to:
        raise PipelineError(f"--to: '{to}' is no address. Give one such as http://host:5000 or sqlite:///mlflow.db.")
    mark_killed(root)
    there = tracked_names(params, root)
    wanted = [name for name in chosen_runs([cell.name for cell in params.cells()], targets) if name in there]
    if not wanted:
        raise PipelineError(f"None of these runs was trained yet. Run `{make('report', root)}` first.")
    sent: list[Sent] = []
    try:
        for one in track(params, wanted, root, to):
            sent.append(one)
    except PipelineError as error:
        complete = sum(one.run in wanted for one in sent)
        done = f"{complete} of {len(wanted)} runs are complete there" if complete else "No run was sent"
        raise PipelineError(f"{error} {done}; the same command sends the rest.") from None
    return f"MLflow at {shown(tracking_uri(params.tracking, to))}: {_told(sent, wanted)}"


def _told(sent: Sequence[Sent], names: Sequence[str]) -> str:
    """What was sent; the grid's own run, which is none of the names, counts for its files only."""
    there = [one for one in sent if one.run in names]
    new = sum(one.is_new for one in there)
    points, folders = sum(one.points for one in sent), sum(one.folders for one in sent)
    if not (new or points or folders):
        return f"{_count(len(there))}, and nothing was missing."
    counted = f"{_count(len(there))}, {new or 'none'} of them new"
    return f"{counted}; sent {points:,} points and {folders} folders of files."


def _count(runs: int) -> str:
    return "1 run is there" if runs == 1 else f"{runs} runs are there"
