"""What `stage` asks of a source of images and masks; each source is a module beside this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.prepare.near_duplicates import DuplicatePair
from pipeline.prepare.size_ceilings import SizeCeilings
from pipeline.prepare.size_effects import SizeEffects
from pipeline.runs import SegmentationClass, Survey


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with its mask, at the size of the prepared arrays."""

    id: str  # unique over the splits, fit for a file's name
    groups: dict[str, str]  # factor to name: what the sample shares with others
    image: NDArray[Any]  # H x W x C, uint8 or uint16
    mask: NDArray[Any]  # H x W, uint8, class index or runs.IGNORE
    height: int  # px, of the original, as width
    width: int
    sha256: str  # of the source files, one after the other
    has_ignored: bool = False  # whether the original mask has ignored pixels

    @property
    def groups_text(self) -> str:
        """The groups as `samples.csv` spells them: factor=name;factor=name."""
        return ";".join(f"{factor}={name}" for factor, name in self.groups.items())


class Source(Protocol):
    """Images and masks from somewhere, split so that no group stands in two splits, nor in the showcase."""

    @property
    def title(self) -> str:
        """What the pictures are, in a few words, for a person."""

    @property
    def credit(self) -> str:
        """A sentence on whose they are and under which licence; may be empty."""

    @property
    def classes(self) -> Sequence[SegmentationClass]:
        """The classes, in the order of their indices."""

    def samples(self, splits: Sequence[str]) -> Iterator[tuple[str, Sample]]:
        """The samples of these splits, one at a time and always in the same order, each with its split."""

    def survey(self) -> Survey:
        """What the files are like; complete once all samples were asked for."""

    def size_effects(self) -> SizeEffects | None:
        """Measure what the prepared size does to each class, once all samples were asked for; None of made images."""

    def size_ceilings(self) -> SizeCeilings | None:
        """Measure the IoU that the prepared size and larger ones allow, once all samples were asked for."""

    def duplicates(self) -> Iterator[DuplicatePair]:
        """Yield images that look the same, those in two splits first; complete once all samples were asked for."""

    def rejected(self) -> Sequence[tuple[str, str]]:
        """Id and reason of every sample that was left out; complete once all samples were asked for."""

    def error(self) -> PipelineError | None:
        """What is wrong with the files, if it is to stop; complete once all samples were asked for."""

    def decides(self, split: str) -> str:
        """The key or the file that says what a split, or the showcase, holds: what a message about it begins with."""

    def remedy(self, split: str) -> str:
        """What to do where a split, or the showcase, is empty or lacks a class, in a sentence."""
