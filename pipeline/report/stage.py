"""Render the learning report: one HTML file, without network, the same bytes from the same inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import runs
from pipeline.atomic_io import write_text
from pipeline.params import Params
from pipeline.params.data import Data
from pipeline.params.data.composites import CompositesData
from pipeline.report.html import render
from pipeline.report.material import Material
from pipeline.report.page import page
from pipeline.report.sections.authors import Everybody
from pipeline.report.selection import choose
from pipeline.report.view import Card

TEMPLATE = "page.html"


@dataclass(frozen=True)
class Rendered:
    """A page that was written, and the cards on it that stand where something should have been."""

    path: Path
    faults: tuple[Card, ...]
    notices: tuple[str, ...] = ()  # sentences on runs that were left out


@dataclass(frozen=True)
class Elsewhere:
    """Runs that are not the grid's: a folder with theirs and their comparison, where they come from, and all others."""

    folder: Path
    origin: str
    everybody: Everybody
    notices: tuple[str, ...] = ()  # sentences on runs that were left out


def render_report(
    params: Params,
    selection: str | None = None,
    out: Path | None = None,
    root: Path = Path(),
    *,
    live: bool = False,
    elsewhere: Elsewhere | None = None,
) -> Rendered:
    """Write the page of a selection of runs.

    Args:
        params: title, author and course are taken from it.
        selection: None for the grid's own page, or what `choose` reads.
        out: where to write; None for the selection's own file below `reports/`.
        root: the project's folder, or a study's.
        live: whether date, durations, versions and hashes stand on it; then equal inputs give other bytes.
        elsewhere: other runs than the grid's.

    Raises:
        PipelineError: there is no comparison, no such run, or a template is missing or wrong.
    """
    material = Material(elsewhere.folder if elsewhere else root, _composed_splits(params.data), params.data.resize)
    chosen = choose(material.summary, selection)
    if elsewhere:
        chosen = replace(chosen, origin=elsewhere.origin, notices=elsewhere.notices)
    rates = len({row.learning_rate for row in material.summary.runs})
    everybody = elsewhere.everybody if elsewhere else None
    content = page(params, material, chosen, root, live=live, everybody=everybody)
    target = out if out is not None else root / chosen.out
    write_text(target, render(TEMPLATE, content, root, rates))
    return Rendered(target, content.faults, chosen.notices)


def _composed_splits(data: Data) -> tuple[str, ...]:
    """List the splits whose images are composites."""
    if not isinstance(data, CompositesData):
        return ()
    return tuple(split for split in (*runs.SPLITS, runs.SHOWCASE) if data.test is None or split != runs.SPLITS[-1])
