"""Runs brought back from MLflow: the folders that training and evaluation sent there, as they were on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import runs
from pipeline.atomic_io import as_json, read_json, replacing
from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.runs import Evaluation, RunRecord
from pipeline.tracking.artifacts import checksum, listed
from pipeline.tracking.search import FOLDERS, is_latest, read_ids, runs_by_id, search_runs, why_without_files
from pipeline.tracking.skipped_runs import SkippedRun, describe_skipped
from pipeline.tracking.store import answering, open_client, shown, store_is_missing, tracking_uri
from pipeline.tracking.tags import DATA_FINGERPRINT, RUN_KEY, author

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


@dataclass(frozen=True)
class Fetch:
    """The runs that were fetched, oldest first, and those that a search matched but that cannot be shown."""

    runs: list[Fetched]
    skipped: tuple[SkippedRun, ...]


def fetch_runs(
    tracking: Tracking, wanted: str, cache: Path, fingerprint: str, check: Callable[[Fetched], None]
) -> Fetch:
    """Download runs from MLflow; files that were downloaded before and are unchanged are not downloaded again.

    Args:
        tracking: the server, and the experiment to search.
        wanted: ids of runs with commas between; `latest`, the run that began last; or a filter of MLflow's, such as
            `metrics.val_loss_best < 0.4`. A search takes the newest run of each author and name, since earlier ones
            have other parameters or code; runs of other data, or whose files are missing or broken, are skipped.
        cache: the folder to keep the runs in, one folder per run. Weights are not downloaded: no page shows them.
        fingerprint: of the prepared data.
        check: raises `PipelineError` if a page cannot be made of a run's files.

    Raises:
        PipelineError: The server does not answer, no run matches, none of those that match can be shown, or a run
            given by its id cannot.
    """
    uri = tracking_uri(tracking)
    if store_is_missing(uri):
        raise PipelineError(f"MLflow at {shown(uri)} has no runs yet: nothing was trained. Run `make report` first.")
    with answering(uri):
        client = open_client(uri)
        if ids := read_ids(wanted):
            return Fetch(_fetch_ids(client, ids, cache, fingerprint), ())
        return _fetch_newest(client, search_runs(client, tracking, wanted), cache, fingerprint, wanted, check)


def _fetch_ids(client: MlflowClient, ids: list[str], cache: Path, fingerprint: str) -> list[Fetched]:
    fetched = [_fetch(client, run, cache / run.info.run_id) for run in runs_by_id(client, ids)]
    others = [one.record.run for one in fetched if one.record.data_fingerprint != fingerprint]
    if others:
        raise PipelineError(
            f"{', '.join(others)}: trained on other data than {runs.PREPARED} holds now, whose fingerprint is "
            f"{fingerprint[:12]}. Leave out the ids of these runs, or prepare that data again with the parameters of "
            "that time: dvc repro prepare"
        )
    return fetched


def _fetch_newest(
    client: MlflowClient,
    found: list[Run],
    cache: Path,
    fingerprint: str,
    wanted: str,
    check: Callable[[Fetched], None],
) -> Fetch:
    newest: dict[tuple[str, str], Fetched] = {}
    skipped: list[SkippedRun] = []
    for run in reversed(found):
        whose = author(run.data.tags)
        if (whose, run.info.run_name) in newest:
            continue
        fault = ""
        if run.data.tags.get(DATA_FINGERPRINT, fingerprint) == fingerprint:
            try:
                fetched = _fetch(client, run, cache / run.info.run_id)
                check(fetched)
            except PipelineError as error:
                fault = str(error)
            else:
                if fetched.record.data_fingerprint == fingerprint:
                    newest.setdefault((whose, fetched.record.run), fetched)
                    if is_latest(wanted):
                        break
                    continue
        skipped.append(SkippedRun(whose, run.info.run_name, fault))
    if not newest:
        raise PipelineError(
            f"MLflow has no run of the data in {runs.PREPARED} to show for '{wanted.strip()}'.\n"
            + "\n".join(describe_skipped(skipped))
        )
    return Fetch(list(newest.values())[::-1], tuple(skipped))


def _fetch(client: MlflowClient, run: Run, folder: Path) -> Fetched:
    """Download a run; raises `PipelineError` if its files are missing, unreadable or of another training."""
    name = f"MLflow's run {run.info.run_name} ({run.info.run_id})"
    with _explaining(client, run, name):
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
        with _explaining(client, run, name), replacing(folder) as new:
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


@contextlib.contextmanager
def _explaining(client: MlflowClient, run: Run, name: str) -> Iterator[None]:
    """Turn an error about one run's artifacts into a `PipelineError`; pass on one that concerns the whole store.

    Someone may have logged to a place that cannot be reached from here, or removed the files.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, ImportError, FileNotFoundError, PermissionError) as error:
        client.get_run(run.info.run_id)  # raises if the store itself does not answer
        raise PipelineError(
            f"{name}: its files cannot be read ({type(error).__name__}: {shown(str(error))[:200]})."
        ) from None


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
