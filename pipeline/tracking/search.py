"""Which of the runs that MLflow has are meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.tracking.tags import GRID_STAGE, RUN_KEY, STAGE, author

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FOLDERS = ("run", "evaluation")  # among a run's artifacts
LISTED = 12  # runs in a complaint
_ID = re.compile(r"[0-9a-f]{32}")
_FORMS = (
    "Give latest, ids of 32 hexadecimal digits with commas between, or a filter of MLflow's such as "
    "metrics.val_loss_best < 0.4 or params.variant = 'unet' and tags.`pipeline.status` = 'finished'."
)


def read_ids(wanted: str) -> list[str]:
    """Read ids of runs with commas between; empty if `wanted` is `latest` or a filter.

    Raises:
        PipelineError: `wanted` is empty.
    """
    ids = [part.strip().lower() for part in wanted.split(",") if part.strip()]
    if not ids:
        raise PipelineError(f"mlflow: names no run. {_FORMS}")
    return list(dict.fromkeys(ids)) if all(_ID.fullmatch(part) for part in ids) else []


def runs_by_id(client: MlflowClient, ids: list[str]) -> list[Run]:
    """Return the runs with these ids.

    Raises:
        PipelineError: A run is missing, or several have one name and author.
    """
    found = [_by_id(client, run_id) for run_id in ids]
    _check_names(found)
    return found


def search_runs(client: MlflowClient, tracking: Tracking, wanted: str) -> list[Run]:
    """Return the finished runs that a search matches, oldest first.

    Args:
        client: of the server.
        tracking: names the experiment to search.
        wanted: `latest`, which matches all, or a filter of MLflow's, such as `metrics.val_loss_best < 0.4`.

    Raises:
        PipelineError: The experiment is missing, or nothing matches.
    """
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        names = ", ".join(sorted(one.name for one in client.search_experiments(max_results=LISTED)))
        raise PipelineError(f"MLflow has no experiment '{tracking.experiment}'; there is {names}.")
    found = finished_runs(client, experiment.experiment_id, "" if is_latest(wanted) else wanted.strip())
    return found or _nothing(client, experiment.experiment_id, wanted)


def is_latest(wanted: str) -> bool:
    """Whether `wanted` is the run that began last, rather than a filter."""
    return wanted.strip().lower() == "latest"


def _whose(run: Run) -> tuple[str, str]:
    return author(run.data.tags), run.info.run_name


def _by_id(client: MlflowClient, run_id: str) -> Run:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException:
        raise PipelineError(f"MLflow has no run {run_id}. Its page shows its id; `make ui` opens the list.") from None


def finished_runs(client: MlflowClient, experiment: str, condition: str) -> list[Run]:
    """The finished runs of ours that meet a condition, oldest first."""
    from mlflow.exceptions import MlflowException

    try:
        found = list(search_all(client, experiment, condition, "ASC"))
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise PipelineError(f"MLflow does not understand '{condition}' ({error.message}). {_FORMS}") from None
    ours = (run for run in found if RUN_KEY in run.data.tags and run.data.tags.get(STAGE) != GRID_STAGE)
    return [run for run in ours if run.info.status == "FINISHED"]


def search_all(client: MlflowClient, experiment: str, condition: str, order: str) -> Iterator[Run]:
    """Yield all runs that meet a condition, page by page, by when they began: `ASC` or `DESC`."""
    token = None
    while True:
        by_start = [f"attributes.start_time {order}"]
        page = client.search_runs([experiment], condition, order_by=by_start, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _nothing(client: MlflowClient, experiment: str, wanted: str) -> list[Run]:
    there = sorted({run.info.run_name for run in finished_runs(client, experiment, "")})
    rest = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
    known = f"finished are {', '.join(there[:LISTED])}{rest}" if there else "none has finished yet"
    raise PipelineError(f"MLflow has no finished run for '{wanted.strip()}'; {known}.")


def _check_names(found: list[Run]) -> None:
    ids: dict[tuple[str, str], list[str]] = {}
    for run in found:
        ids.setdefault(_whose(run), []).append(run.info.run_id)
    for (_, name), several in ids.items():
        if len(several) > 1:
            raise PipelineError(
                f"{len(several)} runs are named {name}: {', '.join(several)}. They are of other parameters, data or "
                "code; give one of them."
            )


def why_without_files(run: Run) -> str:
    """Why a run may lack its files."""
    place = urlsplit(run.info.artifact_uri)
    if place.scheme in ("", "file") and not Path(unquote(place.path)).exists():
        return (
            f"its files were in {unquote(place.path)}, which is not there any more. MLflow does not follow a folder "
            "that was moved; move it back"
        )
    return "it was not evaluated, or not trained by this project"
