"""Create the source that `data.source` names."""

from __future__ import annotations

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.params.data import Data
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import CocoData, FolderData, OxfordPetsData
from pipeline.prepare.image_mask_pair import PairCollection
from pipeline.prepare.source import Source
from pipeline.prepare.sources.coco import collect_coco
from pipeline.prepare.sources.composites import CompositeSource
from pipeline.prepare.sources.cross_domain import CrossDomainSource
from pipeline.prepare.sources.folder import collect_folder
from pipeline.prepare.sources.image_mask import ImageMaskSource
from pipeline.prepare.sources.oxford_pets import collect_pets


def create_source(data: Data) -> Source:
    """Create the source of a section of the parameters.

    Raises:
        PipelineError: Its files are missing, or its splits are invalid.
    """
    if isinstance(data, CompositesData):
        return CompositeSource(data) if data.external_test is None else CrossDomainSource(data, data.external_test)
    return ImageMaskSource(data, collect_pairs(data))


def collect_pairs(data: FolderData | CocoData | OxfordPetsData) -> PairCollection:
    """Collect the pairs of a source of images and masks; raises `PipelineError` if files are missing."""
    if isinstance(data, OxfordPetsData):
        return collect_pets(data)
    classes = [SegmentationClass(one.name, one.color, one.foreground, one.is_boundary) for one in data.classes]
    return collect_folder(data, classes, "data") if isinstance(data, FolderData) else collect_coco(data, classes)
