"""What `--live` adds to the page: date, durations and the like, which may differ where the numbers do not."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.project import make
from pipeline.report import wording
from pipeline.report.selection import Chosen
from pipeline.timing import read_timing
from pipeline.tracking.tags import DIRTY, UNKNOWN, read_git_commit

UNKNOWN_TIMES = f"unknown: DVC restores runs without {runs.TIMING}"


@dataclass(frozen=True)
class LiveFact:
    """What is true of this time only."""

    name: str
    value: str
    address: str = ""  # where it leads; empty where it leads nowhere


def live_facts(params: Params, chosen: Chosen, run: str, key: str, root: Path) -> tuple[LiveFact, ...]:
    """Facts in the page's order; what cannot be had says so.

    Args:
        params: where MLflow listens.
        chosen: the runs that are shown.
        run: the one that is linked to on an MLflow server.
        key: its run key; empty where it is not known.
        root: the project's folder, or a study's.
    """
    timings = [timing for name in chosen.names if (timing := read_timing(root / runs.RUNS / name))]
    facts = [
        ("rendered", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("git commit", _git_commit(root)),
        ("trained for", _durations([float(timing["seconds"]) for timing in timings], len(chosen.names))),
        ("processor", wording.listing(sorted({str(timing["processor"]) for timing in timings})) or UNKNOWN_TIMES),
        ("torch", wording.listing(sorted({str(timing["torch"]) for timing in timings})) or UNKNOWN_TIMES),
        ("Python, which rendered this", platform.python_version()),
    ]
    return (*(LiveFact(name, value) for name, value in facts), _mlflow(params, run, key, root))


def _mlflow(params: Params, run: str, key: str, root: Path) -> LiveFact:
    """The run's page on the server, or how to open the one on this machine."""
    from pipeline.tracking.search import find_run_url

    try:
        address = find_run_url(params.tracking, key)
    except PipelineError as error:
        return LiveFact("MLflow", str(error))
    if address:
        return LiveFact("MLflow", f"{run}, experiment {params.tracking.experiment}", address)
    return LiveFact("MLflow", f"{make('ui', root)}, experiment {params.tracking.experiment}")


def _durations(seconds: list[float], count: int) -> str:
    if not seconds:
        return UNKNOWN_TIMES
    known = "" if len(seconds) == count else f" (known of {len(seconds)})"
    each = f"{min(seconds):.0f} to {max(seconds):.0f} s a run, {sum(seconds) / 60:.1f} min in all"
    return each + known


def _git_commit(root: Path) -> str:
    found = read_git_commit(root)
    if found == UNKNOWN:
        return "none: this is no git repository"
    commit = found.removesuffix(DIRTY)
    return commit if commit == found else f"{commit}, with changed files"
