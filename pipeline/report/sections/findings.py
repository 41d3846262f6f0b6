"""What was learned, each sentence with the runs that it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report import view
from pipeline.report.material import Material
from pipeline.report.selection import Chosen


@dataclass(frozen=True)
class FindingLine:
    """What was learned, and what it rests on."""

    sentence: str
    runs: tuple[str, ...]  # of the table of all runs, to be linked


@dataclass(frozen=True)
class Findings:
    """What was learned, the most important first."""

    lines: tuple[FindingLine, ...]


def findings(material: Material, chosen: Chosen) -> Findings:
    """The findings that rest on a shown run, or on none in particular."""
    names = set(chosen.names)
    found = tuple(
        FindingLine(item.sentence, tuple(run for run in item.runs if run in names))
        for item in material.findings
        if not item.runs or names & set(item.runs)
    )
    if not found:
        raise view.NothingToShowError("The comparison holds no sentence about the runs that are shown.")
    return Findings(found)
