"""A run as MLflow stores it, written to so that nothing stands there twice. Whatever the store raises, this raises."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError
from pipeline.tracking.artifacts import DIGEST, are_there, folder_digest
from pipeline.tracking.metric_history import (
    PARAMETER_LENGTH,
    TAG_LENGTH,
    MetricHistory,
    cut,
    flatten,
    metric_name,
    renamed,
    split_finite,
)
from pipeline.tracking.search import search_all
from pipeline.tracking.tags import (
    BEST_OF,
    DATA_FINGERPRINT,
    NONFINITE_METRICS,
    RENAMED,
    REPLACED_BY,
    REPLACES,
    RUN_KEY,
    SEPARATOR,
    TRUNCATED,
    USER,
    user,
)

DATASET_DIGEST = 36  # characters, MLflow's limit

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class Sent:
    """What MLflow got of a run from this process."""

    run: str
    is_new: bool  # MLflow did not have the run
    points: int
    folders: int  # of files


class MlflowRun:
    """A run in MLflow and the points that it holds.

    The same may be sent any number of times, with whatever timestamps: a point that is there is not sent again, so a
    resumed or repeated training, which gives the same numbers, adds what is missing and no more. Points cannot be
    taken back; so where an epoch's numbers differ (a training on another machine), the MLflow run is marked deleted
    and a new one takes its place, with the earlier epochs, on which both agree.
    """

    def __init__(self, client: MlflowClient, run: Run, is_new: bool = False) -> None:
        self.run_id: str = run.info.run_id
        self.name: str = run.info.run_name
        self.status: str = run.info.status  # when it was found or begun
        self.began_ms: int = run.info.start_time
        self._client = client
        self._is_new = is_new
        self._points_sent = self._folders_sent = 0
        self._points = MetricHistory.read(client, run)
        self._digests = {tag: value for tag, value in run.data.tags.items() if tag.startswith(DIGEST)}
        self._noted = {tag: _entries(run.data.tags.get(tag, "")) for tag in (NONFINITE_METRICS, TRUNCATED, RENAMED)}

    @classmethod
    def begin(
        cls, client: MlflowClient, experiment: str, name: str, key: str, began_ms: int | None = None
    ) -> MlflowRun:
        """Find the run by its key, restore it where it is deleted, or create it; its status becomes RUNNING.

        `began_ms` is when a new one began, in milliseconds since 1970; None for now.
        """
        run = search_run(client, experiment, key)
        is_new = run is None
        if run is None:
            run = client.create_run(experiment, start_time=began_ms, run_name=name, tags={RUN_KEY: key})
        elif run.info.lifecycle_stage == "deleted":
            client.restore_run(run.info.run_id)
        client.update_run(run.info.run_id, status="RUNNING", name=name)
        found = cls(client, run, is_new)
        found.status = "RUNNING"
        return found

    @classmethod
    def find(cls, client: MlflowClient, experiment: str, key: str) -> MlflowRun | None:
        """The run with the key, None where there is none or it is deleted."""
        run = search_run(client, experiment, key)
        return cls(client, run) if run is not None and run.info.lifecycle_stage == "active" else None

    @property
    def sent(self) -> Sent:
        """What this process sent so far."""
        return Sent(self.name, self._is_new, self._points_sent, self._folders_sent)

    def send_epochs(self, epochs: Sequence[tuple[int, Mapping[str, float], int]]) -> None:
        """Send epochs, each its number, its values and when it ended (ms), in one batch.

        NaN and infinity are named in a tag instead.
        """
        split = [(epoch, *split_finite(values), ended_ms) for epoch, values, ended_ms in epochs]
        if others := [epoch for epoch, finite, _, _ in split if self._points.contradicts(finite, epoch)]:
            self._replace(min(others))
        noted = self._note(
            NONFINITE_METRICS, [f"{name} at epoch {epoch}" for epoch, _, names, _ in split for name in names]
        )
        noted += self._note(RENAMED, [note for _, values, _ in epochs for note in renamed(values)])
        points = [
            (name, value, ended_ms, epoch)
            for epoch, finite, _, ended_ms in split
            for name, value in self._points.missing(finite, epoch).items()
        ]
        self._send(points, noted)

    def send_values(self, values: Mapping[str, float], timestamp_ms: int | None) -> None:
        """Send values that a run has one of, at step 0; without a timestamp, with that of the run's start.

        A changed value (the evaluation's code did change) gets a later timestamp than the old one, so that it counts.
        """
        finite, others = split_finite(values)
        timestamp_ms = self.began_ms if timestamp_ms is None else timestamp_ms
        points = [(name, value, timestamp_ms, 0) for name, value in self._points.missing(finite, 0).items()]
        points += [
            (name, finite[name], max(timestamp_ms, self._points.timestamp(name, 0) + 1), 0)
            for name in self._points.contradicts(finite, 0)
        ]
        self._send(points, self._note(NONFINITE_METRICS, others) + self._note(RENAMED, renamed(values)))

    def send_folder(self, folder: Path, under: str) -> None:
        """Send a folder's files, subfolders included, where they are not there yet.

        A store tells a file's size and not its content, so a tag holds the checksum of what was sent last.
        """
        tag, digest = f"{DIGEST}{under}", folder_digest(folder)
        if self._digests.get(tag) == digest and are_there(self._client, self.run_id, folder, under):
            return
        try:
            self._client.log_artifacts(self.run_id, str(folder), under)
        except OSError as error:
            location = self._client.get_run(self.run_id).info.artifact_uri
            raise PipelineError(
                f"The files of {self.name} cannot be written to {location} ({error.strerror or error}), where MLflow "
                "keeps them. Make that folder writable and free some space."
            ) from None
        self._client.set_tag(self.run_id, tag, digest)  # when all of it is there
        self._digests[tag] = digest
        self._folders_sent += 1

    def send_dataset(self, title: str, source: str, digest: str) -> None:
        """Log the data that the run was trained on and validated on; `digest` is of the prepared data as a whole."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = []
        for context in ("train", "validation"):
            dataset = Dataset(
                f"{title} ({context})",
                digest[:DATASET_DIGEST],
                source_type="local",
                source=json.dumps({"uri": source}),
            )
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
        self._client.log_inputs(self.run_id, datasets=inputs)

    def describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log the parameters that are not there yet, and set the tags."""
        from mlflow.entities import Param, RunTag

        # MLflow refuses a parameter that changes. The run key holds their values, so only their wording can differ.
        there = self._client.get_run(self.run_id).data.params
        shorter, long_parameters = cut(flatten(parameters), PARAMETER_LENGTH)
        named = {metric_name(name): value for name, value in shorter.items()}
        short_tags, long_tags = cut(tags, TAG_LENGTH)
        noted = self._note(
            TRUNCATED, [f"parameter {name}" for name in long_parameters] + [f"tag {name}" for name in long_tags]
        )
        self._client.log_batch(
            self.run_id,
            params=[Param(name, value) for name, value in named.items() if name not in there],
            tags=[RunTag(name, value) for name, value in short_tags.items()]
            + noted
            + self._note(RENAMED, renamed(shorter)),
        )

    def end(self, status: str, ended_ms: int | None = None) -> None:
        """Set how the run ended, and when: in milliseconds since 1970, None for now."""
        self._client.set_terminated(self.run_id, status, ended_ms)

    def _send(self, points: Sequence[tuple[str, float, int, int]], tags: Sequence[Any] = ()) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(*point) for point in points]
        if metrics or tags:
            self._client.log_batch(self.run_id, metrics=metrics, tags=tags)
            self._points.add(metrics)
            self._points_sent += len(metrics)

    def _note(self, tag: str, entries: Sequence[str]) -> list[Any]:
        """The tag with these entries beside the earlier ones, no tag where it holds them."""
        from mlflow.entities import RunTag

        new = [entry for entry in dict.fromkeys(entries) if entry not in self._noted[tag]]
        self._noted[tag] += new
        text, _ = cut({tag: SEPARATOR.join(self._noted[tag])}, TAG_LENGTH)
        return [RunTag(tag, text[tag])] if new else []

    def _replace(self, epoch: int) -> None:
        """A new run in this one's place, with its parameters, tags, and epochs before `epoch`.

        Artifacts stay with the old one: they are a training's end, and this one is in the middle. Where that is
        somebody else's run, it stays as it is, and the new one stands beside it: two people's machines may differ.
        """
        from mlflow.entities import Param

        old = self._client.get_run(self.run_id)
        mine = _is_mine(old)
        about = old.data.tags.keys() - {BEST_OF, NONFINITE_METRICS, REPLACED_BY, *self._digests}
        tags = {name: old.data.tags[name] for name in sorted(about)}
        tags |= {REPLACES: old.info.run_id} if mine else {USER: user()}
        new = self._client.create_run(old.info.experiment_id, run_name=old.info.run_name, tags=tags)
        kept = self._points.between(1, epoch)
        self._client.log_batch(
            new.info.run_id,
            metrics=kept,
            params=[Param(name, value) for name, value in old.data.params.items()],
        )
        self._client.update_run(new.info.run_id, status=old.info.status)
        if mine:
            # The old one last: killed before this, the newer of two runs with the key is found.
            self._client.set_tag(old.info.run_id, REPLACED_BY, new.info.run_id)
            self._client.delete_run(old.info.run_id)
        self.run_id, self._points, self._noted[NONFINITE_METRICS] = new.info.run_id, MetricHistory(kept), []
        self.began_ms = new.info.start_time
        self._is_new, self.status = True, "RUNNING"  # to whoever sends it: it has not ended yet
        self._digests.clear()


def search_run(client: MlflowClient, experiment: str, key: str) -> Run | None:
    """Return the run with the key, as `_choose` does; it may be deleted."""
    from mlflow.entities import ViewType

    runs = client.search_runs(
        [experiment], f"tags.`{RUN_KEY}` = '{key}'", ViewType.ALL, order_by=["attributes.start_time DESC"]
    )
    return _choose(runs)


def runs_by_key(client: MlflowClient, experiment: str, fingerprint: str) -> dict[str, Run]:
    """Return the runs on some data by run key, as `_choose` does, without deleted ones."""
    found: dict[str, list[Run]] = {}
    for run in search_all(client, experiment, f"tags.`{DATA_FINGERPRINT}` = '{fingerprint}'", "DESC"):
        found.setdefault(run.data.tags.get(RUN_KEY, ""), []).append(run)
    return {key: chosen for key, several in found.items() if (chosen := _choose(several))}


def _choose(found: Sequence[Run]) -> Run | None:
    """Choose among the runs with one key, the newest first: the user's own before others, active before deleted ones.

    A run that was replaced is never chosen.
    """
    candidates = [run for run in found if REPLACED_BY not in run.data.tags]
    return min(candidates, key=lambda run: (not _is_mine(run), run.info.lifecycle_stage != "active"), default=None)


def update_tags(client: MlflowClient, run: Run, tags: Mapping[str, str]) -> None:
    """Set those of the tags that differ from what the run has."""
    from mlflow.entities import RunTag

    shorter, _ = cut(tags, TAG_LENGTH)
    changed = [RunTag(name, value) for name, value in shorter.items() if run.data.tags.get(name) != value]
    if changed:
        client.log_batch(run.info.run_id, tags=changed)


def _is_mine(run: Run) -> bool:
    return run.data.tags.get(USER, user()) == user()


def _entries(text: str) -> list[str]:
    return text.split(SEPARATOR) if text else []
