"""Pictures of the user's own, from wherever they were collected: divided, decoded, and compared across splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.imaging.decode import read_fitted
from pipeline.imaging.resize import locate_inner
from pipeline.params.data.image_data import OwnPictures
from pipeline.prepare.decoding.crew import decoded
from pipeline.prepare.decoding.decode import Outcome, Settings
from pipeline.prepare.decoding.decoded import Decoded
from pipeline.prepare.dividing.groups import groups_of, name_below_images, suggest_groups
from pipeline.prepare.dividing.split_list import TRAINVAL, USUAL
from pipeline.prepare.dividing.splits import divide
from pipeline.prepare.dividing.typical import Shares
from pipeline.prepare.duplicates import DuplicateCheck, DuplicatePair
from pipeline.prepare.faults import Fault, Kind, faults_error
from pipeline.prepare.files import content_of
from pipeline.prepare.leaks import leak_notice
from pipeline.prepare.pairs import Collection, Pair
from pipeline.prepare.palettes import PaletteCheck
from pipeline.prepare.size_ceilings import SizeCeilings, measure_size_ceilings
from pipeline.prepare.size_effects import SizeEffects, measure_size_effects
from pipeline.prepare.source import Sample
from pipeline.prepare.survey import NAMED, SurveyCount
from pipeline.runs import IGNORE, SHOWCASE, SPLITS, SegmentationClass, Survey


class OwnPicturesSource:
    """The pairs of a collection as a source; `key` is its section's, for messages."""

    def __init__(self, data: OwnPictures, collection: Collection, key: str = "data") -> None:
        """Divide the pairs.

        Raises:
            PipelineError: A split, the showcase or a pair of distinct images is written wrongly; then the faults of
                the files are named, too.
        """
        self._data, self._collection, self._key = data, collection, key
        rows, pattern = collection.rows or {}, None if collection.mistake else data.splits.group_pattern
        groups, without = groups_of(collection.pairs.values(), rows, pattern)
        self._faults = [*collection.faults, *without]
        self._settings = Settings(
            collection.folder, data.image_size, data.resize, data.channels, collection.masks, data.mask_orientation
        )
        ids = sorted(collection.pairs.keys() - {fault.id for fault in without})
        try:
            if collection.mistake:
                raise PipelineError(collection.mistake)
            known = collection.pairs.keys() | {fault.id for fault in collection.faults}
            self._duplicates = DuplicateCheck(data.near_duplicates, known, key, data.showcase is None)
            shares = self._measure_shares(ids) if data.splits.stratify else {}
            presence = {name: frozenset(np.flatnonzero(shares[name]).tolist()) for name in shares}
            self._division = divide(
                ids,
                rows,
                groups,
                data,
                collection.listed_in,
                presence if data.splits.stratify else None,
                lambda names: self._find_showable(shares or self._measure_shares(names), names),
            )
        except PipelineError as error:
            raise self._all_that_is_wrong(error) from None
        self._count = SurveyCount()
        self._palettes = PaletteCheck()
        self._first: Outcome | None = None
        self._asked: set[str] = set()  # splits whose samples were asked for
        self._effects: SizeEffects | None = None  # measured once, as the next
        self._ceilings: SizeCeilings | None = None

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

    def count(self, split: str) -> int:
        """Count the images of a split, before any of them is left out for a fault."""
        return len(self._division.ids[split])

    def samples(self, splits: Sequence[str]) -> Iterator[tuple[str, Sample]]:
        """The samples of these splits, of each in the order of their ids, of the showcase in that of `data.showcase`.

        A pair that cannot be used is left out, and noted. An image that looks the same as one of a split that came
        before is such a pair: so the splits to be tested on come first.
        """
        self._asked.update(splits)
        split_of = {name: split for split in splits for name in self._division.ids[split]}
        pairs = [self._collection.pairs[name] for name in split_of]
        for outcome in decoded(pairs, self._settings):
            split, found = split_of[outcome.pair.id], outcome.decoded
            faults = list(outcome.faults)
            if found is not None:
                faults += [*self._unlike(outcome, found), *self._palettes.check(outcome.pair, found.palette)]
            # If all faults are to be named, images are compared whatever faults they or their masks have.
            if outcome.look is not None and (not faults or self._data.on_fault == "stop"):
                faults += self._duplicates.check(outcome.pair, outcome.look, split)
            self._faults += faults
            if found is None or faults:
                continue
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
                    has_ignored=self._has_ignored(found),
                ),
            )

    def survey(self) -> Survey:
        """What the files are like; complete once all samples were asked for."""
        counted = self._count.survey()
        notices = [
            *self._collection.notices,
            *counted.notices,
            *self._suggest_groups(),
            *self._describe_sizes(),
            *self._describe_showcase(),
            *self._describe_leaks(),
        ]
        return replace(
            counted,
            duplicates=len(self._duplicates.within),
            first_duplicates=tuple(self._duplicates.within[:NAMED]),
            notices=tuple(notices),
        )

    def size_effects(self) -> SizeEffects:
        """Measure what the prepared size does to the classes in the splits that were asked for."""
        if self._effects is None:
            self._effects = measure_size_effects(
                self._asked_pairs(), self._collection, self._data.image_size, self._data.resize
            )
        return self._effects

    def size_ceilings(self) -> SizeCeilings:
        """Measure the IoU that the prepared size and larger ones allow in the splits that were asked for."""
        if self._ceilings is None:
            self._ceilings = measure_size_ceilings(
                self._asked_pairs(), self._collection, self._data.image_size, self._data.resize
            )
        return self._ceilings

    def _asked_pairs(self) -> list[Pair]:
        return [
            self._collection.pairs[name]
            for split in SPLITS
            if split in self._asked
            for name in self._division.ids[split]
        ]

    def duplicates(self) -> Iterator[DuplicatePair]:
        """Decode the images that look the same as another one again, those in two splits first."""
        for name, other, splits in self._duplicates.pairs():
            yield DuplicatePair((name, other), splits, (self._decode_image(name), self._decode_image(other)))

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

    def _all_that_is_wrong(self, mistake: PipelineError) -> PipelineError:
        """Build the error for a mistake in the division of the images, after the faults of the files if these stop."""
        if self._data.on_fault == "stop":
            for outcome in decoded(list(self._collection.pairs.values()), self._settings):
                self._faults += outcome.faults
        error = self.error()
        return PipelineError(f"{error}\n{mistake}") if error else mistake

    @property
    def _written(self) -> set[str] | None:
        rows = self._collection.rows
        return None if rows is None else {row.split for row in rows.values()}

    def _measure_shares(self, names: Sequence[str]) -> dict[str, Shares]:
        """Measure the share of each class in the evaluated pixels of each mask; 0 in a pair that cannot be decoded."""
        outcomes = decoded([self._collection.pairs[name] for name in names], self._settings)
        return {outcome.pair.id: _class_shares(outcome, len(self.classes)) for outcome in outcomes}

    def _find_showable(self, shares: Mapping[str, Shares], names: Sequence[str]) -> dict[str, Shares]:
        """Find the images with foreground, with their class shares."""
        foreground = [one.foreground for one in self.classes]
        return {name: shares[name] for name in names if shares[name][foreground].any()}

    def _unlike(self, outcome: Outcome, found: Decoded) -> list[Fault]:
        """All images must be of one type and have as many channels as the first one."""
        self._first = self._first or outcome
        first = self._first.decoded
        assert first is not None
        if (found.image.dtype, found.image.shape) == (first.image.dtype, first.image.shape):
            return []
        detail = f"{_kind(found)}, but {self._first.pair.image} {_kind(first)}"
        return [Fault(Kind.DEPTH, outcome.pair.id, outcome.pair.image, detail)]

    def _has_ignored(self, found: Decoded) -> bool:
        inner = locate_inner((found.height, found.width), self._data.image_size, self._data.resize)
        return bool((found.mask[inner] == IGNORE).any())

    def _decode_image(self, name: str) -> NDArray[Any]:
        """Decode an image without its mask, which may be one that cannot be used."""
        content = content_of(self._settings.folder / self._collection.pairs[name].image)
        image, _, _ = read_fitted(content, self._data.channels, self._data.image_size, self._data.resize)
        return image

    def _suggest_groups(self) -> list[str]:
        if self._division.groups or self._collection.is_published:
            return []
        found = suggest_groups([name_below_images(pair.image) for pair in self._collection.pairs.values()])
        return [found.sentence(self._key)] if found else []

    def _describe_showcase(self) -> list[str]:
        if not (pairs := self._duplicates.of_showcase):
            return []
        alike = "1 training image looks" if len(pairs) == 1 else f"{len(pairs)} training images look"
        return [
            f"{alike} the same as the showcase {pairs[0][0]}, which is taken from training: its prediction shows "
            f"memory. Choose another in {self._key}.showcase."
        ]

    def _describe_leaks(self) -> list[str]:
        """Report images left out because another split has them; nothing if that is an error instead."""
        if self._data.on_fault == "stop" and not self._collection.is_published:
            return []
        leaks = Counter(splits for _, _, splits in self._duplicates.leaks())
        notice = leak_notice(leaks, self._collection.is_published)
        return [notice] if notice else []

    def _describe_sizes(self) -> list[str]:
        effects, ceilings = self.size_effects(), self.size_ceilings()
        notices = [effects.sentence()] if effects.is_lossy else []
        size = self._data.image_size
        if ceilings.sizes and not ceilings.at(size).is_good:
            notices.append(ceilings.sentence(size))
        return notices


def _class_shares(outcome: Outcome, classes: int) -> Shares:
    if outcome.decoded is None:
        return np.zeros(classes)
    pixels = np.bincount(outcome.decoded.mask.ravel(), minlength=IGNORE + 1)[:classes]
    return pixels / max(int(pixels.sum()), 1)


def _kind(decoded: Decoded) -> str:
    channels = decoded.image.shape[-1]
    return f"{8 * decoded.image.dtype.itemsize} bits, {channels} channel{'s' if channels > 1 else ''}"
