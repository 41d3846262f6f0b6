"""Which source makes the samples: what `data.source` says."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.params.data import Data
from pipeline.params.data.composites import SampleData
from pipeline.params.data.image_data import CocoData, FolderData, OxfordPetsData, ShownClass
from pipeline.prepare.image_mask_pair import Collection
from pipeline.prepare.source import Source
from pipeline.prepare.sources.coco_reader import coco_collection
from pipeline.prepare.sources.composites import SampleSource
from pipeline.prepare.sources.cross_domain import tested_on
from pipeline.prepare.sources.folder import folder_collection
from pipeline.prepare.sources.image_mask import OwnPicturesSource
from pipeline.prepare.sources.oxford_pets import pets_collection
from pipeline.runs import SegmentationClass


def source_of(data: Data) -> Source:
    """The source that a section of the parameters asks for.

    Raises:
        PipelineError: Its files are missing, or what says how to divide them is wrong.
    """
    if isinstance(data, SampleData):
        return SampleSource(data) if data.test is None else tested_on(data, data.test)
    return OwnPicturesSource(data, collection_of(data))


def collection_of(data: FolderData | CocoData | OxfordPetsData) -> Collection:
    """Collect the pairs of a source of images and masks; raises `PipelineError` if its files are missing."""
    if isinstance(data, FolderData):
        return folder_collection(data, shown_classes(data.classes), "data")
    if isinstance(data, CocoData):
        return coco_collection(data, shown_classes(data.classes), "data")
    return pets_collection(data)


def shown_classes(classes: Sequence[ShownClass]) -> list[SegmentationClass]:
    """The classes as the parameters declare them."""
    return [SegmentationClass(one.name, one.colour, one.foreground, one.edge) for one in classes]
