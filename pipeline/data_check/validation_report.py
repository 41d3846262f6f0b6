"""Validate a source as the `prepare` stage does, but without writing arrays, and report its contents."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, DatasetStats, PreparedData
from pipeline.artifacts.project import CACHE
from pipeline.errors import PipelineError
from pipeline.params.data import Data
from pipeline.prepare.check_splits import check_splits
from pipeline.prepare.data_issues import IssueKind
from pipeline.prepare.dataset_stats import add_mask_notices
from pipeline.prepare.near_duplicates import write_contact_sheet
from pipeline.prepare.prepare_data import create_source
from pipeline.prepare.size_effects import format_size_table
from pipeline.prepare.source import SourceData
from pipeline.prepare.split_tables import SplitTable
from pipeline.wording import escape_unprintable, format_size, join_names, pluralize

CONTACT_SHEET = CACHE / "near_duplicates.png"
_MAX_REASONS = 10  # skipped files that are shown


@dataclass(frozen=True)
class ValidationReport:
    """Report on a source."""

    data: SourceData  # with all notices
    sheet: Path | None  # contact sheet of the near-duplicates; None if there are none
    error: PipelineError | None = None  # why the `prepare` stage would fail; if so, only `raise_error` may be called

    def raise_error(self) -> None:
        """Raise the error if there is one, with the place of the contact sheet and the notices."""
        if self.error is not None:
            drawn = [f"Images that look the same are shown side by side in {self.sheet}."] if self.sheet else []
            raise PipelineError("\n".join([str(self.error), *drawn, *_format_notices(self.data.stats)])) from None

    def describe(self) -> dict[str, object]:
        """Describe the data as values for JSON; sizes are [width, height] in px."""
        sizes = self._count_sizes()
        return {
            "images": sizes.total(),
            "formats": self.data.stats.formats,
            "smallest": min(sizes, key=math.prod),
            "largest": max(sizes, key=math.prod),
            "folds": self._count_fold_images(),
            "splits": {
                split: {
                    "images": len(table.rows),
                    "groups": len(table.groups) or None,
                    "class_shares": dict(zip(self._class_names, self._compute_shares(table), strict=True)),
                }
                for split, table in self.data.tables.items()
            },
            "duplicates_within_splits": self.data.stats.duplicates,
            "contact_sheet": self.sheet,
            "skipped": [{"id": name, "reason": reason} for name, reason in self.data.skipped],
            "notices": self.data.stats.notices,
        }

    @property
    def _class_names(self) -> list[str]:
        return [one.name for one in self.data.classes]

    def _count_fold_images(self) -> list[int] | None:
        """Count the images of each fold; None without cross-validation."""
        images = self.data.tables["train"].fold_images
        return None if self.data.folds is None else [images[fold] for fold in range(self.data.folds)]

    def _count_sizes(self) -> Counter[tuple[int, int]]:
        """Count the images by width and height in px."""
        width, height = (PreparedData.SAMPLE_COLUMNS.index(column) for column in ("width", "height"))
        return Counter((int(row[width]), int(row[height])) for row in self.data.rows())

    def _compute_shares(self, table: SplitTable) -> list[float]:
        """Compute each class's share of a split's evaluated pixels."""
        return [float(pixels) / max(1, int(table.pixels.sum())) for pixels in table.pixels]

    def render(self) -> RenderableType:
        """Render the report for a terminal: files, splits, skipped files, notices."""
        lines = [*self._describe_files(), *self._describe_size_effects(), *self._describe_duplicates()]
        after = [*self._list_skipped(), *_format_notices(self.data.stats)]
        if folds := self._count_fold_images():
            lines.append(f"images of the folds, each the validation images of some runs: {join_names(map(str, folds))}")
        return Group(*map(Text, lines), self._build_split_table(), *map(Text, after))

    def _describe_files(self) -> list[str]:
        sizes = self._count_sizes()
        images = f"{sizes.total():,} images with their masks"
        formats = ", ".join(f"{count:,} {kind}" for kind, count in self.data.stats.formats.items())
        lines = [f"{images}: {formats}" if formats else images]
        small, large = min(sizes, key=math.prod), max(sizes, key=math.prod)
        if small == large:
            lines.append(f"each {small[0]} × {small[1]} px")
        else:
            (((most_width, most_height), count),) = sizes.most_common(1)
            often = f"most often {most_width} × {most_height} ({count:,} times)"
            lines.append(f"{small[0]} × {small[1]} to {large[0]} × {large[1]} px, {often}")
        noted = {
            "turned upright according to their EXIF orientation": self.data.stats.rotated,
            "with transparent parts, which become black": self.data.stats.transparent,
            "whose mask contains no foreground": sum(table.without_foreground for table in self.data.tables.values()),
        }
        return [*lines, *(f"{count:,} {what}" for what, count in noted.items() if count)]

    def _describe_size_effects(self) -> list[str]:
        effects, ceilings = self.data.size_effects, self.data.size_ceilings
        if effects is None or not effects.classes:
            return []
        lines = [f"at {effects.shown}, {join_names(effects.classes)}"]
        if ceilings is None or not ceilings.sizes:
            return lines
        present = ceilings.sizes[0]
        lines.append(
            f"at {format_size(present.size)}, perfect predictions have an IoU of at most: {present.list_classes()}"
        )
        if not present.is_good:
            lines += [*format_size_table(ceilings, present.size), f"  > marks the current size; {ceilings.remedy()}"]
        return lines

    def _describe_duplicates(self) -> list[str]:
        stats = self.data.stats
        if not stats.compared:
            return []
        lines = []
        if not any(reason.startswith(IssueKind.LOOKS_ALIKE.reason) for _, reason in self.data.skipped):
            lines.append("no image looks the same as one in another split")
        if stats.duplicates:
            pairs = join_names(f"{one} and {other}" for one, other in stats.first_duplicates)
            more = f", and {rest:,} more" if (rest := stats.duplicates - len(stats.first_duplicates)) else ""
            alike = pluralize(stats.duplicates, "image looks", "images look")
            lines.append(f"{alike} the same as another one in the same split: {pairs}{more}")
        if self.sheet:
            lines.append(f"images that look the same are shown side by side in {self.sheet}")
        return lines

    def _build_split_table(self) -> Table:
        names = {split: split for split in (*SPLITS, SHOWCASE)}
        if self.data.folds is not None:
            del names["validation"]
            names["train"] = f"{self.data.folds} folds"
        splits = list(names)
        columns = Table("", *(Column(name, justify="right") for name in names.values()), box=None, pad_edge=False)
        tables = [self.data.tables[split] for split in splits]
        columns.add_row("images", *(f"{len(table.rows):,}" for table in tables))
        if any(table.groups for table in tables):
            columns.add_row("groups", *(f"{len(table.groups):,}" for table in tables))
        for name, *shares in zip(self._class_names, *map(self._compute_shares, tables), strict=True):
            columns.add_row(f"{name}, share of pixels", *(f"{share:.2%}" for share in shares))
        return columns

    def _list_skipped(self) -> Sequence[str]:
        skipped = self.data.skipped
        lines = [f"{len(skipped):,} skipped:"] if skipped else []
        lines += [f"  {escape_unprintable(name)}: {escape_unprintable(why)}" for name, why in skipped[:_MAX_REASONS]]
        if len(skipped) > _MAX_REASONS:
            lines.append(f"  and {len(skipped) - _MAX_REASONS:,} more")
        return lines


def examine_data(data: Data, notices: Sequence[str] = ()) -> ValidationReport:
    """Read all samples of a source and check them. Near-duplicates are drawn into `CONTACT_SHEET`.

    Args:
        data: Section that describes the source.
        notices: Sentences about guesses in the section.

    Returns:
        The report, with an error if the `prepare` stage would fail.

    Raises:
        PipelineError: No sample can be read, because files are missing or the splits are invalid.
    """
    found = create_source(data).read(lambda *_: None)
    stats = add_mask_notices(found)
    stats = replace(stats, notices=tuple(dict.fromkeys((*notices, *stats.notices, *found.pixel_notices))))
    sheet = None
    with contextlib.suppress(OSError):  # the folder is not writable
        sheet = write_contact_sheet(found.duplicates, CONTACT_SHEET)
    problem = None
    try:
        check_splits(found)
    except PipelineError as error:
        problem = error
    return ValidationReport(replace(found, stats=stats), sheet, problem)


def _format_notices(stats: DatasetStats) -> list[str]:
    return [f"Notice: {escape_unprintable(notice)}" for notice in stats.notices]
