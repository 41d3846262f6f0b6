"""Upload finished runs to MLflow from their folders, in `pipeline sync` and at the end of `compare` and `report`.

This adds runs that were not logged during training: DVC restored them from its cache, or the server was down.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.artifacts.comparison import Summary
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError, user_message
from pipeline.params import Params
from pipeline.runtime.shutdown import check_signals
from pipeline.tracking.grid_summary import compute_grid_key, describe_grid, list_report_files, mark_best_run
from pipeline.tracking.mark_killed import mark_killed
from pipeline.tracking.mlflow_run import MlflowRun, upload_lock
from pipeline.tracking.run_content import DataSummary, RunContent, describe_finished
from pipeline.tracking.saved_view import save_view
from pipeline.tracking.search import MAX_NAMED
from pipeline.tracking.store import (
    StoreError,
    get_experiment_id,
    get_tracking_uri,
    hide_passwords,
    is_server,
    is_store_missing,
    open_client,
    store_errors,
)
from pipeline.tracking.tags import create_standard_tags
from pipeline.wording import pluralize

logger = logging.getLogger("pipeline.tracking")

STAGE_SECONDS = 60  # time limit of uploads at the end of a stage; `pipeline sync` uploads the others
STAGE_LOCK_SECONDS = 10.0  # maximum wait of a stage for another process that uploads
_REASON_LENGTH = 500  # characters


def sync_runs(
    params: Params,
    names: Sequence[str],
    project: Project,
    uri: str | None = None,
    *,
    with_report: bool = True,
    lock_seconds: float = -1,
) -> Iterator[MlflowRun]:
    """Upload finished runs one by one, then the summary of the grid and the tag of its best run.

    A run whose files are missing or broken does not stop the upload of the others.

    Args:
        params: the content of `params.yaml`, with the store and the grid.
        names: names of the runs to upload.
        project: the project that contains the runs.
        uri: the URI of another MLflow store, instead of the project's.
        with_report: whether to upload the report; false if it may be older than the comparison.
        lock_seconds: maximum wait for another process that uploads; negative for no limit.

    Yields:
        Each run after its upload, and the grid summary at the end.

    Raises:
        StoreError: The store does not answer. Runs already uploaded remain.
        PipelineError: Files of runs are missing or broken; all other runs are uploaded.
    """
    uri = get_tracking_uri(params.tracking, uri)
    data, summary = DataSummary.read(project), _read_summary(params, project)
    rows = {row.run: row for row in summary.runs} if summary else {}
    tags = create_standard_tags("sync", data.fingerprint, params.grid)
    faults: dict[str, None] = {}  # messages, each once
    with store_errors(uri):
        client = open_client(uri)
        experiment = get_experiment_id(client, uri, params.tracking.experiment)

        def upload(describe: Callable[[], RunContent]) -> MlflowRun:
            content = describe()  # without the lock, since this may take seconds
            with upload_lock(project, lock_seconds):
                while content.is_outdated():  # the run was trained again, for example by the process that had the lock
                    content = describe()
                run = MlflowRun.open(client, experiment, content)
                run.upload(content)
            return run

        for name in names:
            check_signals()
            with _collect_faults(faults):
                yield upload(functools.partial(describe_finished, name, project, data, tags, rows.get(name)))
        if summary:
            with _collect_faults(faults):
                mark_best_run(client, experiment, summary, data.fingerprint, project)
                yield upload(lambda: describe_grid(params.grid, summary, data, project, with_report=with_report))
        save_view(client, experiment, params.compare.rank_by, is_shared=is_server(uri))
    if faults:
        shown = list(faults)[:MAX_NAMED]
        if len(faults) > MAX_NAMED:
            shown.append(f"{pluralize(len(faults) - MAX_NAMED, 'more run')} could not be uploaded.")
        raise PipelineError("\n".join(shown))


@contextlib.contextmanager
def _collect_faults(faults: dict[str, None]) -> Iterator[None]:
    """Add the message of an error about a run's files to `faults`; raise errors of the store unchanged."""
    try:
        yield
    except StoreError:
        raise
    except (PipelineError, FileNotFoundError, PermissionError) as error:
        faults[user_message(error)] = None


def sync_comparison(params: Params, project: Project) -> Iterator[MlflowRun]:
    """Upload the results of a comparison: verdicts, the best run's tag, and the grid summary without the report."""
    if _read_summary(params, project) is not None:
        trained = list_trained_runs(params, project)
        yield from sync_runs(params, trained, project, with_report=False, lock_seconds=STAGE_LOCK_SECONDS)


