"""Trained on one source and tested on another: composites to learn from, photographs to be judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.errors import PipelineError
from pipeline.params.data import FolderClass, FolderData, FolderForTest, SampleData
from pipeline.prepare.folder import FolderSource
from pipeline.prepare.sample import CLASSES, SampleSource
from pipeline.prepare.source import Sample, Source
from pipeline.runs import SegmentationClass

TEST = "test"
KEY = "data.test"


def sample_source(data: SampleData) -> Source:
    """The composites, tested on themselves or, where `data.test` says so, on a folder."""
    if data.test is None:
        return SampleSource(data)
    return TransferSource(SampleSource(data), FolderSource(_as_folder(data, data.test), KEY))


class TransferSource:
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

    def count(self, split: str) -> int:
        """As many as the split's source has."""
        return self._of(split).count(split)

    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of the split's source.

        Raises:
            PipelineError: Images to be tested on are 16-bit grey.
        """
        for sample in self._of(split).samples(split):
            if sample.image.dtype != np.uint8:
                raise PipelineError(
                    f"{KEY}.path: the images are 16-bit grey, but those that are learned from are RGB of 8 bits. Save "
                    f"them with 8 bits."
                )
            yield sample

    def rejected(self) -> Sequence[tuple[str, str]]:
        """What either source left out."""
        return [*self._learned.rejected(), *self._tested.rejected()]

    def decides(self, split: str) -> str:
        """The key or the file of the split's source."""
        return self._of(split).decides(split)

    def remedy(self, split: str) -> str:
        """That of the split's source."""
        return self._of(split).remedy(split)

    def _of(self, split: str) -> Source:
        return self._tested if split == TEST else self._learned


def _as_folder(data: SampleData, test: FolderForTest) -> FolderData:
    """The folder as a source with the composites' classes, in their order, at their size."""
    values = {item.name: item.value for item in test.classes}
    names = [item.name for item in CLASSES]
    if sorted(values) != sorted(names):
        raise PipelineError(
            f"{KEY}.classes: the names are {', '.join(values)}, but the composites have the classes "
            f"{', '.join(names)}. Give each of these, and no other, the value that it has in the masks of {test.path}."
        )
    classes = [
        FolderClass(name=c.name, colour=c.colour, foreground=c.foreground, edge=c.edge, value=values[c.name])
        for c in CLASSES
    ]
    return FolderData(
        source="folder",
        path=test.path,
        image_size=data.image_size,
        resize=test.resize,
        classes=classes,
        ignore=test.ignore,
        splits=test.splits,
        showcase=[],  # the composites have one
        seed=data.seed,
        train_images=None,
    )
