"""Pictures of the user's own, from wherever they were collected: divided, decoded, and compared across splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pipeline.errors import PipelineError
from pipeline.params.pictures import OwnPictures
from pipeline.prepare.decoding.crew import decoded
from pipeline.prepare.decoding.decode import Outcome, Settings
from pipeline.prepare.decoding.decoded import Decoded
from pipeline.prepare.decoding.look_alikes import LookAlikes
from pipeline.prepare.dividing.groups import groups_of
from pipeline.prepare.dividing.split_list import TRAINVAL, USUAL
from pipeline.prepare.dividing.splits import divide
from pipeline.prepare.faults import Fault, Kind, faults_error
from pipeline.prepare.leaks import leak_notice
from pipeline.prepare.pairs import Collection
from pipeline.prepare.source import Sample
from pipeline.prepare.survey import SurveyCount
from pipeline.runs import IGNORE, SHOWCASE, SPLITS, SegmentationClass, Survey


class OwnPicturesSource:
    """The pairs of a collection as a source; `key` is its section's, for messages."""

    def __init__(self, data: OwnPictures, collection: Collection, key: str = "data") -> None:
        """Divide the pairs.

        Raises:
            PipelineError: There are files that make no pair, and this is to stop; or a split is written wrongly.
        """
        self._data, self._collection, self._key = data, collection, key
        rows, pattern = collection.rows or {}, data.splits.group_pattern
        groups, without = groups_of(collection.pairs.values(), rows, pattern)
        self._faults = [*collection.faults, *without]
        self._settings = Settings(collection.folder, data.image_size, data.resize, data.channels, collection.masks)
        if self._faults and data.on_fault == "stop":
            raise self._all_that_is_wrong()
        ids = collection.pairs.keys() - {fault.id for fault in without}
        presence = self._presence(sorted(ids)) if data.splits.stratify else None
        usable = sorted(ids if presence is None else presence)
        self._division = divide(usable, rows, groups, data, collection.listed_in, presence)
        self._count = SurveyCount()
        self._seen, self._split_of = LookAlikes(), dict[str, str]()
        self._first: Outcome | None = None
        self._leaks = Counter[tuple[str, str]]()  # images left out, by their split and the one that has them too

    @property
    def title(self) -> str:
        """What the pictures are."""
        return self._collection.title

    @property
    def credit(self) -> str:
        """Whose they are; may be empty."""
        return self._collection.credit

    @property
    def classes(self) -> Sequence[SegmentationClass]:
        """The classes, in the order of their indices."""
        return self._collection.classes

    def samples(self, splits: Sequence[str]) -> Iterator[tuple[str, Sample]]:
        """The samples of these splits, of each in the order of their ids, of the showcase in that of `data.showcase`.

        A pair that cannot be used is left out, and noted. An image that looks the same as one of a split that came
        before is such a pair: so the splits to be tested on come first.
        """
        split_of = {name: split for split in splits for name in self._division.ids[split]}
        pairs = [self._collection.pairs[name] for name in split_of]
        for outcome in decoded(pairs, self._settings):
            split = split_of[outcome.pair.id]
            found = outcome.decoded
            if found is None:
                self._faults += outcome.faults
                continue
            alike = self._seen.find(found.image_sha256, found.appearance)
            if fault := self._unlike(outcome, found) or self._leak(outcome, alike, split):
                self._faults.append(fault)
                continue
            if alike:
                self._count.add_duplicate(outcome.pair.id, alike[0])
            self._seen.add(outcome.pair.id, found.image_sha256, found.appearance)
            self._split_of[outcome.pair.id] = split
            self._count.add(found)
            group = self._division.groups.get(outcome.pair.id)
            yield (
                split,
                Sample(
                    id=outcome.pair.id,
                    groups={} if group is None else {"group": group},
                    image=found.image,
                    mask=found.mask,
                    height=found.height,
                    width=found.width,
                    sha256=found.sha256,
                ),
            )

    def survey(self) -> Survey:
        """What the files are like; complete once all samples were asked for."""
        leak = leak_notice(self._leaks, self._collection.is_published)
        return replace(self._count.survey(), notices=(*self._collection.notices, *([leak] if leak else [])))

    def rejected(self) -> Sequence[tuple[str, str]]:
        """File or id and reason of all that was left out; complete once all samples were asked for."""
        set_aside = [(fault.id, fault.reason) for fault in self._faults]
        return [*self._collection.skipped, *self._division.left_out, *set_aside]

    def error(self) -> PipelineError | None:
        """What is wrong with the files, if that is to stop; complete once all samples were asked for."""
        wrong = [fault for fault in self._faults if not self._is_known(fault)]
        if not wrong or self._data.on_fault == "set_aside":
            return None
        return faults_error(wrong, self._key, str(self._collection.folder))

    def decides(self, split: str) -> str:
        """The list, or the keys that stand in for it."""
        if split == SHOWCASE:
            return f"{self._key}.showcase"
        if self._written not in (None, {""}):
            return self._collection.listed_in
        return f"{self._key}.splits.{split}" if split in SPLITS[1:] else f"{self._key}.splits"

    def remedy(self, split: str) -> str:
        """What brings more, or other, images into a split."""
        share = "smaller shares" if split == SPLITS[0] else "a larger share"
        if self._written is None:
            other = f"{share} or another data.seed, or write {USUAL.file}"
        elif self._written & {"", TRAINVAL}:
            other = f"other splits, {share} in {self._key}.splits or another data.seed"
        else:
            other = "other splits"
        return f"Add images to {self._key}.path, or choose {other}."

    def _is_known(self, fault: Fault) -> bool:
        """Whether a fault is one of the data set as it was published, which its users know and cannot mend."""
        leaks = self._collection.is_published and fault.kind is Kind.LOOKS_ALIKE
        return leaks or fault.id in self._collection.may_fail

    def _all_that_is_wrong(self) -> PipelineError:
        """Of files that do not even make pairs: and what else is wrong with those that do, so as to say it all."""
        for outcome in decoded(list(self._collection.pairs.values()), self._settings):
            self._faults += outcome.faults
        return faults_error(self._faults, self._key, str(self._collection.folder))

    @property
    def _written(self) -> set[str] | None:
        rows = self._collection.rows
        return None if rows is None else {row.split for row in rows.values()}

    def _presence(self, ids: Sequence[str]) -> dict[str, frozenset[int]]:
        """The classes in each mask; a pair that cannot be decoded is noted, and left out."""
        presence = {}
        for outcome in decoded([self._collection.pairs[name] for name in ids], self._settings):
            if outcome.decoded is None:
                self._faults += outcome.faults
            else:
                presence[outcome.pair.id] = frozenset(np.unique(outcome.decoded.mask).tolist()) - {IGNORE}
        return presence

    def _unlike(self, outcome: Outcome, found: Decoded) -> Fault | None:
        """All images must be of one type and have as many channels as the first one."""
        self._first = self._first or outcome
        first = self._first.decoded
        assert first is not None
        if (found.image.dtype, found.image.shape) == (first.image.dtype, first.image.shape):
            return None
        detail = f"{_kind(found)}, but {self._first.pair.image} {_kind(first)}"
        return Fault(Kind.DEPTH, outcome.pair.id, outcome.pair.image, detail)

    def _leak(self, outcome: Outcome, alike: Sequence[str], split: str) -> Fault | None:
        """Whether one of the images that look the same is in another split."""
        for name in alike:
            if (other := self._split_of[name]) != split:
                self._leaks[split, other] += 1
                detail = f"in {split}, as {self._collection.pairs[name].image} in {other}"
                return Fault(Kind.LOOKS_ALIKE, outcome.pair.id, outcome.pair.image, detail)
        return None


def _kind(decoded: Decoded) -> str:
    channels = decoded.image.shape[-1]
    return f"{8 * decoded.image.dtype.itemsize} bits, {channels} channel{'s' if channels > 1 else ''}"
