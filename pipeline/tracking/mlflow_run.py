"""Upload runs to MLflow idempotently: repeated uploads store each metric value, parameter and file only once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pipeline.artifacts.folder import hash_file
from pipeline.artifacts.project import CACHE, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.runtime.shutdown import hold
from pipeline.tracking.metric_history import MetricHistory
from pipeline.tracking.mlflow_limits import (
    MAX_PARAMETER_LENGTH,
    MAX_TAG_LENGTH,
    describe_renamed,
    flatten,
    split_finite,
    to_mlflow_name,
    truncate,
)
from pipeline.tracking.run_content import DataSummary, EpochMetrics, RunContent
from pipeline.tracking.run_images import IMAGES, RunImages
from pipeline.tracking.search import search_all
from pipeline.tracking.store import StoreError
from pipeline.tracking.tags import (
    BEST_OF,
    LOGGED_IMAGES,
    NONFINITE_METRICS,
    RENAMED,
    REPLACED_BY,
    REPLACES,
    RUN_KEY,
    SEPARATOR,
    TRUNCATED,
    USER,
    get_user,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LOCK = CACHE / "mlflow.lock"  # in the project's folder
DIGEST = "pipeline.sha256."  # prefix of a tag, followed by the name of an artifact folder
_DATASET_DIGEST_LENGTH = 36  # characters, MLflow's limit


@contextlib.contextmanager
def upload_lock(project: Project, timeout_seconds: float = -1) -> Iterator[None]:
    """Hold the project's lock for uploads, so that two processes do not create the same run.

    Raises:
        StoreError: Another process still holds the lock after `timeout_seconds`. If negative, there is no limit.
    """
    path = project.original_home / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with hold(FileLock(path, timeout=timeout_seconds)):
            yield
    except Timeout:
        raise StoreError(
            f"Another process is uploading runs to MLflow and holds the lock {path}. Try again when it has ended."
        ) from None


class MlflowRun:
    """A run in MLflow and its current content, so that an upload sends only what is missing.

    Resuming or repeating a run gives the same metric values, which are not sent again. If an epoch's values differ, for
    example after training on another machine, the run is deleted in MLflow and replaced by a new one, because metric
    values cannot be removed. The epochs before the first difference are copied to the new run.

    All methods raise MLflow and database errors unchanged.
    """

    def __init__(self, client: MlflowClient, run: Run, is_new: bool = False) -> None:
        self.run_id: str = run.info.run_id
        self.name: str = run.info.run_name
        self.status: str = run.info.status
        self.is_new = is_new
        self.num_points = self.num_folders = 0  # metric values and artifact folders uploaded by this object
        self._client = client
        self._began_ms: int = run.info.start_time
        self._run = run
        self._parameters: set[str] = set(run.data.params)
        self._tags: dict[str, str] = dict(run.data.tags)
        inputs = run.inputs.dataset_inputs if run.inputs else ()
        self._datasets = {(item.dataset.name, item.dataset.digest) for item in inputs}

    @functools.cached_property
    def _history(self) -> MetricHistory:
        return MetricHistory.read(self._client, self._run)  # slow: one request per metric

    @classmethod
    def find(cls, client: MlflowClient, experiment: str, key: str) -> MlflowRun | None:
        """Find a run by its key; return None if MLflow has no such run, or it is deleted."""
        run = search_run(client, experiment, key)
        return cls(client, run) if run is not None and run.info.lifecycle_stage == "active" else None

    @classmethod
    def open(cls, client: MlflowClient, experiment: str, content: RunContent) -> MlflowRun:
        """Find a run by its key and restore it if it is deleted, or create it. The caller must hold `upload_lock`."""
        run = search_run(client, experiment, content.key)
        if run is None:
            # Set all tags now, so that a run whose process is killed before its first upload has its author and data.
            tags, _ = truncate({**content.creation_tags, **content.tags, RUN_KEY: content.key}, MAX_TAG_LENGTH)
            created = client.create_run(experiment, start_time=content.began_ms, run_name=content.name, tags=tags)
            return cls(client, created, is_new=True)
        if run.info.lifecycle_stage == "deleted":
            client.restore_run(run.info.run_id)
        return cls(client, run)

    def upload(self, content: RunContent) -> None:
        """Upload the content that MLflow does not have, then set the status. The caller must hold `upload_lock`.

        Raises:
            StoreError: Files cannot be written.
            PipelineError: The run was trained again since it was described. Its files then count as missing in MLflow.
        """
        if content.status == "RUNNING" != self.status or content.name != self.name:
            status = "RUNNING" if content.status == "RUNNING" else self.status
            self._client.update_run(self.run_id, status=status, name=content.name)
            self.status, self.name = status, content.name
        summary = EpochMetrics(0, content.metrics, content.ended_ms)  # metrics with one value per run are at step 0
        steps = () if self._is_uploaded(content) else (*content.epochs, summary)
        changed = [step.number for step in steps if step.number and self._find_changed(step)]
        if changed:
            self._replace(min(changed))
        self._upload_batch(content, steps)
        if content.data is not None:
            self._upload_dataset(content.data)
        try:
            for folder, files in content.files.items():
                self.upload_files(folder, files, content.require_current)
            if content.images is not None:
                self._upload_images(content.images, content.require_current)
        finally:  # the store may refuse a file but accept the status
            if content.status not in ("RUNNING", self.status):
                ended_ms = self._began_ms if content.ended_ms is None else content.ended_ms
                self._client.set_terminated(self.run_id, content.status, ended_ms)
                self.status = content.status

    def _is_uploaded(self, content: RunContent) -> bool:
        """Return whether MLflow has the finished run with the same files and all final metrics.

        Files are always uploaded last. Final metrics may be missing nevertheless, because some need the images of the
        run's data, which may not have been the prepared data at the first upload.
        """
        if not (content.status == self.status == "FINISHED" and content.files):
            return False
        if not split_finite(content.metrics)[0].keys() <= self._run.data.metrics.keys():
            return False
        return all(self._tags.get(f"{DIGEST}{folder}") == hash_files(files) for folder, files in content.files.items())

    def _find_changed(self, step: EpochMetrics) -> dict[str, float]:
        return self._history.find_changed(split_finite(step.metrics)[0], step.number)

    def _upload_batch(self, content: RunContent, steps: Sequence[EpochMetrics]) -> None:
        """Upload new parameters, changed tags and missing metric values in one request.

        Existing parameters are not sent, because MLflow refuses to change them. Their values are part of the run key,
        so only their format could differ. A changed metric at step 0, for example after a change to the evaluation
        code, is sent with a later timestamp than the old value, so that MLflow shows the new one.
        """
        from mlflow.entities import Metric, Param, RunTag

        values, long_parameters = truncate(flatten(content.parameters), MAX_PARAMETER_LENGTH)
        tags, long_tags = truncate(content.tags, MAX_TAG_LENGTH)
        named = {to_mlflow_name(name): value for name, value in values.items()}
        params = [Param(name, value) for name, value in named.items() if name not in self._parameters]
        truncated = [*(f"parameter {name}" for name in long_parameters), *(f"tag {name}" for name in long_tags)]
        renamed, nonfinite, metrics = describe_renamed(values), list[str](), list[Metric]()
        for step in steps:
            finite, others = split_finite(step.metrics)
            renamed += describe_renamed(step.metrics)
            nonfinite += [f"{name} at epoch {step.number}" if step.number else name for name in others]
            timestamp = self._began_ms if step.ended_ms is None else step.ended_ms
            for name, value in self._history.find_missing(finite, step.number).items():
                metrics.append(Metric(name, value, timestamp, step.number))
            for name, value in self._find_changed(step).items():
                later = max(timestamp, self._history.get_timestamp(name, step.number) + 1)
                metrics.append(Metric(name, value, later, step.number))
        for name, entries in ((TRUNCATED, truncated), (RENAMED, renamed), (NONFINITE_METRICS, nonfinite)):
            tags[name] = self._extend_tag(name, entries)
        tags = {name: text for name, text in tags.items() if text != self._tags.get(name, "")}
        if params or tags or metrics:
            run_tags = [RunTag(name, text) for name, text in tags.items()]
            self._client.log_batch(self.run_id, metrics, params, run_tags)
            self._parameters |= {param.key for param in params}
            self._tags |= tags
            if metrics:
                self._history.add(metrics)
                self.num_points += len(metrics)

    def upload_files(self, folder: str, files: Mapping[str, Path], check: Callable[[], None] = lambda: None) -> None:
        """Upload files, keyed by their path in an artifact folder, unless MLflow already has them.

        MLflow reports the sizes of files but not their hashes, so a tag records the hash of the last upload. The tag is
        not set if `check` raises an error, which is called before and after the upload.
        """
        tag, digest = f"{DIGEST}{folder}", hash_files(files)
        if self._tags.get(tag) == digest and self._has_files(folder, files):
            return
        with self._artifact_errors(check):
            for name, path in files.items():
                self._client.log_artifact(self.run_id, str(path), str(PurePosixPath(folder, name).parent))
        self._client.set_tag(self.run_id, tag, digest)
        self._tags[tag] = digest
        self.num_folders += 1

    def _upload_images(self, images: RunImages, check: Callable[[], None]) -> None:
        """Upload the images, unless MLflow already has them; a changed image overwrites the one with the same name."""
        tag, digest = f"{DIGEST}{IMAGES}", images.digest
        if self._tags.get(tag) == digest:
            found = {PurePosixPath(path).name for path, _ in list_artifacts(self._client, self.run_id, IMAGES)}
            if images.files <= found:
                return
        with self._artifact_errors(check), tempfile.TemporaryDirectory() as folder:
            images.write(Path(folder))
            self._client.log_artifacts(self.run_id, folder, IMAGES)
        for name, text in ((LOGGED_IMAGES, "True"), (tag, digest)):
            self._client.set_tag(self.run_id, name, text)
            self._tags[name] = text
        self.num_folders += 1

    @contextlib.contextmanager
    def _artifact_errors(self, check: Callable[[], None]) -> Iterator[None]:
        """Call `check` before and after the block, and turn an `OSError` into a `StoreError` with the location."""
        check()
        try:
            yield
        except OSError as error:
            check()  # a file may be missing because the run was trained again
            location = self._client.get_run(self.run_id).info.artifact_uri
            raise StoreError(
                f"The files of {self.name} cannot be written to MLflow's artifact location {location} "
                f"({error.strerror or error}). Make that folder writable, and free space if the disk is full."
            ) from None
        check()

    def _has_files(self, folder: str, files: Mapping[str, Path]) -> bool:
        found = dict(list_artifacts(self._client, self.run_id, folder))
        return all(found.get(f"{folder}/{name}", -1) in (None, path.stat().st_size) for name, path in files.items())

    def _upload_dataset(self, data: DataSummary) -> None:
        """Log the data that the run was trained and validated on, with the fingerprint of all prepared data."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source, digest = json.dumps({"uri": data.source}), data.fingerprint[:_DATASET_DIGEST_LENGTH]
        for context in ("train", "validation"):
            dataset = Dataset(f"{data.title} ({context})", digest, source_type="local", source=source)
            if (dataset.name, digest) not in self._datasets:
                tag = InputTag("mlflow.data.context", context)
                self._client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, [tag])])
                self._datasets.add((dataset.name, digest))

    def _extend_tag(self, name: str, entries: Sequence[str]) -> str:
        """Return a tag's value with its missing entries appended."""
        text = self._tags.get(name, "")
        known = text.split(SEPARATOR) if text else []
        new = [entry for entry in dict.fromkeys(entries) if entry not in known]
        return truncate({name: SEPARATOR.join(known + new)}, MAX_TAG_LENGTH)[0][name]

    def _replace(self, epoch: int) -> None:
        """Replace this run by a new one with the same parameters, tags, and epochs before `epoch`.

        Artifacts are not copied, because they belong to the finished training. Another user's run is not deleted,
        because different machines may give different numbers; the new run is added beside it.
        """
        from mlflow.entities import Param

        old = self._client.get_run(self.run_id)
        is_mine = _is_mine(old)
        outdated = {BEST_OF, NONFINITE_METRICS, REPLACED_BY}
        tags = {
            name: text
            for name, text in sorted(old.data.tags.items())
            if name not in outdated and not name.startswith(DIGEST)
        }
        tags |= {REPLACES: old.info.run_id} if is_mine else {USER: get_user()}
        new = self._client.create_run(old.info.experiment_id, run_name=old.info.run_name, tags=tags)
        kept = self._history.select(1, epoch)
        params = [Param(name, value) for name, value in old.data.params.items()]
        self._client.log_batch(new.info.run_id, metrics=kept, params=params)
        if is_mine:
            # Delete the old run last: if this process is killed before that, the newer of the two runs is found.
            self._client.set_tag(old.info.run_id, REPLACED_BY, new.info.run_id)
            self._client.delete_run(old.info.run_id)
        self.run_id, self.status, self.is_new = new.info.run_id, new.info.status, True
        self._began_ms, self._tags, self._history = new.info.start_time, dict(new.data.tags), MetricHistory(kept)
        self._datasets = set()


