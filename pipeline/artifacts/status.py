"""The words for the status of a run, a stage and a job of a sweep.

MLflow has its own words: a run that finished or diverged is FINISHED there, and one that was stopped is KILLED.
"""

from __future__ import annotations

from typing import Literal

TrainedStatus = Literal["finished", "diverged"]  # of a training that ended by itself, as run.json records it
RunStatus = Literal["finished", "diverged", "failed", "killed", "missing"]  # of a cell of the grid in a comparison
StageState = Literal["running", "failed", "killed"]  # of a stage that started and has not succeeded
JobStatus = Literal["finished", "failed", "stopped"]  # of a cell in a sweep; a stopped one resumes with the next sweep
