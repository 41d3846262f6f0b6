"""The sections of the page, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.report import view
from pipeline.report.curves import curves
from pipeline.report.examples import examples
from pipeline.report.head import head
from pipeline.report.material import Material
from pipeline.report.notes import notes
from pipeline.report.references import read_references
from pipeline.report.reproduce import reproduce
from pipeline.report.scores import test
from pipeline.report.selection import Chosen
from pipeline.report.tables import glance, run_table
from pipeline.report.where import where

Body = (
    view.Notes
    | view.Findings
    | view.Curves
    | view.Glance
    | view.RunTable
    | view.Where
    | view.Test
    | view.Examples
    | view.Reproduce
)


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it: a body, or a card where it could not be made."""

    id: str
    title: str
    template: str
    body: Body | view.Card

    @property
    def missing(self) -> bool:
        """Whether a card stands in the place of the body."""
        return isinstance(self.body, view.Card)


@dataclass(frozen=True)
class Page:
    """The whole report."""

    head: view.Head
    sections: tuple[Section, ...]

    @property
    def faults(self) -> tuple[view.Card, ...]:
        """The cards that stand where something should have been."""
        cards = list(self.head.problems)
        for section in self.sections:
            cards += [section.body] if isinstance(section.body, view.Card) else getattr(section.body, "problems", ())
        return tuple(card for card in cards if card.fault)


def page(params: Params, material: Material, chosen: Chosen, root: Path, *, live: bool) -> Page:
    """Build the page's view; a section whose files are missing or broken becomes a card."""
    references = read_references(params.report, root)
    return Page(
        head=head(params, material, chosen),
        sections=(
            _section("notes", "Notes", lambda: notes(root, params.report.notes, material)),
            _section("findings", "Findings", lambda: _findings(material, chosen)),
            _section("curves", "Loss curves", lambda: curves(material, chosen, references, root)),
            _section("grid", "The grid at a glance", lambda: glance(material, chosen)),
            _section("runs", "All runs", lambda: run_table(chosen, material.summary, references)),
            _section("where", "Where it memorises", lambda: where(material, chosen, root)),
            _section("test", "Test", lambda: test(material)),
            _section("examples", "Examples", lambda: examples(material, chosen)),
            _section("reproduce", "How to reproduce", lambda: reproduce(params, material, chosen, live=live)),
        ),
    )


def _section(name: str, title: str, build: Callable[[], Body]) -> Section:
    body: Body | view.Card
    try:
        body = build()
    except PipelineError as error:
        body = view.Card.of(f"{title}: missing", error)
    return Section(name, title, f"{name}.html", body)


def _findings(material: Material, chosen: Chosen) -> view.Findings:
    """The findings that rest on a shown run, or on none in particular."""
    names = set(chosen.names)
    found = tuple(
        view.FindingLine(item.sentence, tuple(run for run in item.runs if run in names))
        for item in material.findings
        if not item.runs or names & set(item.runs)
    )
    if not found:
        raise view.NothingToShowError("The comparison holds no sentence about the runs that are shown.")
    return view.Findings(found)
