"""Find near-duplicates, such as resaved or resized copies of an image or neighboring frames of a film.

Near-duplicates across splits leak training data into evaluation.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.atomic_io import write_with
from pipeline.errors import PipelineError
from pipeline.imaging.to_rgb import to_rgb
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import ImageMaskPair
from pipeline.prepare.sample_ids import to_image_id
from pipeline.wording import escape_unprintable, join_names

if TYPE_CHECKING:
    from pipeline.params.data.image_data import NearDuplicates

THUMBNAIL_SIDE = 16  # px
SHA256_DIGITS = 64  # hexadecimal
MIN_STD = 2.0  # gray levels; thumbnails with a lower standard deviation are not compared

MAX_PAIRS = 60  # on a contact sheet
COLUMNS = 3  # pairs per row
SHOWN_SIDE = 160  # side of an image on the sheet, px
GAP, LINE_HEIGHT, FONT_SIZE = 12, 16, 12  # px
BACKGROUND_COLOR, TEXT_COLOR, LEAK_COLOR = "#ffffff", "#222222", "#b00020"


@dataclass(frozen=True)
class ImageFingerprint:
    """Features for comparing images."""

    sha256: str  # of the file
    hash: int  # 64-bit perceptual hash
    # 16 x 16 gray pixels. They confirm a hash match, which may be a coincidence in large data sets.
    thumbnail: bytes

    @classmethod
    def of(cls, image: NDArray[Any], sha256: str) -> ImageFingerprint:
        """Compute the fingerprint of an image (H x W x C, uint8 or uint16)."""
        # phash() would resize to 32 x 32 pixels with a filter that takes four times as long as a box filter.
        gray = _to_gray(image).resize((2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE), Image.Resampling.BOX)
        bits = imagehash.phash(gray).hash.ravel()
        packed = int.from_bytes(np.packbits(bits).tobytes(), "big")
        return cls(sha256, packed, gray.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX).tobytes())

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Gray values of the thumbnail, flattened."""
        return np.frombuffer(self.thumbnail, np.uint8)


class NearDuplicateIndex:
    """Index of fingerprints for finding near-duplicates. An image needs 330 bytes in addition to its name."""

    def __init__(self, limits: NearDuplicates) -> None:
        self._limits = limits
        self._names: list[str] = []
        # These grow in place, whereas numpy would copy a growing array. Views of them must not outlive a call.
        self._hashes = array("Q")
        self._contents = bytearray()  # SHA-256 of the files
        self._thumbnails = bytearray()

    def find(self, fingerprint: ImageFingerprint, distinct: Container[str] = ()) -> list[str]:
        """Find the names of an image's near-duplicates, in the order in which they were added.

        Args:
            fingerprint: Fingerprint of the image.
            distinct: Names of images that are known to be different. They match only if their files are identical.
        """
        distances = np.bitwise_count(np.frombuffer(self._hashes, np.uint64) ^ np.uint64(fingerprint.hash))
        near = np.flatnonzero(distances <= self._limits.max_distance)
        same = self._select_identical(near, fingerprint)
        if near.size:
            thumbnails = np.frombuffer(self._thumbnails, np.uint8).reshape(-1, THUMBNAIL_SIDE * THUMBNAIL_SIDE)[near]
            correlation = normalize_thumbnails(thumbnails) @ normalize_thumbnails(fingerprint.pixels)
            near = near[correlation >= self._limits.min_correlation]
        found = {index for index in near.tolist() if self._names[index] not in distinct}
        return [self._names[index] for index in sorted(found.union(same))]

    def find_identical(self, fingerprint: ImageFingerprint) -> list[str]:
        """Find the name of the first image with the same content, unless the image is nearly uniform."""
        if not normalize_thumbnails(fingerprint.pixels).any():
            return []
        near = np.flatnonzero(np.frombuffer(self._hashes, np.uint64) == np.uint64(fingerprint.hash))
        return [self._names[index] for index in self._select_identical(near, fingerprint)]

    def add(self, name: str, fingerprint: ImageFingerprint) -> None:
        """Add an image to the index."""
        self._names.append(name)
        self._hashes.append(fingerprint.hash)
        self._contents += fingerprint.sha256.encode().ljust(SHA256_DIGITS, b"\0")
        self._thumbnails += fingerprint.thumbnail

    def _select_identical(self, near: NDArray[np.int64], fingerprint: ImageFingerprint) -> list[int]:
        """Select the first of these indices whose file is identical; identical files have equal hashes."""
        contents = np.frombuffer(self._contents, f"S{SHA256_DIGITS}")[near]
        indices: list[int] = near[contents == fingerprint.sha256.encode()].tolist()
        return indices[:1]


