"""Read a source of image and mask files: decode and check its pairs, and report or skip invalid ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.decode import read_fitted
from pipeline.imaging.errors import ImageError
from pipeline.imaging.metadata import UPRIGHT, ImageMetadata
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.resize import FixedSize, NativeSize, Resizing
from pipeline.params.data.image_data import ImageMaskData
from pipeline.params.data.original_pixel import describe_contradictions, find_original_pixel
from pipeline.prepare.data_issues import DataIssue, InvalidFilesError, IssueKind
from pipeline.prepare.dataset_stats import build_stats, describe_faint, describe_leaks
from pipeline.prepare.decoded_pair import DecodedPair, DecodedPairCache
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection, UndeclaredValuesError
from pipeline.prepare.lost_objects import LostObject, crop_lost_object
from pipeline.prepare.near_duplicates import DuplicatePairs, NearDuplicateCheck, parse_distinct
from pipeline.prepare.palette_check import PaletteCheck
from pipeline.prepare.parallel_decode import CACHE_FOLDER, DecodeResult, DecodeSettings, decode_pair, decode_pairs
from pipeline.prepare.read_file import read_file
from pipeline.prepare.sample import Sample, SampleWriter
from pipeline.prepare.size_effects import SizeCeilings, SizeEffects, measure_size_ceilings, measure_size_effects
from pipeline.prepare.source import READ_ORDER, SourceData, SplitOrigin
from pipeline.prepare.split_tables import count_pixels, tabulate_samples
from pipeline.prepare.splitting.assign_splits import ClassShares, assign_splits
from pipeline.prepare.splitting.groups import describe_similar_groups, find_groups, suggest_groups
from pipeline.prepare.splitting.read_splits import DEFAULT_LIST, TRAINVAL
from pipeline.wording import pluralize

DARK_BELOW = 1 / 8  # of the value range; if all images are darker, they were probably not scaled to it


class ImageMaskSource:
    """Image-mask pairs of a collection, assigned to splits.

    Args:
        data: Section that describes the source.
        collection: Pairs of the source.
        key: Key of the section, for messages.

    Raises:
        PipelineError: The splits, the showcase or a pair of distinct images is invalid. The error also lists the
            invalid files.
    """

    def __init__(self, data: ImageMaskData, collection: PairCollection, key: str = "data") -> None:
        self._data, self._collection, self._key = data, collection, key
        rows, pattern = collection.splits.rows or {}, None if collection.splits.error else data.splits.group_regex
        self._groups, without_group = find_groups(collection.pairs.values(), rows, pattern)
        self._issues = (*collection.issues, *without_group)  # issues with files that are not decoded
        self._resizing = Resizing.create(data.size, data.resize, data.downscale)
        self._settings = DecodeSettings(
            collection.folder,
            self._resizing,
            data.channels,
            collection.masks,
            data.mask_orientation,
            collection.window,
        )
        ids = sorted(collection.pairs.keys() - {issue.id for issue in without_group})
        try:
            if collection.splits.error:
                raise PipelineError(collection.splits.error)
            known = collection.pairs.keys() | {issue.id for issue in collection.issues}
            self._distinct = parse_distinct(data.near_duplicates, known, key)
            shares = self._measure_shares(ids) if data.splits.stratify else {}
            presence = {name: frozenset(np.flatnonzero(shares[name]).tolist()) for name in shares}
            self._assignment = assign_splits(
                ids,
                rows,
                self._groups,
                data,
                collection.splits.source,
                presence if data.splits.stratify else None,
                lambda names: self._find_showable(shares or self._measure_shares(names), names),
            )
        except PipelineError as error:
            raise self._add_issues(error) from None

    def count(self, split: str) -> int:
        """Count the images of a split, including invalid ones."""
        return len(self._assignment.ids[split])

    def read(self, write: SampleWriter, splits: Sequence[str] = READ_ORDER) -> SourceData:
        """Decode the pairs of splits, and call `write` with each valid one.

        Pairs are sorted by id, or in the order of `data.showcase_ids`. A pair is also invalid if its image is a
        near-duplicate of one in another split that was read earlier.
        """
        collection = self._collection
        checks = _PairChecks(self._data, self._distinct)
        tables = tabulate_samples(self._decode_valid(splits, checks), collection.classes, write)
        pairs = [collection.pairs[name] for split in SPLITS if split in splits for name in self._assignment.ids[split]]
        effects = measure_size_effects(pairs, collection, self._resizing)
        ceilings = None
        if isinstance(self._resizing, FixedSize):
            ceilings = measure_size_ceilings(pairs, collection, self._resizing)
        issues = (*self._issues, *checks.issues)
        reasons = ((issue.id, issue.reason) for issue in issues)
        declared = find_original_pixel(self._data)
        return SourceData(
            title=collection.title,
            credit=collection.credit,
            classes=collection.classes,
            tables=tables,
            stats=build_stats(checks.stored, checks.duplicates.within, self._find_notices(checks, effects, ceilings)),
            origins={split: self._describe_origin(split) for split in READ_ORDER},
            skipped=(*collection.skipped, *self._assignment.excluded, *reasons),
            folds=self._data.splits.folds,
            error=self._build_error(issues),
            size_effects=effects,
            size_ceilings=ceilings,
            duplicates=DuplicatePairs(checks.duplicates.pairs(), self._decode_image),
            lost_objects=self._find_lost_objects(effects),
            read_samples=self._read_samples,
            pixel_notices=[*describe_contradictions(declared, checks.pixels)] if declared else [],
        )

    def _decode_valid(self, splits: Sequence[str], checks: _PairChecks) -> Iterator[tuple[str, Sample]]:
        ids, folds = self._assignment.ids, self._assignment.folds
        pairs = [self._collection.pairs[name] for split in splits for name in ids[split]]
        split_of_each = (split for split in splits for _ in ids[split])
        for result, split in zip(decode_pairs(pairs, self._settings), split_of_each, strict=True):
            name = result.pair.id
            decoded = checks.check(result, split if name not in folds else f"fold {folds[name]}")
            if decoded is not None:
                yield split, self._build_sample(name, decoded)

    def _build_sample(self, name: str, decoded: DecodedPair) -> Sample:
        group = self._groups.get(name)
        inner = self._resizing.locate_inner((decoded.height, decoded.width))
        return Sample(
            id=name,
            groups={} if group is None else {"group": group},
            image=decoded.image,
            mask=decoded.mask,
            height=decoded.height,
            width=decoded.width,
            sha256=decoded.sha256,
            has_ignored=self._collection.masks.has_ignored_values and bool((decoded.mask[inner] == IGNORE).any()),
            instances=decoded.instances,
            fold=self._assignment.folds.get(name),
        )

    def _read_samples(self, names: Collection[str]) -> Iterator[Sample]:
        cache = DecodedPairCache(CACHE_FOLDER)
        for name in names:
            if decoded := decode_pair(self._collection.pairs[name], self._settings, cache).decoded:
                yield self._build_sample(name, decoded)

    def _find_lost_objects(self, effects: SizeEffects) -> Iterator[LostObject]:
        """Find a lost object of each class that loses objects; the largest one in the mask that loses the most."""
        index_of = {one.name: index for index, one in enumerate(self._collection.classes)}
        for effect in effects.classes:
            if effect.example is None:
                continue
            pair = self._collection.pairs[effect.example]
            try:
                content = read_file(self._settings.folder, pair.image, self._settings.window)
                image, _, _ = read_fitted(content, self._data.channels, NativeSize())
                is_stored = self._data.mask_orientation == "stored"
                orientation = ImageMetadata.read(content).orientation if is_stored else UPRIGHT
                masks = self._collection.masks
                content = masks.read(self._collection.folder, pair.mask)
                mask = masks.decode_fitted(content, NativeSize(), orientation).classes
            except (OSError, ImageError, UndeclaredValuesError):  # the pair is invalid
                continue
            if mask.shape != image.shape[:2]:
                continue
            lost = crop_lost_object(pair.id, effect.name, index_of[effect.name], image, mask, self._resizing)
            if lost is not None:
                yield lost

    def _measure_shares(self, names: Sequence[str]) -> dict[str, ClassShares]:
        """Measure the share of each class in the evaluated pixels of each mask. Shares are 0 for invalid pairs."""
        num_classes, shares = len(self._collection.classes), {}
        # In the order of the ids, because tables and volumes are decoded from the start for each step backward.
        for result in decode_pairs([self._collection.pairs[name] for name in sorted(names)], self._settings):
            pixels = count_pixels(result.decoded.mask, num_classes) if result.decoded else np.zeros(num_classes)
            shares[result.pair.id] = pixels / max(int(pixels.sum()), 1)
        return shares

    def _find_showable(self, shares: Mapping[str, ClassShares], names: Sequence[str]) -> dict[str, ClassShares]:
        """Return the class shares of the images with foreground."""
        foreground = [one.foreground for one in self._collection.classes]
        return {name: shares[name] for name in names if shares[name][foreground].any()}

    def _add_issues(self, error: PipelineError) -> PipelineError:
        """Add the invalid files to an error about the splits, unless they are skipped."""
        issues = list(self._issues)
        if self._data.on_invalid == "error":
            for result in decode_pairs(list(self._collection.pairs.values()), self._settings):
                issues += result.issues
        return self._build_error(issues, error) or error

    def _build_error(self, issues: Sequence[DataIssue], other: PipelineError | None = None) -> InvalidFilesError | None:
        """Build the error for invalid files, unless they are skipped or known to the authors of the data set."""
        collection = self._collection
        unknown = [
            issue
            for issue in issues
            if issue.id not in collection.known_broken
            and not (collection.is_published and issue.kind is IssueKind.LOOKS_ALIKE)
        ]
        if not unknown or self._data.on_invalid == "skip":
            return None
        images = {**collection.images, **{name: pair.image for name, pair in collection.pairs.items()}}
        return InvalidFilesError(unknown, self._key, collection.folder, self._data.path, images, other)

    def _decode_image(self, name: str) -> tuple[NDArray[Any], int, int]:
        """Decode an image without its mask, which may be invalid."""
        content = read_file(self._settings.folder, self._collection.pairs[name].image, self._settings.window)
        return read_fitted(content, self._data.channels, self._resizing)

    def _describe_origin(self, split: str) -> SplitOrigin:
        rows = self._collection.splits.rows
        written = None if rows is None else {row.split for row in rows.values()}
        if split == SHOWCASE:
            key = f"{self._key}.showcase_ids"
        elif written not in (None, {""}):
            key = self._collection.splits.source
        else:
            key = f"{self._key}.splits.{split}" if split in SPLITS[1:] else f"{self._key}.splits"
        share = "smaller shares" if split == SPLITS[0] else "a larger share"
        if written is None:
            other = f"{share} or another data.seed, or write {DEFAULT_LIST.file}"
        elif written & {"", TRAINVAL}:
            other = f"other splits, {share} in {self._key}.splits or another data.seed"
        else:
            other = "other splits"
        return SplitOrigin(key, f"Add images to {self._key}.path, or choose {other}.")

    def _find_notices(
        self, checks: _PairChecks, effects: SizeEffects | None, ceilings: SizeCeilings | None
    ) -> Iterator[str]:
        """Describe possible mistakes in the data."""
        yield from self._collection.notices
        if checks.stored and checks.brightest < DARK_BELOW:
            yield (
                f"No image has a value above {checks.brightest:.1%} of its range, so the images look nearly black to a "
                f"network. Scale their values to the range, for example if a 12-bit camera wrote 16-bit files; see "
                f"docs/how-to/microscopy.md."
            )
        splits = self._collection.splits
        folds = {row.fold for row in (splits.rows or {}).values()} - {""}
        if folds and self._data.splits.folds is None:
            yield (
                f"{splits.source} has {pluralize(len(folds), 'fold')}, which are not used, because "
                f"{self._key}.splits.folds is null. For a cross-validation, write {self._key}.splits.folds: "
                f"{len(folds)}."
            )
        is_published, size = self._collection.is_published, self._data.size
        if not self._groups and not is_published:
            names = [pair.name for pair in self._collection.pairs.values()]
            if suggestion := suggest_groups(names):
                yield suggestion.sentence(self._key)
        yield from describe_similar_groups(self._groups.values())
        yield from describe_faint(checks.faint, self._key)
        if effects and effects.is_lossy:
            yield effects.sentence()
        if size and ceilings and ceilings.sizes and not ceilings.at(size).is_good:
            yield ceilings.sentence(size)
        if pairs := checks.duplicates.of_showcase:
            alike = pluralize(len(pairs), "training image looks", "training images look")
            yield (
                f"{alike} the same as the showcase {pairs[0][0]}, so its prediction may be memorized. Choose "
                f"another image in {self._key}.showcase_ids."
            )
        if self._data.on_invalid == "skip" or is_published:  # otherwise leaks are an error
            yield from describe_leaks(checks.duplicates.leaks(), is_published)


class _PairChecks:
    """Checks on a source's decoded pairs, run one after another."""

    def __init__(self, data: ImageMaskData, distinct: Mapping[str, set[str]]) -> None:
        self.issues: list[DataIssue] = []
        self.duplicates = NearDuplicateCheck(data.near_duplicates, distinct, data.showcase_ids is None)
        self.stored: Counter[ImageMetadata] = Counter()  # number of valid images by their metadata
        self.pixels: dict[str, PixelSize] = {}  # sizes of a pixel that valid images state, by file
        self.faint: dict[str, int] = {}  # highest value of files whose foreground is below the threshold, by file
        self.brightest = 0.0  # highest value of all valid images, as a fraction of the range
        self._compares_invalid = data.on_invalid == "error"
        self._palettes = PaletteCheck()
        self._first: tuple[str, str] | None = None  # file of the first image, and its bits and channels

    def check(self, result: DecodeResult, split: str) -> DecodedPair | None:
        """Check a pair; return None if it is invalid."""
        issues, decoded = list(result.issues), result.decoded
        if decoded is not None:
            issues += self._check_array(result.pair, decoded)
            issues += self._palettes.check(result.pair, decoded.palette)
        # If all issues are reported, invalid pairs are also compared.
        if result.fingerprint is not None and (not issues or self._compares_invalid):
            issues += self.duplicates.check(result.pair, result.fingerprint, split)
        self.issues += issues
        if decoded is None or issues:
            return None
        self.stored[decoded.stored] += 1
        if decoded.stored.pixel:
            self.pixels[result.pair.image] = decoded.stored.pixel
        if not result.pair.volume:  # a slice or tile may have only the soft edge of an object
            self.faint |= {file or result.pair.mask: value for file, value in decoded.faint}
        self.brightest = max(self.brightest, float(decoded.image.max()) / np.iinfo(decoded.image.dtype).max)
        return decoded

    def _check_array(self, pair: ImageMaskPair, decoded: DecodedPair) -> list[DataIssue]:
        """Check that an image has the type and the channels of the first one."""
        channels = decoded.image.shape[-1]
        kind = f"{8 * decoded.image.dtype.itemsize} bits, {channels} channel{'s' if channels > 1 else ''}"
        self._first = self._first or (pair.image, kind)
        first_image, first_kind = self._first
        if kind == first_kind:
            return []
        return [DataIssue(IssueKind.DEPTH, pair.id, pair.image, f"{kind}, but {first_image} has {first_kind}")]
