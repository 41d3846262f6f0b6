"""Train on composites, test on images and masks of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.errors import PipelineError
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import ExternalTestFolder, ImageMaskData
from pipeline.prepare.source import READ_ORDER, Sample, SampleWriter, Source, SourceData
from pipeline.prepare.sources.composites import CLASSES, CompositeSource
from pipeline.prepare.sources.folder import collect_folder
from pipeline.prepare.sources.image_mask import ImageMaskSource

TEST = "test"
KEY = "data.external_test"


class CrossDomainSource:
    """The test split of one source and all other splits of another; both have the same classes and 8-bit RGB images."""

    def __init__(self, training: Source, test: Source) -> None:
        self._training, self._test = training, test

    def read(self, write: SampleWriter, splits: Sequence[str] = READ_ORDER) -> SourceData:
        """Read the test split of one source, then the splits of the other.

        Raises:
            PipelineError: Test images have 16 bits.
        """

        def write_8_bit(split: str, sample: Sample) -> None:
            if sample.image.dtype != np.uint8:
                raise PipelineError(
                    f"{KEY}.path: the images have 16 bits, but the training images are 8-bit RGB. Save them with 8 "
                    f"bits."
                )
            write(split, sample)

        test = self._test.read(write_8_bit, [split for split in splits if split == TEST])
        training = self._training.read(write, [split for split in splits if split != TEST])
        return replace(
            test,
            title=f"{training.title}; for the test: {test.title}",
            credit=" ".join(credit for credit in (training.credit, test.credit) if credit),
            classes=training.classes,
            tables={**training.tables, TEST: test.tables[TEST]},
            origins={**training.origins, TEST: test.origins[TEST]},
            skipped=(*training.skipped, *test.skipped),
            error=training.error or test.error,
        )


def create_cross_domain_source(data: CompositesData, test: ExternalTestFolder) -> Source:
    """Create composites for training and a folder for testing, with the same classes and size.

    Raises:
        PipelineError: The classes differ, or the files of a source are missing.
    """
    names = [item.name for item in CLASSES]
    values = [item.name for item in test.classes]
    if sorted(values) != sorted(names):
        raise PipelineError(
            f"{KEY}.classes: the names are {', '.join(values)}, but the composites have the classes "
            f"{', '.join(names)}. Declare exactly these, with their values in the masks of {test.path}."
        )
    images = ImageMaskData(
        path=test.path,
        resize=test.resize,
        splits=test.splits,
        on_invalid=test.on_invalid,
        mask_orientation=test.mask_orientation,
        near_duplicates=test.near_duplicates,
        image_size=data.image_size,
        channels=3,
        showcase_ids=[],  # the composites have a showcase
        seed=data.seed,
        max_train_images=None,
    )
    collection = collect_folder(test, list(CLASSES), KEY)
    return CrossDomainSource(CompositeSource(data), ImageMaskSource(images, collection, KEY))
