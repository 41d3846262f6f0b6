"""Trained on one source and tested on another: composites to learn from, photographs to be judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.errors import PipelineError
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import ExternalTestFolder, ImageMaskData
from pipeline.prepare.near_duplicates import DuplicatePair
from pipeline.prepare.size_ceilings import SizeCeilings
from pipeline.prepare.size_effects import SizeEffects
from pipeline.prepare.source import Sample, Source
from pipeline.prepare.sources.composites import CLASSES, CompositeSource
from pipeline.prepare.sources.folder import collect_folder
from pipeline.prepare.sources.image_mask import ImageMaskSource
from pipeline.runs import SegmentationClass, Survey

TEST = "test"
KEY = "data.test"


class CrossDomainSource:
    """The test split of one source in the place of another's; both have the same classes and 8-bit RGB images."""

    def __init__(self, learned: Source, tested: Source) -> None:
        self._learned, self._tested = learned, tested

    @property
    def title(self) -> str:
        """What is learned from, and what is tested on."""
        return f"{self._learned.title}; for the test: {self._tested.title}"

    @property
    def credit(self) -> str:
        """Of both, where they have one."""
        return " ".join(credit for credit in (self._learned.credit, self._tested.credit) if credit)

    @property
    def classes(self) -> Sequence[SegmentationClass]:
        """Those of the source that is learned from."""
        return self._learned.classes

    def samples(self, splits: Sequence[str]) -> Iterator[tuple[str, Sample]]:
        """The samples, each from its split's source.

        Raises:
            PipelineError: Images to be tested on have 16 bits.
        """
        for of_source in (self._tested, self._learned):
            for split, sample in of_source.samples([split for split in splits if self._of(split) is of_source]):
                if sample.image.dtype != np.uint8:
                    raise PipelineError(
                        f"{KEY}.path: the images have 16 bits, but those that are learned from are RGB of 8 bits. "
                        f"Save them with 8 bits."
                    )
                yield split, sample

    def survey(self) -> Survey:
        """Of the files that are tested on."""
        return self._tested.survey()

    def size_effects(self) -> SizeEffects | None:
        """Those of the files that are tested on."""
        return self._tested.size_effects()

    def size_ceilings(self) -> SizeCeilings | None:
        """Those of the files that are tested on."""
        return self._tested.size_ceilings()

    def duplicates(self) -> Iterator[DuplicatePair]:
        """Yield the pairs among the test files."""
        return self._tested.duplicates()

    def rejected(self) -> Sequence[tuple[str, str]]:
        """What either source left out."""
        return [*self._learned.rejected(), *self._tested.rejected()]

    def error(self) -> PipelineError | None:
        """What is wrong with the files of either source."""
        return self._learned.error() or self._tested.error()

    def decides(self, split: str) -> str:
        """The key or the file of the split's source."""
        return self._of(split).decides(split)

    def remedy(self, split: str) -> str:
        """That of the split's source."""
        return self._of(split).remedy(split)

    def _of(self, split: str) -> Source:
        return self._tested if split == TEST else self._learned


def create_cross_domain_source(data: CompositesData, test: ExternalTestFolder) -> Source:
    """Composites to learn from, and a folder with their classes, in their order, at their size, to be tested on."""
    names = [item.name for item in CLASSES]
    values = [item.name for item in test.classes]
    if sorted(values) != sorted(names):
        raise PipelineError(
            f"{KEY}.classes: the names are {', '.join(values)}, but the composites have the classes "
            f"{', '.join(names)}. Give each of these, and no other, the value that it has in the masks of {test.path}."
        )
    pictures = ImageMaskData(
        path=test.path,
        resize=test.resize,
        splits=test.splits,
        on_fault=test.on_fault,
        mask_orientation=test.mask_orientation,
        near_duplicates=test.near_duplicates,
        image_size=data.image_size,
        channels=3,
        showcase=[],  # the composites have one
        seed=data.seed,
        train_images=None,
    )
    collection = collect_folder(test, list(CLASSES), KEY)
    return CrossDomainSource(CompositeSource(data), ImageMaskSource(pictures, collection, KEY))
