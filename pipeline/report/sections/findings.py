"""What was learned, each sentence with the runs that it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report import view, wording
from pipeline.report.material import Material
from pipeline.report.selection import Chosen


@dataclass(frozen=True)
class FindingLine:
    """What was learned, and what it rests on."""

    sentence: str
    evidence: tuple[tuple[str, str], ...]  # what a link says, and the run of the table of all runs that it leads to


@dataclass(frozen=True)
class Findings:
    """What was learned, the most important first."""

    lines: tuple[FindingLine, ...]


def findings(material: Material, chosen: Chosen) -> Findings:
    """The findings that rest on a shown run, or on none in particular."""
    names = set(chosen.names)
    found = tuple(
        FindingLine(item.sentence, _evidence(chosen, item.runs))
        for item in material.findings
        if not item.runs or names & set(item.runs)
    )
    if not found:
        raise view.NothingToShowError("The comparison holds no sentence about the runs that are shown.")
    return Findings(found)


def _evidence(chosen: Chosen, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """A link a variant and rate: the seeds stand one below the other in the table."""
    seeds: dict[tuple[str, float], list[str]] = {}
    for row in chosen.rows:
        if row.run in names:
            seeds.setdefault((row.variant, row.learning_rate), []).append(row.run)
    return tuple(
        (runs[0] if len(runs) == 1 else f"{variant} at {wording.rate(rate)}, {len(runs)} seeds", runs[0])
        for (variant, rate), runs in seeds.items()
    )
