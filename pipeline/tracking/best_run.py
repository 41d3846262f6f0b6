"""The tag that marks the report's best run: the median seed of the setting with the lowest mean validation loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import runs
from pipeline.comparison import Summary
from pipeline.runs import DataSet, RunRecord
from pipeline.tracking.mlflow_run import search_run
from pipeline.tracking.tags import BEST_OF, DATA_FINGERPRINT, SEPARATOR, user

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def mark_best(client: MlflowClient, experiment: str, summary: Summary, data: DataSet, root: Path) -> None:
    """Put the user's name into the tag of the best run, and take it out of that of earlier ones on the same data.

    Several people can share a run, so the tag holds names.
    """
    best = None
    if summary.best:
        best = search_run(client, experiment, RunRecord.read(root / runs.RUNS / summary.best.run).key)
    marked = client.search_runs(
        [experiment], f"tags.`{DATA_FINGERPRINT}` = '{data.fingerprint}' and tags.`{BEST_OF}` != ''"
    )
    for run in marked:
        if best is None or run.info.run_id != best.info.run_id:
            _set_names(client, run, _names(run) - {user()})
    if best is not None:
        _set_names(client, best, _names(best) | {user()})


def _names(run: Run) -> set[str]:
    return set(filter(None, run.data.tags.get(BEST_OF, "").split(SEPARATOR)))


def _set_names(client: MlflowClient, run: Run, names: set[str]) -> None:
    if names == _names(run):
        return
    if names:
        client.set_tag(run.info.run_id, BEST_OF, SEPARATOR.join(sorted(names)))
    else:
        client.delete_tag(run.info.run_id, BEST_OF)
