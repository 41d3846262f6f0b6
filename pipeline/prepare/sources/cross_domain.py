"""Source for training on composites and testing on images and masks in a folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.errors import PipelineError
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import ExternalTestFolder, FoldedSplits, ImageMaskData, ImageMaskFolder
from pipeline.prepare.sample import Sample, SampleWriter
from pipeline.prepare.source import READ_ORDER, SourceData
from pipeline.prepare.sources.composites import CLASSES, CompositeSource
from pipeline.prepare.sources.folder import collect_folder
from pipeline.prepare.sources.image_mask import ImageMaskSource

TEST = "test"
KEY = "data.external_test"


class CrossDomainSource:
    """Composites for training and validation, and a folder with the same classes for testing.

    Raises:
        PipelineError: The classes differ, or the files of a source are missing.
    """

    def __init__(self, data: CompositesData, test: ExternalTestFolder) -> None:
        names, test_names = ([item.name for item in classes] for classes in (CLASSES, test.classes))
        if sorted(test_names) != sorted(names):
            raise PipelineError(
                f"{KEY}.classes: the class names are {', '.join(test_names)}, but the composites have the classes "
                f"{', '.join(names)}. Declare exactly these classes, with their values in the masks of {test.path}."
            )
        images = ImageMaskData(
            **{name: getattr(test, name) for name in ImageMaskFolder.model_fields if name != "splits"},
            splits=FoldedSplits.model_validate(test.splits.model_dump()),
            image_size=data.image_size,
            channels=3,
            showcase_ids=[],  # the composites have a showcase
            seed=data.seed,
            max_train_images=None,
        )
        self._training = CompositeSource(data)
        self._test = ImageMaskSource(images, collect_folder(test, list(CLASSES), KEY), KEY)

    def read(self, write: SampleWriter) -> SourceData:
        """Read the test split from the folder, then create the composites of the other splits.

        Raises:
            PipelineError: The test images have 16 bits.
        """

        def write_8_bit(split: str, sample: Sample) -> None:
            if sample.image.dtype != np.uint8:
                raise PipelineError(
                    f"{KEY}.path: the images have 16 bits, but the training images are 8-bit RGB. Save them as 8-bit "
                    f"images."
                )
            write(split, sample)

        test = self._test.read(write_8_bit, [TEST])
        training = self._training.read(write, [split for split in READ_ORDER if split != TEST])
        tested = {row[0] for row in test.tables[TEST].rows}
        return replace(
            test,
            title=f"{training.title}; for the test: {test.title}",
            credit=" ".join(credit for credit in (training.credit, test.credit) if credit),
            classes=training.classes,
            tables={**training.tables, TEST: test.tables[TEST]},
            origins={**training.origins, TEST: test.origins[TEST]},
            read_samples=lambda names: (
                *training.read_samples(names),
                *test.read_samples([name for name in names if name in tested]),
            ),
        )
