"""Which of the runs that MLflow has are meant."""

from __future__ import annotations

import itertools
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


def wanted_runs(client: MlflowClient, tracking: Tracking, wanted: str) -> list[Run]:
    """The runs that are meant, oldest first.

    Args:
        client: of the server.
        tracking: which experiment a search looks into.
        wanted: `latest`, the run that began last; ids of runs with commas between; or a filter of MLflow's, such as
            `metrics.val_loss_best < 0.4`. A search takes each author's newest evaluated run of each name: earlier ones
            are of other parameters, data or code.

    Raises:
        PipelineError: No run is meant, or by ids several of one name and author.
    """
    ids = [part.strip().lower() for part in wanted.split(",") if part.strip()]
    if not ids:
        raise PipelineError(f"mlflow: names no run. {_FORMS}")
    if not all(_ID.fullmatch(part) for part in ids):
        return _searched(client, tracking, wanted.strip())
    found = [_by_id(client, run_id) for run_id in dict.fromkeys(ids)]
    _check_names(found)
    return found


def _searched(client: MlflowClient, tracking: Tracking, wanted: str) -> list[Run]:
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        names = ", ".join(sorted(one.name for one in client.search_experiments(max_results=LISTED)))
        raise PipelineError(f"MLflow has no experiment '{tracking.experiment}'; there is {names}.")
    is_latest = wanted.lower() == "latest"
    meant = finished_runs(client, experiment.experiment_id, "" if is_latest else wanted)
    if not meant:
        return _nothing(client, experiment.experiment_id, wanted)
    # Training sends one folder and evaluation the other: a run may have come no further than the first.
    complete = (run for run in reversed(meant) if _is_complete(client, run))
    found = list(itertools.islice(complete, 1)) if is_latest else _newest(list(complete)[::-1])
    if not found:
        raise PipelineError(f"MLflow has no files of {meant[-1].info.run_name}: {why_without_files(meant[-1])}.")
    return found


def _newest(found: list[Run]) -> list[Run]:
    """Of an author's runs of one name the last."""
    by_name = {_whose(run): run for run in found}
    return [run for run in found if run is by_name[_whose(run)]]


def _whose(run: Run) -> tuple[str, str]:
    return author(run.data.tags), run.info.run_name


def _is_complete(client: MlflowClient, run: Run) -> bool:
    return {item.path for item in client.list_artifacts(run.info.run_id)} >= set(FOLDERS)


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
        found = list(_pages(client, experiment, condition))
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise PipelineError(f"MLflow does not understand '{condition}' ({error.message}). {_FORMS}") from None
    ours = (run for run in found if RUN_KEY in run.data.tags and run.data.tags.get(STAGE) != GRID_STAGE)
    return [run for run in ours if run.info.status == "FINISHED"]


def _pages(client: MlflowClient, experiment: str, condition: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs(
            [experiment], condition, order_by=["attributes.start_time ASC"], max_results=1000, page_token=token
        )
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
