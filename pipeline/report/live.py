"""What `--live` adds to the page: date, durations, versions and hashes, which may differ where the numbers do not."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.files import read_json
from pipeline.params import Params
from pipeline.params.file import read_sections
from pipeline.project import make
from pipeline.report import wording
from pipeline.report.selection import Chosen


def live_facts(params: Params, chosen: Chosen, run: str, root: Path) -> tuple[tuple[str, str], ...]:
    """Names and values; what cannot be had says so.

    Args:
        params: where MLflow listens.
        chosen: the runs that are shown.
        run: the one whose hashes are named.
        root: the project's folder, or a study's.
    """
    timings = [timing for name in chosen.names if (timing := _timing(root / runs.RUNS / name))]
    facts = [
        ("rendered", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("git commit", _git_commit(root)),
        *_hashes(root, run),
        ("trained for", _durations([float(timing["seconds"]) for timing in timings], len(chosen.names))),
        ("processor", wording.listing(sorted({str(timing["processor"]) for timing in timings})) or wording.NONE),
        ("torch", wording.listing(sorted({str(timing["torch"]) for timing in timings})) or wording.NONE),
        ("Python, which rendered this", platform.python_version()),
        ("MLflow", f"{_server(params.tracking.uri) or make('ui', root)}, experiment {params.tracking.experiment}"),
    ]
    return tuple(facts)


def _server(uri: str | None) -> str:
    """The server's address without a user's name and password, which are nobody's who reads the page."""
    parts = urlsplit(uri or "")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _timing(folder: Path) -> dict[str, Any] | None:
    try:
        return read_json(folder / runs.TIMING, "pipeline train")
    except PipelineError:
        return None


def _durations(seconds: list[float], count: int) -> str:
    if not seconds:
        return wording.NONE
    known = "" if len(seconds) == count else f" (known of {len(seconds)})"
    each = f"{min(seconds):.0f} to {max(seconds):.0f} s a run, {sum(seconds) / 60:.1f} min in all"
    return each + known


def _git_commit(root: Path) -> str:
    try:
        commit, changes = (
            subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "none: this is no git repository"
    return f"{commit}, with {wording.plural(len(changes.splitlines()), 'changed file')}" if changes else commit


def _hashes(root: Path, run: str) -> list[tuple[str, str]]:
    """DVC's MD5 of the prepared data and of the run."""
    try:
        stages = read_sections(root / "dvc.lock")["stages"]
    except (PipelineError, KeyError):
        return [("DVC", "nothing is recorded yet")]
    found = []
    for stage, path in (("prepare", runs.PREPARED), (f"train@{run}", runs.RUNS / run)):
        outs = stages.get(stage, {}).get("outs", [])
        md5 = next((out.get("md5") for out in outs if out.get("path") == str(path)), None)
        found.append((f"DVC, {path}", str(md5) if md5 else "not recorded"))
    return found
