"""A run as MLflow stores it, written to so that nothing stands there twice. Whatever the store raises, this raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tracking.points import PARAMETER_LENGTH, TAG_LENGTH, Points, cut, flatten, split_finite
from pipeline.tracking.tags import CUT, LEFT_OUT, REPLACED_BY, REPLACES, RUN_KEY

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


class StoredRun:
    """A run in MLflow and the points that it holds.

    The same may be sent any number of times, with whatever timestamps: a point that is there is not sent again, so a
    resumed or repeated training, which gives the same numbers, adds what is missing and no more. Points cannot be
    taken back; so where an epoch's numbers differ (a training on another machine), the MLflow run is marked deleted
    and a new one takes its place, with the earlier epochs, on which both agree.
    """

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self.run_id: str = run.info.run_id
        self.name: str = run.info.run_name
        self.status: str = run.info.status  # when it was found
        self._client = client
        self._points = Points.read(client, run)
        self._noted = {tag: _entries(run.data.tags.get(tag, "")) for tag in (LEFT_OUT, CUT)}

    @classmethod
    def begin(cls, client: MlflowClient, experiment: str, name: str, key: str) -> StoredRun:
        """Find the run by its key, restore it where it is deleted, or create it; its status becomes RUNNING."""
        run = _search(client, experiment, key)
        if run is None:
            run = client.create_run(experiment, run_name=name, tags={RUN_KEY: key})
        elif run.info.lifecycle_stage == "deleted":
            client.restore_run(run.info.run_id)
        client.update_run(run.info.run_id, status="RUNNING", name=name)
        return cls(client, run)

    @classmethod
    def find(cls, client: MlflowClient, experiment: str, key: str) -> StoredRun | None:
        """The run with the key, None where there is none or it is deleted."""
        run = _search(client, experiment, key)
        return cls(client, run) if run is not None and run.info.lifecycle_stage == "active" else None

    def send_epoch(self, epoch: int, values: Mapping[str, float], timestamp_ms: int) -> None:
        """Send an epoch's values in one batch; NaN and infinity are named in a tag instead."""
        finite, others = split_finite(values)
        if self._points.contradicts(finite, epoch):
            self._replace(epoch)
        noted = self._note(LEFT_OUT, [f"{name} at epoch {epoch}" for name in others])
        self._send(self._points.missing(finite, epoch), epoch, timestamp_ms, noted)

    def send_values(self, values: Mapping[str, float], timestamp_ms: int) -> None:
        """Send values that a run has one of, at step 0.

        A changed value (the evaluation's code did change) gets a later timestamp than the old one, so that it counts.
        """
        finite, others = split_finite(values)
        missing, changed = self._points.missing(finite, 0), self._points.contradicts(finite, 0)
        self._send(missing, 0, timestamp_ms, self._note(LEFT_OUT, others))
        for name in changed:
            self._send({name: finite[name]}, 0, max(timestamp_ms, self._points.timestamp(name, 0) + 1))

    def send_folder(self, folder: Path, under: str) -> None:
        """Send a folder's files, subfolders included."""
        self._client.log_artifacts(self.run_id, str(folder), under or None)

    def describe(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log the parameters that are not there yet, and set the tags."""
        from mlflow.entities import Param, RunTag

        # MLflow refuses a parameter that changes. The run key holds their values, so only their wording can differ.
        there = self._client.get_run(self.run_id).data.params
        shorter, long_parameters = cut(flatten(parameters), PARAMETER_LENGTH)
        short_tags, long_tags = cut(tags, TAG_LENGTH)
        noted = self._note(
            CUT, [f"parameter {name}" for name in long_parameters] + [f"tag {name}" for name in long_tags]
        )
        self._client.log_batch(
            self.run_id,
            params=[Param(name, value) for name, value in shorter.items() if name not in there],
            tags=[RunTag(name, value) for name, value in short_tags.items()] + noted,
        )

    def end(self, status: str) -> None:
        """Set how the run ended, and that it ended now."""
        self._client.set_terminated(self.run_id, status)

    def _send(self, values: Mapping[str, float], step: int, timestamp_ms: int, tags: Sequence[Any] = ()) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, timestamp_ms, step) for name, value in values.items()]
        if metrics or tags:
            self._client.log_batch(self.run_id, metrics=metrics, tags=tags)
            self._points.add(metrics)

    def _note(self, tag: str, entries: Sequence[str]) -> list[Any]:
        """The tag with these entries beside the earlier ones, no tag where it holds them."""
        from mlflow.entities import RunTag

        new = [entry for entry in entries if entry not in self._noted[tag]]
        self._noted[tag] += new
        text, _ = cut({tag: "; ".join(self._noted[tag])}, TAG_LENGTH)
        return [RunTag(tag, text[tag])] if new else []

    def _replace(self, epoch: int) -> None:
        """A new run in this one's place, with its parameters, tags, and epochs before `epoch`.

        Artifacts stay with the old one: they are a training's end, and this one is in the middle.
        """
        from mlflow.entities import Param

        old = self._client.get_run(self.run_id)
        about = old.data.tags.keys() - {LEFT_OUT, REPLACED_BY}
        tags = {name: old.data.tags[name] for name in sorted(about)} | {REPLACES: old.info.run_id}
        new = self._client.create_run(old.info.experiment_id, run_name=old.info.run_name, tags=tags)
        kept = self._points.between(1, epoch)
        self._client.log_batch(
            new.info.run_id,
            metrics=kept,
            params=[Param(name, value) for name, value in old.data.params.items()],
        )
        self._client.update_run(new.info.run_id, status=old.info.status)
        # The old one last: killed before this, the newer of two runs with the key is found.
        self._client.set_tag(old.info.run_id, REPLACED_BY, new.info.run_id)
        self._client.delete_run(old.info.run_id)
        self.run_id, self._points, self._noted[LEFT_OUT] = new.info.run_id, Points(kept), []


def _search(client: MlflowClient, experiment: str, key: str) -> Run | None:
    """The newest run with the key, one that is not deleted first; never one that another took the place of."""
    from mlflow.entities import ViewType

    runs = client.search_runs(
        [experiment], f"tags.`{RUN_KEY}` = '{key}'", ViewType.ALL, order_by=["attributes.start_time DESC"]
    )
    candidates = [run for run in runs if REPLACED_BY not in run.data.tags]
    return min(candidates, key=lambda run: run.info.lifecycle_stage != "active", default=None)


def _entries(text: str) -> list[str]:
    return text.split("; ") if text else []
