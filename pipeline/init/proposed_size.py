"""Choose the prepared size by what it leaves of the masks, as far as a grid stays affordable."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.params.data import Data
from pipeline.params.data.composites import SampleData
from pipeline.prepare.pairs import Collection
from pipeline.prepare.size_ceilings import GOOD_IOU, SizeCeilings, measure_size_ceilings
from pipeline.prepare.size_effects import SizeEffects, measure_size_effects

# A training takes as long as it has pixels: at 256 px 4 times as long as at 128 px, at 512 px 16 times. No clock
# decides, so that every machine proposes the same.
AFFORDABLE = 256  # px; for sharper outlines
AFFORDABLE_FOR_OBJECTS = 512  # px; if objects would vanish, which no network then learns
RULE = (
    f"Proposed (>): the smallest size up to {AFFORDABLE} px (4 times the time of 128 px) that\n"
    f"gives every class {GOOD_IOU} or more, else the best of them; up to {AFFORDABLE_FOR_OBJECTS} px (16 times)\n"
    f"where objects would vanish."
)


@dataclass(frozen=True)
class ProposedSize:
    """A size, and the measurements that led to it.

    Attributes:
        size: px, a multiple of 32.
        ceilings: of the usual size and larger ones.
        effects: of the size without regard to objects.
    """

    size: int
    ceilings: SizeCeilings
    effects: SizeEffects

    def notices(self) -> list[str]:
        """Report what this size loses, and which one would not."""
        found = []
        if self.effects.is_lossy:
            taken = "" if self.size == self.effects.size else f" The section has {self.size} px."
            found.append(self.effects.sentence() + taken)
        if self.ceilings.sizes and not self.ceilings.at(self.size).is_good:
            found.append(self.ceilings.sentence(self.size))
        return found

    def remark(self) -> str:
        """Describe the size in a comment; empty if no class occurs in the masks."""
        if not self.ceilings.sizes:
            return ""
        ceiling = self.ceilings.at(self.size)
        return f"IoU at most {ceiling.lowest:.3f} for {ceiling.worst}"


def propose_size(data: Data, collection: Collection) -> ProposedSize:
    """Measure what sizes leave of the masks, and choose one.

    Args:
        data: whose `image_size` is the smallest that is proposed.
        collection: the pairs.
    """
    assert not isinstance(data, SampleData)
    pairs = list(collection.pairs.values())
    ceilings = measure_size_ceilings(pairs, collection, data.image_size, data.resize)
    size = _choose(ceilings, data.image_size)
    effects = measure_size_effects(pairs, collection, size, data.resize)
    if effects.sufficient is not None:
        return ProposedSize(max(size, min(effects.sufficient, AFFORDABLE_FOR_OBJECTS)), ceilings, effects)
    return ProposedSize(size, ceilings, effects)


def _choose(ceilings: SizeCeilings, smallest: int) -> int:
    """Choose the smallest affordable size that is good, or the one with the highest IoU of its lowest class."""
    affordable = [ceiling for ceiling in ceilings.sizes if ceiling.size <= max(AFFORDABLE, smallest)]
    good = [ceiling for ceiling in affordable if ceiling.is_good]
    best = max(affordable, key=lambda ceiling: ceiling.lowest, default=None)
    return good[0].size if good else best.size if best else smallest
