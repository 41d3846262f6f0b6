"""The sections of the page, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.report import view
from pipeline.report.material import Material
from pipeline.report.references import read_references
from pipeline.report.sections.authors import Authors, Everybody, authors
from pipeline.report.sections.curves import Curves, curves
from pipeline.report.sections.data_card import DataCard, data_card
from pipeline.report.sections.examples import Examples, examples
from pipeline.report.sections.findings import Findings, findings
from pipeline.report.sections.grid import Glance, glance
from pipeline.report.sections.head import Head, head
from pipeline.report.sections.notes import Notes, notes
from pipeline.report.sections.reproduce import Reproduce, reproduce
from pipeline.report.sections.run_table import RunTable, run_table
from pipeline.report.sections.scores import Test, test
from pipeline.report.sections.where import Where, where
from pipeline.report.selection import Chosen

Body = Authors | Notes | Findings | Curves | Glance | RunTable | Where | Test | Examples | DataCard | Reproduce


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

    head: Head
    sections: tuple[Section, ...]

    @property
    def faults(self) -> tuple[view.Card, ...]:
        """The cards that stand where something should have been."""
        cards = list(self.head.problems)
        for section in self.sections:
            cards += [section.body] if isinstance(section.body, view.Card) else getattr(section.body, "problems", ())
        return tuple(card for card in cards if card.fault)


def page(
    params: Params, material: Material, chosen: Chosen, root: Path, *, live: bool, everybody: Everybody | None = None
) -> Page:
    """Build the page's view; a section whose files are missing or broken becomes a card.

    What `everybody` got is a section where it is known and of more than one author.
    """
    references = read_references(params.report, root)
    data = _data(material, root)
    alarming = any(isinstance(section.body, DataCard) and section.body.overlap for section in data)
    return Page(
        head=head(params, material, chosen),
        sections=(
            *(data if alarming else ()),  # what is read after it means less than it says
            *_by_author(everybody, material, root),
            _section("notes", "Notes", lambda: notes(root, params.report.notes, material, chosen)),
            _section("findings", "Findings", lambda: findings(material, chosen)),
            _section("curves", "Loss curves", lambda: curves(material, chosen, references, root)),
            _section("grid", "The grid at a glance", lambda: glance(material, chosen)),
            _section("runs", "All runs", lambda: run_table(chosen, material.summary, references)),
            _section("where", "Where it memorises", lambda: where(material, chosen, root)),
            _section("test", "Test", lambda: test(material, chosen)),
            _section("examples", "Examples", lambda: examples(material, chosen)),
            *(() if alarming else data),
            _section("reproduce", "How to reproduce", lambda: reproduce(params, material, chosen, live=live)),
        ),
    )


def _by_author(everybody: Everybody | None, material: Material, root: Path) -> tuple[Section, ...]:
    if everybody is None or len({result.author for result in everybody.results}) < 2:
        return ()
    return (_section("authors", "By author", lambda: authors(everybody, material, root)),)


def _data(material: Material, root: Path) -> tuple[Section, ...]:
    """Nothing where the prepared data are not on this machine: the head says so."""
    if not (material.root / runs.PREPARED).is_dir():
        return ()
    return (_section("data", "The data", lambda: data_card(material, root)),)


def _section(name: str, title: str, build: Callable[[], Body]) -> Section:
    body: Body | view.Card
    try:
        body = build()
    except view.NothingToShowError as error:
        body = view.Card.of(f"{title}: nothing to show", error)
    except PipelineError as error:
        body = view.Card.of(f"{title}: missing", error)
    return Section(name, title, f"{name}.html", body)
