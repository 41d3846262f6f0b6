"""Runs brought back from MLflow: the folders that training and evaluation sent there, as they were on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.files import as_json, read_json, replacing
from pipeline.params import Tracking
from pipeline.runs import Evaluation, RunRecord
from pipeline.tracking.artifacts import checksum, listed
from pipeline.tracking.search import FOLDERS, wanted_runs, why_without_files
from pipeline.tracking.store import answering, open_client, shown, store_is_missing, tracking_uri
from pipeline.tracking.tags import RUN_KEY, author

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CHECKSUMS = "checksums.json"  # of the files as they were downloaded, beside them


@dataclass(frozen=True)
class Fetched:
    """A run of MLflow on this disk."""

    record: RunRecord
    author: str
    run: Path
    evaluation: Path


def fetch_runs(tracking: Tracking, wanted: str, cache: Path) -> list[Fetched]:
    """Download the runs that are meant, each once: what is there as it was downloaded is not fetched again.

    Args:
        tracking: whose server, and which experiment a search looks into.
        wanted: what `wanted_runs` reads.
        cache: the folder to keep them in, one a run's id. Weights are left where they are: no page shows them.

    Returns:
        The runs, oldest first.

    Raises:
        PipelineError: The server does not answer; what is wanted means no run or too much; a run has no folders, or
            not those of its key.
    """
    uri = tracking_uri(tracking)
    if store_is_missing(uri):
        raise PipelineError(f"MLflow at {shown(uri)} has no runs yet: nothing was trained. Run `make report` first.")
    with answering(uri):
        client = open_client(uri)
        found = wanted_runs(client, tracking, wanted)
        return [_fetch(client, run, cache / run.info.run_id) for run in found]


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
        raise PipelineError(f"{name} has no folder {' and no folder '.join(lacking)}: {why_without_files(run)}.")
    if not _is_whole(folder, files):
        with replacing(folder) as new:
            for path in files:
                (new / path).parent.mkdir(parents=True, exist_ok=True)
                # Stores differ in how much of the path they make below the folder that they are given.
                got = Path(client.download_artifacts(run.info.run_id, path, str((new / path).parent)))
                got.replace(new / path)
            (new / CHECKSUMS).write_text(as_json({path: checksum(new / path) for path in files}), encoding="utf-8")
    fetched = Fetched(RunRecord.read(folder / "run"), author(run.data.tags), folder / "run", folder / "evaluation")
    if Path(fetched.record.run).name != fetched.record.run:
        raise PipelineError(f"{name} calls itself '{fetched.record.run}', which is no name of a run.")
    key = run.data.tags.get(RUN_KEY)
    if not fetched.record.key == key == Evaluation.read(fetched.evaluation).key:
        raise PipelineError(f"{name} holds files of another training than its key says; its training was overwritten.")
    return fetched


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
