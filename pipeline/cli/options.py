"""What options of several commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

BASELINE = "The loss of knowing only how frequent each class is; without it, underfitting is a loss that hardly fell."


class Picture(click.Path):
    """A picture to be written."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path; wrong usage where its ending names no format, before anything runs."""
        path = Path(value)
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            self.fail(f"there is no picture format '{path.suffix}'; write .png, .svg or .pdf.", param, ctx)
        return path
