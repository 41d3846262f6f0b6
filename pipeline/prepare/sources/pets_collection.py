"""Oxford-IIIT Pet as its authors publish it: their test split, and the classes of their trimaps."""

from __future__ import annotations

from pathlib import Path

from pipeline.params.data.image_data import OxfordPetsData
from pipeline.prepare.dividing.split_list import Row
from pipeline.prepare.pairs import Collection, Pair
from pipeline.prepare.sources.mask_files import ValueMasks
from pipeline.prepare.sources.oxford_pets import KNOWN_BROKEN, LISTS, TRIMAP_VALUES, locate
from pipeline.runs import SegmentationClass

# As in Keras' pets example, whose classes these are.
CLASSES = (
    SegmentationClass("pet", "#e69f00", foreground=True),
    SegmentationClass("background", "#0072b2", foreground=False),
    SegmentationClass("border", "#f0e442", foreground=False, edge=True),
)


def pets_collection(data: OxfordPetsData) -> Collection:
    """The pairs of the data set, which must lie unpacked in its folder.

    Raises:
        PipelineError: It does not; the message has the command that obtains it.
    """
    folder = Path(data.path)
    found = locate(folder)
    return Collection(
        folder=folder,
        title="Cats and dogs of the Oxford-IIIT Pet data set",
        credit="Photographs: Oxford-IIIT Pet (Parkhi, Vedaldi, Zisserman, Jawahar 2012), CC BY-SA 4.0.",
        classes=CLASSES,
        pairs={name: Pair(name, image, trimap) for name, (image, trimap) in found.pairs.items()},
        masks=ValueMasks(tuple((TRIMAP_VALUES[one.name],) for one in CLASSES)),
        skipped=found.skipped,
        rows={name: Row(split) for name, split in found.splits.items()},
        listed_in=" and ".join(str(folder / file) for file in LISTS.values()),
        may_fail=KNOWN_BROKEN,
        is_published=True,
    )
