"""Status values of runs, stages and jobs of a sweep.

MLflow uses different values: a run that was not interrupted is FINISHED, and a run that was stopped is KILLED.
"""

from __future__ import annotations

from typing import Literal

# Status of a run that was not interrupted, in run.json.
TrainedStatus = Literal["finished", "stopped_early", "diverged"]
# Status of a cell of the grid in a comparison.
RunStatus = Literal["finished", "stopped_early", "diverged", "failed", "killed", "missing"]
StageState = Literal["running", "failed", "killed"]  # state of a stage that has started but not succeeded
JobStatus = Literal["finished", "failed", "stopped"]  # status of a job; the next sweep resumes a stopped job
