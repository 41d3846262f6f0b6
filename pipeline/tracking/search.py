"""Find runs in MLflow by id, filter or run key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.tracking.store import get_tracking_uri, hide_passwords, is_server, open_client, store_errors
from pipeline.tracking.tags import GRID_STAGE, RUN_KEY, STAGE, get_author
from pipeline.wording import join_names

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FOLDERS = ("run", "evaluation")  # artifact folders of a run in MLflow
MAX_NAMED = 12  # runs, authors or faults listed in a message; the others are only counted
_ID = re.compile(r"[0-9a-f]{32}")
_FORMS = (
    "Use `latest`, run ids of 32 hexadecimal digits separated by commas, or an MLflow search filter such as "
    "metrics.val_loss_best < 0.4 or params.variant = 'unet' and tags.`pipeline.status` = 'finished'."
)


def read_ids(query: str) -> list[str]:
    """Parse comma-separated run ids; return an empty list if the query is `latest` or a filter.

    Raises:
        PipelineError: The query is empty.
    """
    ids = [part.strip().lower() for part in query.split(",") if part.strip()]
    if not ids:
        raise PipelineError(f"`mlflow:` must be followed by a selection of runs. {_FORMS}")
    return list(dict.fromkeys(ids)) if all(_ID.fullmatch(part) for part in ids) else []


def get_runs(client: MlflowClient, ids: list[str]) -> list[Run]:
    """Return the runs with these ids.

    Raises:
        PipelineError: A run is missing, or several of the runs have the same name and author.
    """
    from mlflow.exceptions import MlflowException

    found = []
    for run_id in ids:
        try:
            found.append(client.get_run(run_id))
        except MlflowException:
            raise PipelineError(
                f"MLflow has no run with the id {run_id}. To find the ids of runs, open their pages with `make ui`."
            ) from None
    by_name: dict[tuple[str, str], list[str]] = {}
    for run in found:
        by_name.setdefault((get_author(run.data.tags), run.info.run_name), []).append(run.info.run_id)
    for (_, name), several in by_name.items():
        if len(several) > 1:
            raise PipelineError(
                f"{len(several)} runs are named {name}: {', '.join(several)}. They differ in parameters, data or "
                "code. Give the id of one of them."
            )
    return found


def search_runs(client: MlflowClient, tracking: Tracking, query: str) -> list[Run]:
    """Return the finished runs that a query matches, oldest first; `latest` matches all.

    Raises:
        PipelineError: The experiment is missing, or nothing matches.
    """
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        names = ", ".join(sorted(one.name for one in client.search_experiments(max_results=MAX_NAMED)))
        raise PipelineError(
            f"MLflow has no experiment '{tracking.experiment}'. It has {names}. Correct tracking.experiment in "
            "params.yaml."
        )
    found = search_finished(client, experiment.experiment_id, "" if is_latest(query) else query.strip())
    if not found:
        finished = sorted({run.info.run_name for run in search_finished(client, experiment.experiment_id, "")})
        known = f"the finished runs are {join_names(finished, MAX_NAMED)}" if finished else "no run has finished yet"
        raise PipelineError(f"MLflow has no finished run that matches '{query.strip()}'; {known}.")
    return found


def is_latest(query: str) -> bool:
    """Return whether a query asks for the run that started last."""
    return query.strip().lower() == "latest"


def search_finished(client: MlflowClient, experiment: str, condition: str) -> list[Run]:
    """Return the finished runs of this project that meet a condition, oldest first.

    Raises:
        PipelineError: MLflow cannot parse the condition.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = list(search_all(client, experiment, condition, "ASC"))
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise PipelineError(f"MLflow rejected the filter '{condition}' ({error.message}). {_FORMS}") from None
    ours = (run for run in found if RUN_KEY in run.data.tags and run.data.tags.get(STAGE) != GRID_STAGE)
    return [run for run in ours if run.info.status == "FINISHED"]


def search_all(
    client: MlflowClient, experiment: str, condition: str, order: str, *, with_deleted: bool = False
) -> Iterator[Run]:
    """Yield all runs that meet a condition, sorted by start time; `order` is `ASC` or `DESC`."""
    from mlflow.entities import ViewType

    view = ViewType.ALL if with_deleted else ViewType.ACTIVE_ONLY
    token = None
    while True:
        page = client.search_runs(
            [experiment], condition, view, 1000, order_by=[f"attributes.start_time {order}"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def explain_missing_files(run: Run) -> str:
    """Return the likely reason why a run has no files, phrased to complete a sentence."""
    place = urlsplit(run.info.artifact_uri)
    if place.scheme in ("", "file") and not Path(unquote(place.path)).exists():
        return (
            f"its files were in {unquote(place.path)}, which no longer exists. MLflow does not follow a moved folder; "
            "move it back"
        )
    return "it was not evaluated, or was not trained by this project"


def find_run_url(tracking: Tracking, key: str) -> str | None:
    """Return the page URL of the run with this key; None if MLflow is not a server or does not have the run.

    Raises:
        PipelineError: The server does not answer.
    """
    uri = get_tracking_uri(tracking)
    if not is_server(uri):
        return None
    with store_errors(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            return None
        run = next(search_all(client, experiment.experiment_id, f"tags.`{RUN_KEY}` = '{key}'", "DESC"), None)
    if run is None:
        return None
    return f"{hide_passwords(uri).rstrip('/')}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
