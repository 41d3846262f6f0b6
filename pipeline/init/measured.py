"""Complete a proposal by what its images and masks are like together: their size and their orientation."""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import PipelineError
from pipeline.init.orientation import guess_orientation
from pipeline.init.proposal import Proposal
from pipeline.params import validate
from pipeline.params.composites import SampleData
from pipeline.params.data import Data
from pipeline.params.section import Section
from pipeline.prepare.choice import collection_of
from pipeline.prepare.size_effects import measure_size_effects


class ProposedData(Section):
    """The section `data` as a proposal has it."""

    data: Data


def complete(proposal: Proposal) -> Proposal:
    """Choose a size that keeps the objects, and the pixels that masks of turned images cover.

    Where the pairs cannot be collected the proposal stays as it is: the check says what is wrong with them.
    """
    try:
        data = validate(ProposedData, {"data": proposal.section}, "").data
        assert not isinstance(data, SampleData)
        collection = collection_of(data)
    except PipelineError:
        return proposal
    section, remarks, notices = dict(proposal.section), dict(proposal.remarks), list(proposal.notices)
    notices += [notice for notice in collection.notices if notice not in notices]
    orientation = guess_orientation(collection, data.channels)
    if orientation is not None:
        section["mask_orientation"] = orientation.choice
        remarks["mask_orientation"] = "which pixels of images that EXIF turns their masks cover: upright | stored"
        notices += orientation.sentences()
    effects = measure_size_effects(list(collection.pairs.values()), collection, data.image_size, data.resize)
    if effects.is_lossy:
        notices.append(effects.sentence("data") + (" The section has that size." if effects.sufficient else ""))
        if effects.sufficient:
            section["image_size"] = effects.sufficient
            remarks["image_size"] = "px, a multiple of 32; keeps the objects of all classes"
    return replace(proposal, section=section, remarks=remarks, notices=tuple(notices))
