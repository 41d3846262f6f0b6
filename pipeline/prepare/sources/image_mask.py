"""Read a source of image and mask files: decode, check, skip or report invalid pairs, measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.decode import read_fitted
from pipeline.imaging.resize import locate_inner
from pipeline.params.data.image_data import ImageMaskData
from pipeline.prepare.data_issues import DataIssue, IssueKind, build_error
from pipeline.prepare.dataset_stats import StatsCounter, describe_leaks
from pipeline.prepare.decoded_pair import DecodedPair
from pipeline.prepare.image_mask_pair import ImageMaskPair, PairCollection, PaletteCheck
from pipeline.prepare.near_duplicates import DuplicatePair, NearDuplicateCheck, parse_distinct
from pipeline.prepare.parallel_decode import DecodeResult, DecodeSettings, decode_pairs
from pipeline.prepare.safe_read import read_limited
from pipeline.prepare.size_ceilings import measure_size_ceilings
from pipeline.prepare.size_effects import measure_size_effects
from pipeline.prepare.source import READ_ORDER, Sample, SampleWriter, SourceData, SplitOrigin
from pipeline.prepare.split_tables import tabulate_samples
from pipeline.prepare.splitting.assign_splits import ClassShares, assign_splits
from pipeline.prepare.splitting.groups import find_groups, name_below_images, suggest_groups
from pipeline.prepare.splitting.read_splits import DEFAULT_LIST, TRAINVAL


class ImageMaskSource:
    """The pairs of a collection, assigned to splits.

    Args:
        data: section of the parameters.
        collection: pairs of the source.
        key: of the section, for messages.

    Raises:
        PipelineError: The splits, the showcase or a pair of distinct images are invalid. The error names the invalid
            files, too.
    """

    def __init__(self, data: ImageMaskData, collection: PairCollection, key: str = "data") -> None:
        self._data, self._collection, self._key = data, collection, key
        rows, pattern = collection.rows or {}, None if collection.split_error else data.splits.group_regex
        groups, without_group = find_groups(collection.pairs.values(), rows, pattern)
        self._issues = (*collection.issues, *without_group)  # of files that are not decoded
        self._settings = DecodeSettings(
            collection.folder, data.image_size, data.resize, data.channels, collection.masks, data.mask_orientation
        )
        ids = sorted(collection.pairs.keys() - {issue.id for issue in without_group})
        try:
            if collection.split_error:
                raise PipelineError(collection.split_error)
            known = collection.pairs.keys() | {issue.id for issue in collection.issues}
            self._distinct = parse_distinct(data.near_duplicates, known, key)
            shares = self._measure_shares(ids) if data.splits.stratify else {}
            presence = {name: frozenset(np.flatnonzero(shares[name]).tolist()) for name in shares}
            self._assignment = assign_splits(
                ids,
                rows,
                groups,
                data,
                collection.split_source,
                presence if data.splits.stratify else None,
                lambda names: self._find_showable(shares or self._measure_shares(names), names),
            )
        except PipelineError as error:
            raise self._add_issues(error) from None

    def count(self, split: str) -> int:
        """Count the images of a split, including invalid ones."""
        return len(self._assignment.ids[split])

    def read(self, write: SampleWriter, splits: Sequence[str] = READ_ORDER) -> SourceData:
        """Decode the pairs of splits, each in the order of ids, the showcase in the order of `data.showcase_ids`.

        Invalid pairs are not written. An image that is a near-duplicate of one in a split read earlier is invalid.
        """
        checks = _PairChecks(self._data, self._distinct)
        tables = tabulate_samples(self._decode_valid(splits, checks), self._collection.classes, write)
        measured = [name for split in SPLITS if split in splits for name in self._assignment.ids[split]]
        pairs = [self._collection.pairs[name] for name in measured]
        size, resize = self._data.image_size, self._data.resize
        effects = measure_size_effects(pairs, self._collection, size, resize)
        ceilings = measure_size_ceilings(pairs, self._collection, size, resize)
        notices = [
            *self._collection.notices,
            *checks.counter.describe_darkness(),
            *self._suggest_groups(),
            *([effects.sentence()] if effects.is_lossy else []),
            *([ceilings.sentence(size)] if ceilings.sizes and not ceilings.at(size).is_good else []),
            *self._describe_showcase(checks.duplicates),
            *self._describe_leaks(checks.duplicates),
        ]
        issues = (*self._issues, *checks.issues)
        return SourceData(
            title=self._collection.title,
            credit=self._collection.credit,
            classes=self._collection.classes,
            tables=tables,
            stats=checks.counter.build_stats(checks.duplicates.within, notices),
            origins={split: SplitOrigin(self._find_key(split), self._suggest_remedy(split)) for split in READ_ORDER},
            skipped=(
                *self._collection.skipped,
                *self._assignment.excluded,
                *((issue.id, issue.reason) for issue in issues),
            ),
            error=self._build_error(issues),
            size_effects=effects,
            size_ceilings=ceilings,
            duplicates=self._decode_duplicates(checks.duplicates),
        )

    def _decode_valid(self, splits: Sequence[str], checks: _PairChecks) -> Iterator[tuple[str, Sample]]:
        split_of = {name: split for split in splits for name in self._assignment.ids[split]}
        for result in decode_pairs([self._collection.pairs[name] for name in split_of], self._settings):
            name, split = result.pair.id, split_of[result.pair.id]
            decoded = checks.check(result, split)
            if decoded is None:
                continue
            group = self._assignment.groups.get(name)
            yield (
                split,
                Sample(
                    id=name,
                    groups={} if group is None else {"group": group},
                    image=decoded.image,
                    mask=decoded.mask,
                    height=decoded.height,
                    width=decoded.width,
                    sha256=decoded.sha256,
                    has_ignored=self._has_ignored(decoded),
                ),
            )

    def _has_ignored(self, decoded: DecodedPair) -> bool:
        inner = locate_inner((decoded.height, decoded.width), self._data.image_size, self._data.resize)
        return bool((decoded.mask[inner] == IGNORE).any())

    def _measure_shares(self, names: Sequence[str]) -> dict[str, ClassShares]:
        """Measure the share of each class in the evaluated pixels of each mask; 0 if a pair cannot be decoded."""
        results = decode_pairs([self._collection.pairs[name] for name in names], self._settings)
        return {result.pair.id: _compute_class_shares(result, len(self._collection.classes)) for result in results}

    def _find_showable(self, shares: Mapping[str, ClassShares], names: Sequence[str]) -> dict[str, ClassShares]:
        """Find the images with foreground, with their class shares."""
        foreground = [one.foreground for one in self._collection.classes]
        return {name: shares[name] for name in names if shares[name][foreground].any()}

    def _add_issues(self, error: PipelineError) -> PipelineError:
        """Add invalid files, unless they are skipped, to an error in the assignment of the splits."""
        issues = list(self._issues)
        if self._data.on_invalid == "error":
            for result in decode_pairs(list(self._collection.pairs.values()), self._settings):
                issues += result.issues
        invalid = self._build_error(issues)
        return PipelineError(f"{invalid}\n{error}") if invalid else error

    def _build_error(self, issues: Sequence[DataIssue]) -> PipelineError | None:
        """Build the error for invalid files, unless they are skipped or known to the authors of the data set."""
        wrong = [issue for issue in issues if not self._is_known(issue)]
        if not wrong or self._data.on_invalid == "skip":
            return None
        return build_error(wrong, self._key, str(self._collection.folder))

    def _is_known(self, issue: DataIssue) -> bool:
        is_published_leak = self._collection.is_published and issue.kind is IssueKind.LOOKS_ALIKE
        return is_published_leak or issue.id in self._collection.known_broken

    def _decode_duplicates(self, duplicates: NearDuplicateCheck) -> Iterator[DuplicatePair]:
        for name, other, splits in duplicates.pairs():
            yield DuplicatePair((name, other), splits, (self._decode_image(name), self._decode_image(other)))

    def _decode_image(self, name: str) -> NDArray[Any]:
        """Decode an image without its mask, which may be invalid."""
        content = read_limited(self._settings.folder / self._collection.pairs[name].image)
        image, _, _ = read_fitted(content, self._data.channels, self._data.image_size, self._data.resize)
        return image

    @property
    def _written_splits(self) -> set[str] | None:
        rows = self._collection.rows
        return None if rows is None else {row.split for row in rows.values()}

    def _find_key(self, split: str) -> str:
        if split == SHOWCASE:
            return f"{self._key}.showcase_ids"
        if self._written_splits not in (None, {""}):
            return self._collection.split_source
        return f"{self._key}.splits.{split}" if split in SPLITS[1:] else f"{self._key}.splits"

    def _suggest_remedy(self, split: str) -> str:
        share = "smaller shares" if split == SPLITS[0] else "a larger share"
        written = self._written_splits
        if written is None:
            other = f"{share} or another data.seed, or write {DEFAULT_LIST.file}"
        elif written & {"", TRAINVAL}:
            other = f"other splits, {share} in {self._key}.splits or another data.seed"
        else:
            other = "other splits"
        return f"Add images to {self._key}.path, or choose {other}."

    def _suggest_groups(self) -> list[str]:
        if self._assignment.groups or self._collection.is_published:
            return []
        found = suggest_groups([name_below_images(pair.image) for pair in self._collection.pairs.values()])
        return [found.sentence(self._key)] if found else []

    def _describe_showcase(self, duplicates: NearDuplicateCheck) -> list[str]:
        if not (pairs := duplicates.of_showcase):
            return []
        alike = "1 training image looks" if len(pairs) == 1 else f"{len(pairs)} training images look"
        return [
            f"{alike} the same as the showcase {pairs[0][0]}, which is taken from training: its prediction shows "
            f"memory. Choose another in {self._key}.showcase_ids."
        ]

    def _describe_leaks(self, duplicates: NearDuplicateCheck) -> list[str]:
        """Report images that were skipped as near-duplicates of another split; nothing if they are an error."""
        if self._data.on_invalid == "error" and not self._collection.is_published:
            return []
        leaks = Counter(splits for _, _, splits in duplicates.leaks())
        notice = describe_leaks(leaks, self._collection.is_published)
        return [notice] if notice else []


class _PairChecks:
    """Decode the pairs of a source and check them one after the other.

    Attributes:
        issues: found so far, as the next ones.
        duplicates: near-duplicates.
        counter: statistics of the valid pairs.
    """

    def __init__(self, data: ImageMaskData, distinct: Mapping[str, set[str]]) -> None:
        self.issues: list[DataIssue] = []
        self.duplicates = NearDuplicateCheck(data.near_duplicates, distinct, data.showcase_ids is None)
        self.counter = StatsCounter()
        self._compares_invalid = data.on_invalid == "error"
        self._palettes = PaletteCheck()
        self._first: tuple[ImageMaskPair, DecodedPair] | None = None

    def check(self, result: DecodeResult, split: str) -> DecodedPair | None:
        """Check a pair; return None if it is invalid."""
        issues, decoded = list(result.issues), result.decoded
        if decoded is not None:
            issues += self._check_array(result.pair, decoded)
            issues += self._palettes.check(result.pair, decoded.palette)
        # If all issues are reported, invalid pairs are compared, too.
        if result.fingerprint is not None and (not issues or self._compares_invalid):
            issues += self.duplicates.check(result.pair, result.fingerprint, split)
        self.issues += issues
        if decoded is None or issues:
            return None
        self.counter.add(decoded)
        return decoded

    def _check_array(self, pair: ImageMaskPair, decoded: DecodedPair) -> list[DataIssue]:
        """Check that an image has the type and the channels of the first one."""
        self._first = self._first or (pair, decoded)
        first_pair, first = self._first
        if (decoded.image.dtype, decoded.image.shape) == (first.image.dtype, first.image.shape):
            return []
        detail = f"{_describe_array(decoded)}, but {first_pair.image} {_describe_array(first)}"
        return [DataIssue(IssueKind.DEPTH, pair.id, pair.image, detail)]


def _compute_class_shares(result: DecodeResult, num_classes: int) -> ClassShares:
    if result.decoded is None:
        return np.zeros(num_classes)
    pixels = np.bincount(result.decoded.mask.ravel(), minlength=IGNORE + 1)[:num_classes]
    return pixels / max(int(pixels.sum()), 1)


def _describe_array(decoded: DecodedPair) -> str:
    channels = decoded.image.shape[-1]
    return f"{8 * decoded.image.dtype.itemsize} bits, {channels} channel{'s' if channels > 1 else ''}"
