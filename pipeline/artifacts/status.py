"""The words for the status of a run, a stage and a job of a sweep.

MLflow has its own words: a run that was not interrupted is FINISHED there, and one that was stopped is KILLED.
"""

from __future__ import annotations

from typing import Literal

# Of a run that was not interrupted, as run.json records it.
TrainedStatus = Literal["finished", "stopped_early", "diverged"]
# Of a cell of the grid in a comparison.
RunStatus = Literal["finished", "stopped_early", "diverged", "failed", "killed", "missing"]
StageState = Literal["running", "failed", "killed"]  # of a stage that started and has not succeeded
JobStatus = Literal["finished", "failed", "stopped"]  # of a cell in a sweep; a stopped one resumes with the next sweep
