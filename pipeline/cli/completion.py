"""Shell completion of the names of runs, models and formats."""

from __future__ import annotations

from pathlib import Path

import click


def complete_runs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the trained runs that begin with `incomplete`."""
    from pipeline.artifacts.project import RUNS

    return sorted(path.name for path in Path(RUNS).glob("*") if path.name.startswith(incomplete))


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return what `--run` accepts and begins with `incomplete`: names of trained runs, `best` and `ensemble`."""
    special = [name for name in ("best", "ensemble") if name.startswith(incomplete)]
    return [*special, *complete_runs(context, parameter, incomplete)]


def complete_formats(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the formats of predicted masks that begin with `incomplete`, after the formats before its last comma."""
    from pipeline.predict.formats.table import FORMATS

    done, comma, last = incomplete.rpartition(",")
    return [f"{done}{comma}{name}" for name in FORMATS if name.startswith(last)]