def normalize_thumbnails(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Normalize thumbnails (... x pixels) so that their dot products are correlations.

    Nearly uniform thumbnails become 0.
    """
    values = thumbnails - thumbnails.mean(axis=-1, keepdims=True, dtype=np.float32)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.where(lengths >= MIN_STD * THUMBNAIL_SIDE, values / np.maximum(lengths, 1), 0)


def _to_gray(image: NDArray[Any]) -> Image.Image:
    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return Image.fromarray(image).convert("L")
    mean = image.mean(axis=-1, dtype=np.float32)
    low, high = float(mean.min()), float(mean.max())  # few images use all 16 bits
    return Image.fromarray(((mean - low) * (255 / max(high - low, 1.0))).astype(np.uint8))


def parse_distinct(limits: NearDuplicates, names: Collection[str], key: str) -> dict[str, set[str]]:
    """Collect the images that are declared to be different from each image.

    Args:
        limits: Section with the declared pairs.
        names: Ids of all images, including those without a usable mask.
        key: Key of the `data` section, for messages.

    Raises:
        PipelineError: A pair contains an unknown image, or the same image twice.
    """
    distinct: dict[str, set[str]] = {}
    mistakes = []
    for written in limits.distinct:
        one, other = (to_image_id(name) for name in written)
        if unknown := [name for name in (one, other) if name not in names]:
            mistakes.append(
                f"there is no image {join_names(unknown)}; write paths below images/, or the parts that the "
                f"wildcards of data.images match, without extensions."
            )
        elif one == other:
            mistakes.append(f"{join_names(written)} are the same image; write two different ones.")
        distinct.setdefault(one, set()).add(other)
        distinct.setdefault(other, set()).add(one)
    if mistakes:
        raise PipelineError("\n".join(f"{key}.near_duplicates.distinct: {mistake}" for mistake in mistakes))
    return distinct


class NearDuplicateCheck:
    """Search for near-duplicates of each image among earlier images, across splits and within them.

    Args:
        limits: Thresholds for near-duplicates.
        distinct: Images that are declared to be different from each image.
        chooses_showcase: Whether the showcase was chosen automatically from the training images. If so, training images
            that look the same are kept and reported.
    """

    def __init__(
        self, limits: NearDuplicates, distinct: Mapping[str, Container[str]], chooses_showcase: bool = False
    ) -> None:
        self._chooses_showcase = chooses_showcase
        self._index = NearDuplicateIndex(limits)
        self._distinct = distinct
        self._seen: dict[str, dict[str, ImageMaskPair]] = {}  # by split and id
        self.within: list[tuple[str, str]] = []  # pairs in one split
        self.of_showcase: list[tuple[str, str]] = []  # pairs of the chosen showcase and a training image
        self._across: list[tuple[str, str]] = []

    def check(self, pair: ImageMaskPair, fingerprint: ImageFingerprint, split: str) -> list[DataIssue]:
        """Compare an image with earlier images.

        The slices of a volume resemble each other and those of other patients, so they are near-duplicates only if
        their pixels are the same. Blank slices are not compared.

        Args:
            pair: Paths of the image.
            fingerprint: Fingerprint of the image.
            split: Split of the image, or `fold 2`: near-duplicates in different folds also leak.

        Returns:
            One issue if the image is a near-duplicate of one in another split, in which case later images are not
            compared with it; otherwise, an empty list.
        """
        self._seen.setdefault(split, {})[pair.id] = pair
        if pair.volume:
            alike = self._index.find_identical(fingerprint)
        else:
            alike = self._index.find(fingerprint, self._distinct.get(pair.id, ()))
        if self._chooses_showcase and split not in SPLITS[1:]:
            shown = [name for name in alike if name in self._seen.get(SHOWCASE, {})]
            self.of_showcase += [(name, pair.id) for name in shown]
            alike = [name for name in alike if name not in shown]
        for name in alike:
            other_split = self._find_split(name)
            if other_split != split:
                self._across.append((pair.id, name))
                detail = f"in {split}, like {self._seen[other_split][name].image} in {other_split}"
                return [DataIssue(IssueKind.LOOKS_ALIKE, pair.id, pair.image, detail)]
        if alike:
            self.within.append((alike[0], pair.id))
        self._index.add(pair.id, fingerprint)
        return []

    def leaks(self) -> Counter[tuple[str, str]]:
        """Count the pairs across splits by (split of the skipped image, split of the other image)."""
        return Counter(map(self._find_splits, self._across))

    def pairs(self) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        """List the ids and splits of all pairs, starting with pairs across splits."""
        return [(pair, self._find_splits(pair)) for pair in (*self._across, *self.of_showcase, *self.within)]

    def _find_splits(self, pair: tuple[str, str]) -> tuple[str, str]:
        return self._find_split(pair[0]), self._find_split(pair[1])

    def _find_split(self, name: str) -> str:
        return next(split for split, pairs in self._seen.items() if name in pairs)


@dataclass(frozen=True, eq=False)
class DuplicatePair:
    """Two near-duplicates."""

    names: tuple[str, str]  # ids of the images
    splits: tuple[str, str]  # if they differ, training data leaks into evaluation
    images: tuple[NDArray[Any], NDArray[Any]]  # H x W x C, as prepared
    sizes: tuple[tuple[int, int], tuple[int, int]]  # heights and widths of the original images, px


class DuplicatePairs:
    """Pairs of near-duplicates, pairs across splits first. Images are decoded whenever the pairs are iterated.

    Args:
        pairs: Ids and splits of the pairs.
        decode: Function that decodes an image by its id, and returns it as prepared, with its original height and
            width.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[tuple[str, str], tuple[str, str]]],
        decode: Callable[[str], tuple[NDArray[Any], int, int]],
    ) -> None:
        self._pairs, self._decode = pairs, decode

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[DuplicatePair]:
        for (one, other), splits in self._pairs:
            (image, *size), (other_image, *other_size) = self._decode(one), self._decode(other)
            sizes = ((size[0], size[1]), (other_size[0], other_size[1]))
            yield DuplicatePair((one, other), splits, (image, other_image), sizes)


