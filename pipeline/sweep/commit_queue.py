"""Commit finished jobs to DVC while other jobs run, and record them in dvc.lock at the end."""

from __future__ import annotations

import click

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.runtime.work_lock import RunLock
from pipeline.sweep.dvc_internals.stages import DvcStages, Refusal
from pipeline.sweep.worker import JobResult


class CommitQueue:
    """Queue of finished stages that are committed to DVC; a failed commit is retried together with the next one.

    Attributes:
        refused: The reason why each refused stage cannot be committed, by the stage's name in DVC.
    """

    def __init__(self, stages: DvcStages, project: Project) -> None:
        self._stages, self._project = stages, project
        self._hashes: dict[str, str] = {}  # dependency hash of each stage that is not committed yet
        self._has_committed = False
        self.refused: dict[str, Refusal] = {}

    def add(self, result: JobResult) -> None:
        """Commit the stages that a job finished; if this fails, the next call tries again."""
        self._hashes |= result.hashes()
        try:
            self._commit()
        except PipelineError as error:
            click.echo(f"Finished runs could not be committed to DVC yet; the sweep will try again. {error}", err=True)

    def close(self) -> None:
        """Commit the remaining stages and write dvc.lock.

        Raises:
            PipelineError: DVC failed. The next sweep resumes or restores the runs that were not committed.
        """
        self._commit()
        if self._has_committed:
            self.refused |= self._stages.update_lock()

    def _commit(self) -> None:
        if not self._hashes:
            return
        refused = self._stages.commit(self._hashes)
        for name in self._hashes.keys() - refused.keys():
            stage, _, run = name.partition("@")
            if stage == "train":  # remove its checkpoints only now, so that a sweep killed earlier resumes from them
                RunLock(self._project.run(run).record.key, self._project.root).remove()
        self._has_committed |= refused.keys() < self._hashes.keys()
        self.refused |= refused
        self._hashes = {}
