"""Runs brought back from MLflow: the folders that training and evaluation sent there, as they were on disk."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.files import as_json, read_json, replacing
from pipeline.params import Tracking
from pipeline.runs import Evaluation, RunRecord
from pipeline.tracking.artifacts import checksum, listed
from pipeline.tracking.store import answering, open_client, shown, store_is_missing, tracking_uri
from pipeline.tracking.tags import GRID_STAGE, RUN_KEY, STAGE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FOLDERS = ("run", "evaluation")  # among a run's artifacts
CHECKSUMS = "checksums.json"  # of the files as they were downloaded, beside them
LISTED = 12  # runs in a complaint
_ID = re.compile(r"[0-9a-f]{32}")
_FORMS = (
    "Give latest, ids of 32 hexadecimal digits with commas between, or a filter of MLflow's such as "
    "metrics.val_loss_best < 0.4 or params.variant = 'unet' and tags.`pipeline.status` = 'finished'."
)


@dataclass(frozen=True)
class Fetched:
    """A run of MLflow on this disk."""

    record: RunRecord
    run: Path
    evaluation: Path


def fetch_runs(tracking: Tracking, wanted: str, cache: Path) -> list[Fetched]:
    """Download the runs that are meant, each once: what is there as it was downloaded is not fetched again.

    Args:
        tracking: whose server, and which experiment a search looks into.
        wanted: `latest`, the run that began last; ids of runs with commas between; or a filter of MLflow's, such as
            `metrics.val_loss_best < 0.4`. A search takes the newest evaluated run of each name: earlier ones are of
            other parameters, data or code.
        cache: the folder to keep them in, one a run's id. Weights are left where they are: no page shows them.

    Returns:
        The runs, oldest first.

    Raises:
        PipelineError: The server does not answer; no run is meant, or by ids several of one name; a run has no
            folders, or not those of its key.
    """
    uri = tracking_uri(tracking)
    if store_is_missing(uri):
        raise PipelineError(f"MLflow at {shown(uri)} has no runs yet: nothing was trained. Run `make report` first.")
    ids = [part.strip().lower() for part in wanted.split(",") if part.strip()]
    if not ids:
        raise PipelineError(f"mlflow: names no run. {_FORMS}")
    with answering(uri):
        client = open_client(uri)
        if all(_ID.fullmatch(part) for part in ids):
            found = [_by_id(client, run_id) for run_id in dict.fromkeys(ids)]
            _check_names(found)
        else:
            found = _searched(client, tracking, wanted.strip())
        return [_fetch(client, run, cache / run.info.run_id) for run in found]


def _searched(client: MlflowClient, tracking: Tracking, wanted: str) -> list[Run]:
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        names = ", ".join(sorted(one.name for one in client.search_experiments(max_results=LISTED)))
        raise PipelineError(f"MLflow has no experiment '{tracking.experiment}'; there is {names}.")
    is_latest = wanted.lower() == "latest"
    meant = _ours(client, experiment.experiment_id, "" if is_latest else wanted)
    if not meant:
        return _nothing(client, experiment.experiment_id, wanted)
    # Training sends one folder and evaluation the other: a run may have come no further than the first.
    complete = (run for run in reversed(meant) if _is_complete(client, run))
    found = list(itertools.islice(complete, 1)) if is_latest else _newest(list(complete)[::-1])
    if not found:
        raise PipelineError(f"MLflow has no files of {meant[-1].info.run_name}: {_reason(meant[-1])}.")
    return found


def _newest(found: list[Run]) -> list[Run]:
    """Of runs of one name the last."""
    by_name = {run.info.run_name: run for run in found}
    return [run for run in found if run is by_name[run.info.run_name]]


def _is_complete(client: MlflowClient, run: Run) -> bool:
    return {item.path for item in client.list_artifacts(run.info.run_id)} >= set(FOLDERS)


def _by_id(client: MlflowClient, run_id: str) -> Run:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id)
    except MlflowException:
        raise PipelineError(f"MLflow has no run {run_id}. Its page shows its id; `make ui` opens the list.") from None


def _ours(client: MlflowClient, experiment: str, condition: str) -> list[Run]:
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
    there = sorted({run.info.run_name for run in _ours(client, experiment, "")})
    rest = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
    known = f"finished are {', '.join(there[:LISTED])}{rest}" if there else "none has finished yet"
    raise PipelineError(f"MLflow has no finished run for '{wanted.strip()}'; {known}.")


def _check_names(found: list[Run]) -> None:
    ids: dict[str, list[str]] = {}
    for run in found:
        ids.setdefault(run.info.run_name, []).append(run.info.run_id)
    for name, several in ids.items():
        if len(several) > 1:
            raise PipelineError(
                f"{len(several)} runs are named {name}: {', '.join(several)}. They are of other parameters, data or "
                "code; give one of them."
            )


def _fetch(client: MlflowClient, run: Run, folder: Path) -> Fetched:
    name = f"MLflow's run {run.info.run_name} ({run.info.run_id})"
    files = {
        path: size
        for part in FOLDERS
        for path, size in listed(client, run.info.run_id, part)
        if not path.endswith(f"/{runs.WEIGHTS}")
    }
    if odd := next((path for path in files if ".." in Path(path).parts or Path(path).is_absolute()), None):
        raise PipelineError(f"{name} has a file '{odd}', which would lie outside of its folder; it is not fetched.")
    if lacking := sorted(set(FOLDERS) - {path.partition("/")[0] for path in files}):
        raise PipelineError(f"{name} has no folder {' and no folder '.join(lacking)}: {_reason(run)}.")
    if not _is_whole(folder, files):
        with replacing(folder) as new:
            for path in files:
                (new / path).parent.mkdir(parents=True, exist_ok=True)
                # Stores differ in how much of the path they make below the folder that they are given.
                got = Path(client.download_artifacts(run.info.run_id, path, str((new / path).parent)))
                got.replace(new / path)
            (new / CHECKSUMS).write_text(as_json({path: checksum(new / path) for path in files}), encoding="utf-8")
    fetched = Fetched(RunRecord.read(folder / "run"), folder / "run", folder / "evaluation")
    if Path(fetched.record.run).name != fetched.record.run:
        raise PipelineError(f"{name} calls itself '{fetched.record.run}', which is no name of a run.")
    key = run.data.tags.get(RUN_KEY)
    if not fetched.record.key == key == Evaluation.read(fetched.evaluation).key:
        raise PipelineError(f"{name} holds files of another training than its key says; its training was overwritten.")
    return fetched


def _reason(run: Run) -> str:
    """Why a run may lack its files."""
    place = urlsplit(run.info.artifact_uri)
    if place.scheme in ("", "file") and not Path(unquote(place.path)).exists():
        return (
            f"its files were in {unquote(place.path)}, which is not there any more. MLflow does not follow a folder "
            "that was moved; move it back"
        )
    return "it was not evaluated, or not trained by this project"


def _is_whole(folder: Path, files: dict[str, int | None]) -> bool:
    """Whether a run lies there as it was downloaded, and MLflow has nothing newer of it."""
    try:
        known = read_json(folder / CHECKSUMS, "pipeline report")
        return known.keys() == files.keys() and all(
            size in (None, (folder / path).stat().st_size) and checksum(folder / path) == known[path]
            for path, size in files.items()
        )
    except (OSError, PipelineError):
        return False
