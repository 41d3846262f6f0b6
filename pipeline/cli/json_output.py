"""The option `--json`, and printing of results as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def print_json(content: object) -> None:
    """Print a result, which may contain dataclasses and paths, as JSON; undefined numbers must be None, not NaN."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=_convert))


def _convert(value: Any) -> Any:
    if isinstance(value, Path):
        return value.as_posix()
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
