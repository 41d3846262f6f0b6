"""Commits finished jobs to DVC while others run, and records them in dvc.lock at the end."""

from __future__ import annotations

import click

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.runtime.work_lock import RunLock
from pipeline.sweep.dvc_internals.stages import DvcStages, Refusal
from pipeline.sweep.worker import JobResult


class CommitQueue:
    """Finished stages that are not committed yet, and those that DVC cannot commit."""

    def __init__(self, stages: DvcStages, project: Project) -> None:
        self._stages, self._project = stages, project
        self._hashes: dict[str, str] = {}  # by stage, of its dependencies
        self._has_committed = False
        self.refused: dict[str, Refusal] = {}

    def add(self, result: JobResult) -> None:
        """Commit what a job finished; if DVC cannot, the next call tries again."""
        self._hashes |= result.hashes()
        try:
            self._commit()
        except PipelineError as error:
            click.echo(f"not committed yet: {error}", err=True)

    def close(self) -> None:
        """Commit the rest and write dvc.lock.

        Raises:
            PipelineError: DVC cannot; the next sweep resumes or restores what is missing.
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
            if stage == "train":  # a kill before this line resumes from them
                RunLock(self._project.run(run).record.key, self._project.root).remove()
        self._has_committed |= refused.keys() < self._hashes.keys()
        self.refused |= refused
        self._hashes = {}
