"""Provenance for `report --provenance`: date, durations, versions and whatever differs between identical runs."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.report.formatting import join_words
from pipeline.report.run_selection import RunSelection
from pipeline.tracking.tags import DIRTY, UNKNOWN, read_git_commit

UNKNOWN_TIMES = f"unknown: DVC restores runs without {RunFolder.TIMING}"


@dataclass(frozen=True)
class ProvenanceFact:
    """A fact about this rendering."""

    name: str
    value: str
    address: str = ""  # of a link; empty without one


def collect_provenance(
    params: Params, selection: RunSelection, run: str, key: str, project: Project
) -> tuple[ProvenanceFact, ...]:
    """Collect the facts in the page's order; unknown ones say so.

    Args:
        params: The address of MLflow.
        selection: The runs of the page.
        run: The run to link to on an MLflow server.
        key: Its run key; empty if unknown.
        project: Its folder, or a study's.
    """
    timings = [timing for name in selection.names if (timing := project.run(name).read_timing())]
    facts = [
        ("rendered", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("git commit", _describe_commit(project.root)),
        ("trained for", _describe_durations([timing.seconds for timing in timings], len(selection.names))),
        ("processor", join_words(sorted({timing.processor for timing in timings})) or UNKNOWN_TIMES),
        ("torch", join_words(sorted({timing.torch for timing in timings})) or UNKNOWN_TIMES),
        ("Python", platform.python_version()),
    ]
    return (*(ProvenanceFact(name, value) for name, value in facts), _describe_mlflow(params, run, key, project))


def _describe_mlflow(params: Params, run: str, key: str, project: Project) -> ProvenanceFact:
    """Link to the run's page on the server, or give the command that opens MLflow on this machine."""
    from pipeline.tracking.search import find_run_url

    try:
        address = find_run_url(params.tracking, key)
    except PipelineError as error:
        return ProvenanceFact("MLflow", str(error))
    if address:
        return ProvenanceFact("MLflow", f"{run}, experiment {params.tracking.experiment}", address)
    return ProvenanceFact("MLflow", f"{project.make_command('ui')}, experiment {params.tracking.experiment}")


def _describe_durations(seconds: list[float], count: int) -> str:
    if not seconds:
        return UNKNOWN_TIMES
    known = "" if len(seconds) == count else f" ({len(seconds)} of {count} runs)"
    each = f"{min(seconds):.0f} to {max(seconds):.0f} s per run, {sum(seconds) / 60:.1f} min in total"
    return each + known


def _describe_commit(root: Path) -> str:
    found = read_git_commit(root)
    if found == UNKNOWN:
        return "none: not a git repository"
    commit = found.removesuffix(DIRTY)
    return commit if commit == found else f"{commit}, with uncommitted changes"
