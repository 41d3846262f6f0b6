"""Checks a source as `prepare` does, without writing arrays: what is wrong, or what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table as Columns
from rich.text import Text

from pipeline.errors import PipelineError
from pipeline.params.data import Data
from pipeline.prepare.data_issues import IssueKind
from pipeline.prepare.dataset_stats import complete_stats
from pipeline.prepare.near_duplicates import write_contact_sheet
from pipeline.prepare.sample_ids import escape_unprintable, join_names
from pipeline.prepare.size_ceilings import format_size_table
from pipeline.prepare.source import Source
from pipeline.prepare.source_factory import create_source
from pipeline.prepare.split_tables import SplitTable, check_splits, tabulate_samples
from pipeline.runs import SAMPLE_COLUMNS, SCRATCH, SHOWCASE, SPLITS, Survey

CONTACT_SHEET = SCRATCH / "near_duplicates.png"
_MAX_REASONS = 10  # set aside, that are shown


@dataclass(frozen=True)
class ValidationReport:
    """What a source without faults holds."""

    source: Source
    tables: dict[str, SplitTable]
    survey: Survey
    sheet: Path | None  # of images that look the same; None if there are none

    def shown(self) -> RenderableType:
        """For a terminal: what the files are, and each split."""
        lines = [*self._files(), *self._duplicates()]
        return Group(
            *map(Text, lines), self._columns(), *map(Text, [*self._set_aside(), *_format_notices(self.survey)])
        )

    def _files(self) -> list[str]:
        survey = self.survey
        rows = [row for table in self.tables.values() for row in table.rows]
        sizes = Counter((int(_get_cell(row, "width")), int(_get_cell(row, "height"))) for row in rows)
        images = len(rows)
        stored = ", ".join(f"{count:,} {kind}" for kind, count in survey.stored.items())
        lines = [f"{images:,} images with their masks: {stored}" if stored else f"{images:,} images with their masks"]
        small, large = min(sizes, key=_area), max(sizes, key=_area)
        if small == large:
            lines.append(f"each {small[0]} × {small[1]} px")
        else:
            ((width, height), count), *_ = sizes.most_common(1)
            often = f"most often {width} × {height} ({count:,} times)"
            lines.append(f"{small[0]} × {small[1]} to {large[0]} × {large[1]} px, {often}")
        noted = {
            "turned upright, as their EXIF orientation says": survey.turned,
            "with transparent parts, which become black": survey.transparent,
            "whose mask holds no foreground": sum(table.without_foreground for table in self.tables.values()),
        }
        return [*lines, *(f"{count:,} {what}" for what, count in noted.items() if count), *self._size_effects()]

    def _size_effects(self) -> list[str]:
        effects = self.source.size_effects()
        if effects is None or not effects.classes:
            return []
        lines = [f"at {effects.size} px {join_names([str(effect) for effect in effects.classes])}"]
        ceilings = self.source.size_ceilings()
        if ceilings is None or not ceilings.sizes:
            return lines
        present = ceilings.sizes[0]
        lines.append(f"at {present.size} px even perfect predictions have an IoU of: {present}")
        if not present.is_good:
            lines += [*format_size_table(ceilings, present.size), f"  > is the present size; {ceilings.remedy()}"]
        return lines

    def _duplicates(self) -> list[str]:
        survey = self.survey
        if not survey.compared:
            return []
        lines = []
        if not any(reason.startswith(IssueKind.LOOKS_ALIKE.said) for _, reason in self.source.rejected()):
            lines.append("no image looks the same as one of another split")
        if survey.duplicates:
            pairs = join_names([f"{one} and {other}" for one, other in survey.first_duplicates])
            more = f", and {survey.duplicates - len(survey.first_duplicates):,} more"
            more = more if survey.duplicates > len(survey.first_duplicates) else ""
            alike = "1 looks" if survey.duplicates == 1 else f"{survey.duplicates:,} look"
            lines.append(f"{alike} the same as another one of the same split: {pairs}{more}")
        if self.sheet:
            lines.append(f"images that look the same are side by side in {self.sheet}")
        return lines

    def _columns(self) -> Columns:
        columns = Columns(box=None, pad_edge=False)
        columns.add_column("")
        for split in (*SPLITS, SHOWCASE):
            columns.add_column(split, justify="right")
        shown = [self.tables[split] for split in (*SPLITS, SHOWCASE)]
        columns.add_row("images", *(f"{len(table.rows):,}" for table in shown))
        if any(table.groups for table in shown):
            columns.add_row("groups", *(f"{len(table.groups):,}" for table in shown))
        for place, one in enumerate(self.source.classes):
            shares = (table.pixels[place] / max(1, table.pixels.sum()) for table in shown)
            columns.add_row(f"{one.name}, share of pixels", *(f"{share:.2%}" for share in shares))
        return columns

    def _set_aside(self) -> Sequence[str]:
        rejected = self.source.rejected()
        if not rejected:
            return []
        lines = [
            f"  {escape_unprintable(name)}: {escape_unprintable(reason)}" for name, reason in rejected[:_MAX_REASONS]
        ]
        more = [f"  and {len(rejected) - _MAX_REASONS:,} more"] if len(rejected) > _MAX_REASONS else []
        return [f"{len(rejected):,} set aside:", *lines, *more]


def validate_data(data: Data, guesses: Sequence[str] = ()) -> ValidationReport:
    """Go through all samples that a section of the parameters asks for.

    Images that look the same are written side by side into `CONTACT_SHEET`.

    Args:
        data: the section.
        guesses: notices of how it came about.

    Raises:
        PipelineError: What `prepare` would raise of them.
    """
    source = create_source(data)
    tables = tabulate_samples(source)
    survey, sheet = complete_stats(source, tables), _draw_duplicates(source)
    survey = replace(survey, notices=tuple(dict.fromkeys((*guesses, *survey.notices))))
    try:
        check_splits(source, tables)
    except PipelineError as error:
        shown = [f"Images that look the same are side by side in {sheet}."] if sheet else []
        raise PipelineError("\n".join([str(error), *shown, *_format_notices(survey)])) from None
    return ValidationReport(source, tables, survey, sheet)


def _format_notices(survey: Survey) -> list[str]:
    return [f"Notice: {escape_unprintable(notice)}" for notice in survey.notices]


def _draw_duplicates(source: Source) -> Path | None:
    """Write `CONTACT_SHEET`; return None if there are no near-duplicates or the folder is not writable."""
    try:
        return write_contact_sheet(source.duplicates(), CONTACT_SHEET)
    except OSError:
        return None


def _get_cell(row: Sequence[str], column: str) -> str:
    return row[SAMPLE_COLUMNS.index(column)]


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
