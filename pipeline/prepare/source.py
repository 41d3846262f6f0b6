"""Interface for sources of images and masks, and the result of reading a source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, DatasetStats, SegmentationClass
from pipeline.errors import PipelineError
from pipeline.prepare.lost_objects import LostObject
from pipeline.prepare.near_duplicates import DuplicatePair, DuplicatePairs
from pipeline.prepare.sample import Sample, SampleWriter
from pipeline.prepare.size_effects import SizeCeilings, SizeEffects
from pipeline.prepare.split_tables import SplitTable

# The later one of two near-duplicates is skipped. Evaluation splits come first, so that it is the training image.
READ_ORDER = (SHOWCASE, *reversed(SPLITS))


@dataclass(frozen=True)
class SplitOrigin:
    """Setting that determines a split."""

    key: str  # parameter or file that error messages about the split start with
    remedy: str  # sentence about how to get more or other samples into the split


@dataclass(frozen=True, eq=False)
class SourceData:
    """Information about a source whose samples have all been read, without the pixels."""

    title: str  # short description of the images
    credit: str  # sentence about authors and license; may be empty
    classes: Sequence[SegmentationClass]
    tables: Mapping[str, SplitTable]  # by split, including the showcase
    stats: DatasetStats  # of the files; `dataset_stats.add_mask_notices` adds notices about the masks
    origins: Mapping[str, SplitOrigin]
    skipped: Sequence[tuple[str, str]] = ()  # (id or file, reason) of everything that was left out
    folds: int | None = None  # number of folds of the training split; None without cross-validation
    # Reads valid samples again, by id. Samples whose files have become invalid are left out.
    read_samples: Callable[[Collection[str]], Iterable[Sample]] = lambda _: ()
    error: PipelineError | None = None  # error about invalid files; None if the data can be used
    size_effects: SizeEffects | None = None  # None if images are composed at the prepared size
    size_ceilings: SizeCeilings | None = None  # None if images are composed, or keep their native size
    duplicates: DuplicatePairs | Sequence[DuplicatePair] = ()
    lost_objects: Iterable[LostObject] = ()  # one per class that loses objects; decoded on iteration, once
    # Sentences on data.pixel_size. They are not in `stats`, because runs are stale if the prepared data changes.
    pixel_notices: Sequence[str] = ()

    def rows(self) -> Iterator[list[str]]:
        """Iterate over the rows of all tables, in the order of `samples.csv`."""
        return (row for table in self.tables.values() for row in table.rows)


class Source(Protocol):
    """Source of images and masks. Each group is in only one split."""

    def read(self, write: SampleWriter) -> SourceData:
        """Decode all samples one at a time, always in the same order, and call `write` with each valid one.

        Raises:
            PipelineError: The files of the source are missing.
        """
