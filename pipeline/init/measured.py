"""Complete a proposal by measuring its images and masks together: their size and their orientation."""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import PipelineError
from pipeline.init.orientation import guess_orientation
from pipeline.init.proposal import Proposal
from pipeline.init.proposed_size import propose_size
from pipeline.init.rare_classes import describe_rare_classes
from pipeline.params import validate
from pipeline.params.data import Data
from pipeline.params.data.composites import SampleData
from pipeline.params.section import Section
from pipeline.prepare.choice import collection_of
from pipeline.prepare.dividing.split_list import TRAINVAL
from pipeline.prepare.pairs import Collection
from pipeline.prepare.sources.own_pictures import OwnPicturesSource
from pipeline.runs import SPLITS

MAX_DIVIDED = 1000  # images; with more, a training has steps enough whatever is rounded


class ProposedData(Section):
    """The section `data` as a proposal has it."""

    data: Data


def complete(proposal: Proposal) -> Proposal:
    """Choose the size that keeps the objects and the orientation of masks; count the training images.

    If the pairs cannot be collected, the proposal stays as it is: the check reports the reason.
    """
    try:
        data = validate(ProposedData, {"data": proposal.section}, "").data
        assert not isinstance(data, SampleData)
        collection = collection_of(data)
    except PipelineError:
        return proposal
    section, remarks, notices = dict(proposal.section), dict(proposal.remarks), list(proposal.notices)
    notices += [notice for notice in collection.notices if notice not in notices]
    notices += collection.mistake.splitlines()
    orientation = guess_orientation(collection, data.channels)
    if orientation is not None:
        section["mask_orientation"] = orientation.choice
        remarks["mask_orientation"] = "which pixels of images that EXIF turns their masks cover: upright | stored"
        notices += orientation.sentences()
    proposed = propose_size(data, collection)
    section["image_size"] = proposed.size
    remarks["image_size"] = "; ".join(filter(None, (remarks.get("image_size"), proposed.remark())))
    notices += proposed.notices()
    notices += describe_rare_classes(proposed.ceilings.pixel_shares, collection.classes)
    # Without usable pairs, an estimate for when they are.
    training = _count_training(validate(ProposedData, {"data": section}, "").data, collection) or proposal.training
    return replace(proposal, section=section, remarks=remarks, notices=tuple(notices), training=training, size=proposed)


def _count_training(data: Data, collection: Collection) -> int:
    """Count the training images: by dividing the images, or by the shares if that takes long."""
    assert not isinstance(data, SampleData)
    if len(collection.pairs) <= MAX_DIVIDED:
        try:
            return OwnPicturesSource(data, collection).count(SPLITS[0])
        except PipelineError:
            pass  # the check reports the reason
    rows, shares = collection.rows or {}, data.splits
    weights = {"train": 1, TRAINVAL: 1 - shares.validation, "": 1 - shares.validation - shares.test}
    splits = [rows[name].split if name in rows else "" for name in collection.pairs]
    return int(sum(weights.get(split, 0) for split in splits))