def write_contact_sheet(pairs: Iterable[DuplicatePair], path: Path) -> Path | None:
    """Write a PNG that shows the first pairs side by side, with their names and splits, for visual inspection.

    Returns:
        The path of the PNG; None if there are no pairs, in which case an old file is removed.
    """
    found = list(islice(pairs, MAX_PAIRS))
    if not found:
        path.unlink(missing_ok=True)
        return None
    width, height = 2 * SHOWN_SIDE + GAP, SHOWN_SIDE + 2 * LINE_HEIGHT + GAP
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), BACKGROUND_COLOR)
    for place, pair in enumerate(found):
        row, column = divmod(place, columns)
        _draw(sheet, pair, GAP + column * width, GAP + row * height)
    write_with(path, lambda file: sheet.save(file, "PNG", optimize=True))
    return path


def _draw(sheet: Image.Image, pair: DuplicatePair, left: int, top: int) -> None:
    canvas, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    leaks = pair.splits[0] != pair.splits[1]
    for place, (name, split, image) in enumerate(zip(pair.names, pair.splits, pair.images, strict=True)):
        x = left + place * SHOWN_SIDE
        shown = Image.fromarray(to_rgb(image))
        sheet.paste(shown.resize((SHOWN_SIDE - 2, SHOWN_SIDE - 2), Image.Resampling.LANCZOS), (x, top))
        text = _shorten(escape_unprintable(name), font)
        canvas.text((x, top + SHOWN_SIDE), text, TEXT_COLOR, font)
        canvas.text((x, top + SHOWN_SIDE + LINE_HEIGHT), split, LEAK_COLOR if leaks else TEXT_COLOR, font)


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    shortened = text
    while font.getlength(shortened) > SHOWN_SIDE - 4:
        text = text[:-1]
        shortened = f"{text}…"
    return shortened