def sync_report(params: Params, project: Project) -> Iterator[MlflowRun]:
    """Add the report to the grid summary, if MLflow has one."""
    uri = get_tracking_uri(params.tracking)
    key = compute_grid_key(params.grid, project.prepared.dataset.fingerprint)
    with store_errors(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(params.tracking.experiment)
        if experiment is None or experiment.lifecycle_stage != "active":
            return
        with upload_lock(project, STAGE_LOCK_SECONDS):
            run = MlflowRun.find(client, experiment.experiment_id, key)
            if run is not None:
                for folder, files in list_report_files(project).items():
                    run.upload_files(folder, files)
                yield run


def sync_after_stage(sync: Callable[[Params, Project], Iterator[MlflowRun]], params: Params) -> None:
    """Run `sync_comparison` or `sync_report` at the end of a stage; errors are logged, since the stage is complete."""
    uri = get_tracking_uri(params.tracking)
    if is_store_missing(uri):
        return
    deadline = time.monotonic() + STAGE_SECONDS
    try:
        for _ in sync(params, Project()):
            if time.monotonic() > deadline:
                logger.warning(
                    "Uploads to MLflow at %s took more than %d s. The stage is complete; `pipeline sync` uploads the "
                    "remaining runs.",
                    hide_passwords(uri),
                    STAGE_SECONDS,
                )
                return
    except Exception as error:  # raised by MLflow, a database driver or the disk
        reason = textwrap.shorten(hide_passwords(str(error)), _REASON_LENGTH, placeholder=" …")
        logger.warning("%s The stage is complete; run `pipeline sync` to upload its results to MLflow.", reason)
        logger.debug("MLflow error:", exc_info=True)


@dataclass(frozen=True)
class SyncResult:
    """What `sync_selected` uploaded."""

    uri: str  # of MLflow, without passwords
    runs: int  # number of selected runs, all of which are now complete in MLflow
    new_runs: int
    metric_values: int
    folders: int  # folders of files

    def describe(self) -> str:
        """Describe the uploads in a sentence."""
        runs = pluralize(self.runs, "run")
        if not (self.new_runs or self.metric_values or self.folders):
            return f"MLflow at {self.uri}: {runs}, nothing to upload."
        sent = f"{pluralize(self.metric_values, 'metric value')} and {pluralize(self.folders, 'folder')} of files"
        return f"MLflow at {self.uri}: {runs}, {self.new_runs} of them new; uploaded {sent}."


def sync_selected(params: Params, targets: Sequence[str], uri: str | None, project: Project) -> SyncResult:
    """Upload the trained runs that match `targets`, or all if it is empty.

    Raises:
        PipelineError: No run matches, files are broken, or the store does not answer. Runs already uploaded remain.
    """
    if uri is not None and "://" not in uri:
        raise PipelineError(
            f"--tracking-uri: '{uri}' is not a URI. Give a URI such as http://host:5000 or sqlite:///mlflow.db."
        )
    mark_killed(project)
    trained = list_trained_runs(params, project)
    names = [name for name in params.select_runs(targets) if name in trained]
    if not names:
        raise PipelineError(f"None of the selected runs is trained. Train them: {project.make_command('report')}")
    uploaded: list[MlflowRun] = []
    try:
        uploaded.extend(sync_runs(params, names, project, uri))
    except PipelineError as error:
        complete = sum(run.name in names for run in uploaded)
        progress = f"{complete} of {len(names)} runs are complete in MLflow" if complete else "No run was uploaded"
        raise PipelineError(f"{error} {progress}; run the same command again to upload the others.") from None
    of_runs = [run for run in uploaded if run.name in names]  # the grid's summary counts only toward the files
    return SyncResult(
        uri=hide_passwords(get_tracking_uri(params.tracking, uri)),
        runs=len(of_runs),
        new_runs=sum(run.is_new for run in of_runs),
        metric_values=sum(run.num_points for run in uploaded),
        folders=sum(run.num_folders for run in uploaded),
    )


def list_trained_runs(params: Params, project: Project) -> list[str]:
    """Return the names of the grid's runs that have a run folder."""
    return [cell.name for cell in params.cells() if project.run(cell.name).exists()]


def _read_summary(params: Params, project: Project) -> Summary | None:
    """Read the comparison; return None if there is none, or it covers another grid."""
    if not project.comparison.exists():
        return None
    summary = project.comparison.summary
    return summary if [row.run for row in summary.runs] == [cell.name for cell in params.cells()] else None