def search_run(client: MlflowClient, experiment: str, key: str) -> Run | None:
    """Find the run with this key; `_choose` decides between several. The run may be deleted."""
    condition = f"tags.`{RUN_KEY}` = '{key}'"
    return _choose(list(search_all(client, experiment, condition, "DESC", with_deleted=True)))


def _choose(found: Sequence[Run]) -> Run | None:
    """Choose one of several runs with the same key, given newest first.

    This user's runs are preferred to other users', then active runs to deleted ones, then newer runs to older ones. A
    replaced run is never chosen.
    """
    candidates = [run for run in found if REPLACED_BY not in run.data.tags]
    return min(candidates, key=lambda run: (not _is_mine(run), run.info.lifecycle_stage != "active"), default=None)


def _is_mine(run: Run) -> bool:
    return run.data.tags.get(USER, get_user()) == get_user()


def hash_files(files: Mapping[str, Path]) -> str:
    """Return the hexadecimal SHA-256 of the names and contents of files, excluding `timing.json`.

    A run that DVC restored has no `timing.json`, but counts as equal to the uploaded run, which has one.
    """
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        if name != RunFolder.TIMING:
            digest.update(f"{name}\0{hash_file(path)}\0".encode())
    return digest.hexdigest()


def list_artifacts(client: MlflowClient, run_id: str, folder: str) -> Iterator[tuple[str, int | None]]:
    """Yield the path and the size in bytes (None if unknown) of each file in an artifact folder and its subfolders."""
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from list_artifacts(client, run_id, item.path)
        else:
            yield item.path, item.file_size
