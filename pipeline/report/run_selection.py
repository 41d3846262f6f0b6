"""Select the runs that a report shows, and the file to write it to."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.analysis.ranked_metric import get_ranked_metric, rank_settings
from pipeline.artifacts.comparison import RunSummary, Summary
from pipeline.artifacts.project import REPORT, REPORTS
from pipeline.errors import PipelineError
from pipeline.report.run_filter import filter_runs, is_filter
from pipeline.wording import join_names

MAX_STEM = 100  # characters of a file name's stem; a hash replaces the rest
MAX_LISTED = 12  # names in a message; a grid can have hundreds


@dataclass(frozen=True)
class RunSelection:
    """The runs of a report, in the order of the grid."""

    kind: Literal["all", "best", "named"]
    rows: tuple[RunSummary, ...]
    out: Path  # relative to the project's folder
    origin: str = ""  # specification of runs from MLflow, such as `mlflow:latest`; empty for runs of the grid
    notices: tuple[str, ...] = ()  # sentences on skipped runs

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the runs."""
        return tuple(row.run for row in self.rows)


def select_runs(summary: Summary, run_spec: str | None) -> RunSelection:
    """Select the runs of a report.

    Args:
        summary: The comparison of the grid.
        run_spec: None for all runs, in the report of the grid; `all` for all runs, in `reports/all.html`; `best` for
            the best run; `best:3` for the median runs of the three best settings; a filter (see `run_filter`); or
            comma-separated names of runs, with the wildcards `*` and `?`.

    Raises:
        PipelineError: The specification is invalid or matches no run.
    """
    if not summary.runs:
        raise PipelineError("The comparison contains no runs. Train some with `make report`.")
    if run_spec is None:
        return RunSelection("all", summary.runs, REPORT)
    spec = run_spec.strip()
    if spec == "all":
        return RunSelection("all", summary.runs, REPORTS / "all.html")
    if match := re.fullmatch(r"best(?::(.*))?", spec):
        return _select_best(summary, match[1])
    rows = filter_runs(summary.runs, spec) if is_filter(spec) else _select_by_name(summary, spec)
    if not rows:
        raise PipelineError(f"--runs {spec}: no run matches; {_list_available(summary)}")
    return RunSelection("named", rows, REPORTS / f"{create_file_stem([row.run for row in rows])}.html")


def _select_best(summary: Summary, count: str | None) -> RunSelection:
    if summary.best is None:
        raise PipelineError(
            "--runs best: there is no best run, because no setting has finished with all its seeds. Select runs by "
            f"name; {_list_available(summary)}"
        )
    if count is None:
        return RunSelection("best", (summary.get_run(summary.best.run),), REPORTS / "best.html")
    if not re.fullmatch(r"[1-9]\d*", count):
        raise PipelineError(f"--runs best:{count}: expected a positive whole number after the colon, such as best:3.")
    best = {row.run for row in rank_settings(summary.settings, get_ranked_metric(summary))[: int(count)]}
    rows = tuple(row for row in summary.runs if row.run in best)
    return RunSelection("named", rows, REPORTS / f"best-{len(rows)}.html")


def _select_by_name(summary: Summary, run_spec: str) -> tuple[RunSummary, ...]:
    known = [row.run for row in summary.runs]
    patterns = {name.strip() for name in run_spec.split(",")} - {""}
    names = {name for pattern in patterns for name in fnmatch.filter(known, pattern) or [pattern]}
    unknown = sorted(names - set(known))
    if unknown:
        quoted = ", ".join(f"'{name}'" for name in unknown)
        problem = f"--runs {run_spec}: the comparison has no run{'' if len(unknown) == 1 else 's'} {quoted}."
    elif not names:
        problem = "--runs: the selection is empty."
    else:
        return tuple(row for row in summary.runs if row.run in names)
    choices = _list_available(summary, nearest=unknown[0] if unknown else "")
    raise PipelineError(f"{problem} Use `all`, `best`, a filter, or names of runs; {choices}")


def _list_available(summary: Summary, nearest: str = "") -> str:
    """List the names of the runs for an error message, those most similar to `nearest` first."""
    names = [row.run for row in summary.runs]
    if nearest:
        names.sort(key=lambda name: -difflib.SequenceMatcher(None, nearest, name).ratio())
    return f"available runs: {join_names(names, MAX_LISTED)}."


def create_file_stem(names: Sequence[str]) -> str:
    """Join run names into a file name without suffix; truncate it to `MAX_STEM` characters, ending with a hash."""
    joined = "+".join(names)
    if len(joined) <= MAX_STEM:
        return joined
    digest = hashlib.sha256(joined.encode()).hexdigest()[:12]
    return f"{joined[: MAX_STEM - len(digest) - 1]}-{digest}"
