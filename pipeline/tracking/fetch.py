"""Download the run and evaluation folders of runs from MLflow."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.folder import hash_file
from pipeline.artifacts.project import PREPARED
from pipeline.artifacts.run_folder import RunFolder, RunRecord
from pipeline.atomic_io import atomic_directory, to_json
from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.tracking.mlflow_run import list_artifacts
from pipeline.tracking.search import (
    FOLDERS,
    MAX_NAMED,
    explain_missing_files,
    get_runs,
    is_latest,
    read_ids,
    search_runs,
)
from pipeline.tracking.store import get_tracking_uri, hide_passwords, is_store_missing, open_client, store_errors
from pipeline.tracking.tags import DATA_FINGERPRINT, RUN_KEY, get_author
from pipeline.wording import join_names, pluralize

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CHECKSUMS = "checksums.json"  # SHA-256 of each downloaded file, in the same folder


@dataclass(frozen=True)
class FetchedRun:
    """A downloaded run."""

    record: RunRecord
    author: str
    run: Path
    evaluation: Path


def fetch_runs(
    tracking: Tracking, query: str, cache: Path, fingerprint: str, check: Callable[[FetchedRun], None]
) -> tuple[list[FetchedRun], tuple[str, ...]]:
    """Download runs from MLflow, unless an unchanged copy is in the cache.

    Weights are not downloaded, because no page shows them. If a search matches several runs with the same author and
    name, only the newest is returned, because the others differ in parameters or code. Matching runs that were trained
    on different data, or whose files are missing or broken, are skipped.

    Args:
        tracking: the server, and the experiment to search.
        query: comma-separated run ids; `latest` for the run that started last; or an MLflow search filter, such as
            `metrics.val_loss_best < 0.4`.
        cache: the folder of downloaded runs, with one folder per run.
        fingerprint: fingerprint of the prepared data.
        check: raises `PipelineError` if a run's files are unfit for a report.

    Returns:
        The runs, oldest first, and sentences that name the skipped runs and the reasons.

    Raises:
        PipelineError: The server does not answer, no run matches, no matching run can be shown, or a run requested by
            id cannot be shown.
    """
    uri = get_tracking_uri(tracking)
    if is_store_missing(uri):
        raise PipelineError(f"MLflow at {hide_passwords(uri)} has no runs. Train some: make report")
    with store_errors(uri):
        client = open_client(uri)
        if ids := read_ids(query):
            return _fetch_ids(client, ids, cache, fingerprint), ()
        return _fetch_newest(client, search_runs(client, tracking, query), cache, fingerprint, query, check)


def _fetch_ids(client: MlflowClient, ids: list[str], cache: Path, fingerprint: str) -> list[FetchedRun]:
    fetched = [_fetch(client, run, cache / run.info.run_id) for run in get_runs(client, ids)]
    others = [one.record.run for one in fetched if one.record.data_fingerprint != fingerprint]
    if others:
        raise PipelineError(
            f"{', '.join(others)}: not trained on the data in {PREPARED} (fingerprint {fingerprint[:12]}). Leave out "
            "the ids of these runs, or restore their data parameters in params.yaml and run: dvc repro prepare"
        )
    return fetched


def _fetch_newest(
    client: MlflowClient,
    found: list[Run],
    cache: Path,
    fingerprint: str,
    query: str,
    check: Callable[[FetchedRun], None],
) -> tuple[list[FetchedRun], tuple[str, ...]]:
    newest: dict[tuple[str, str], FetchedRun] = {}
    other_data: dict[str, list[str]] = {}  # runs by author
    faults: list[str] = []
    for run in reversed(found):
        author, name = get_author(run.data.tags), run.info.run_name
        if (author, name) in newest:
            continue
        has_data = run.data.tags.get(DATA_FINGERPRINT, fingerprint) == fingerprint
        try:
            fetched = _fetch(client, run, cache / run.info.run_id) if has_data else None
            if fetched:
                check(fetched)
        except PipelineError as error:
            faults.append(f"{name} of {author} was skipped: {error}")
            continue
        if fetched is None or fetched.record.data_fingerprint != fingerprint:
            other_data.setdefault(author, []).append(name)
            continue
        newest.setdefault((author, fetched.record.run), fetched)
        if is_latest(query):
            break
    skipped = _describe_skipped(other_data, faults)
    if not newest:
        raise PipelineError(
            f"MLflow has no run on the data in {PREPARED} to show for '{query.strip()}'.\n" + "\n".join(skipped)
        )
    return list(newest.values())[::-1], skipped


def _fetch(client: MlflowClient, run: Run, folder: Path) -> FetchedRun:
    """Download a run; raise `PipelineError` if its files are missing, unreadable or from another training run."""
    name = f"MLflow run {run.info.run_name} ({run.info.run_id})"
    with _explain_errors(client, run, name):
        files = {
            path: size
            for part in FOLDERS
            for path, size in list_artifacts(client, run.info.run_id, part)
            if not path.endswith(f"/{RunFolder.WEIGHTS}")
        }
    if odd := next((path for path in files if ".." in Path(path).parts or Path(path).is_absolute()), None):
        raise PipelineError(f"{name} has a file '{odd}' with a path outside the run's folder. Nothing was downloaded.")
    if missing := sorted(set(FOLDERS) - {path.partition("/")[0] for path in files}):
        raise PipelineError(f"{name} has no folder {' and no folder '.join(missing)}: {explain_missing_files(run)}.")
    if not _is_downloaded(folder, files):
        with _explain_errors(client, run, name), atomic_directory(folder) as new:
            for path in files:
                (new / path).parent.mkdir(parents=True, exist_ok=True)
                # Stores differ in how much of the path they create below the given folder.
                downloaded = Path(client.download_artifacts(run.info.run_id, path, str((new / path).parent)))
                downloaded.replace(new / path)
            (new / CHECKSUMS).write_text(to_json({path: hash_file(new / path) for path in files}), encoding="utf-8")
    fetched = FetchedRun(
        RunFolder(folder / "run").record, get_author(run.data.tags), folder / "run", folder / "evaluation"
    )
    if Path(fetched.record.run).name != fetched.record.run:
        raise PipelineError(
            f"{name} has the name '{fetched.record.run}' in {RunFolder.RECORD}, which is not a valid run name."
        )
    key = run.data.tags.get(RUN_KEY)
    if not fetched.record.key == key == EvaluationFolder(fetched.evaluation).metrics.key:
        raise PipelineError(
            f"{name} was overwritten: its files and its tag {RUN_KEY} are from different training runs. Use another."
        )
    return fetched


@contextlib.contextmanager
def _explain_errors(client: MlflowClient, run: Run, name: str) -> Iterator[None]:
    """Turn errors about one run's artifacts into `PipelineError`; raise errors about the whole store unchanged.

    Artifacts may have been removed, or be in a location that this machine cannot reach.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, ImportError, FileNotFoundError, PermissionError) as error:
        client.get_run(run.info.run_id)  # raises if the store itself does not answer
        raise PipelineError(
            f"{name}: its files cannot be read ({type(error).__name__}: {hide_passwords(str(error))[:200]})."
        ) from None


def _is_downloaded(folder: Path, files: dict[str, int | None]) -> bool:
    """Return whether a folder has all files of a run, unchanged since the download and as large as in MLflow."""
    try:
        known = json.loads((folder / CHECKSUMS).read_bytes())
        return known == {path: hash_file(folder / path) for path in files} and all(
            size in (None, (folder / path).stat().st_size) for path, size in files.items()
        )
    except (OSError, ValueError):
        return False


def _describe_skipped(other_data: Mapping[str, Sequence[str]], faults: Sequence[str]) -> tuple[str, ...]:
    """Describe skipped runs: one sentence for all runs on different data, and one for each run with broken files."""
    sentences = []
    if count := sum(map(len, other_data.values())):
        runs = pluralize(count, "run was", "runs were")
        authors = [f"{author} ({join_names(names, MAX_NAMED)})" for author, names in sorted(other_data.items())]
        sentences.append(
            f"{runs} skipped, because {PREPARED} contains different data: {join_names(authors, MAX_NAMED)}."
        )
    sentences += faults[:MAX_NAMED]
    if len(faults) > MAX_NAMED:
        sentences.append(f"{len(faults) - MAX_NAMED} more runs were skipped, because their files are broken.")
    return tuple(sentences)
