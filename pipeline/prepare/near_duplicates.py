"""How an image looks, in few bytes, and which images look the same: copies saved anew, resized, or a film's frames."""

from __future__ import annotations

import io
from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.atomic_io import write_bytes
from pipeline.errors import PipelineError
from pipeline.imaging.to_rgb import in_colour
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import ImageMaskPair
from pipeline.prepare.sample_ids import escape_unprintable, image_id, join_names
from pipeline.runs import SHOWCASE, SPLITS

if TYPE_CHECKING:
    from pipeline.params.data.image_data import NearDuplicates

THUMBNAIL_SIDE = 16  # px of the thumbnail
MIN_STD = 2.0  # grey levels: what varies less has no look to compare

MAX_PAIRS = 60
COLUMNS = 3  # pairs in a row
SHOWN_SIDE = 160  # px, of an image
GAP, LINE_HEIGHT, FONT_SIZE = 12, 16, 12  # px, between pairs; of a line of text; of its letters
BACKGROUND_COLOR, TEXT_COLOR, LEAK_COLOR = "#ffffff", "#222222", "#b00020"


@dataclass(frozen=True)
class Appearance:
    """A perceptual hash of 64 bits, and a thumbnail to check by, since 64 bits agree by chance in large collections."""

    hash: int
    thumbnail: bytes  # THUMBNAIL_SIDE x THUMBNAIL_SIDE, grey of 8 bits

    @classmethod
    def of(cls, image: NDArray[Any]) -> Appearance:
        """Of an image, H x W x C, uint8 or uint16."""
        # To the side that the hash is made from: by means, a quarter of the time of its own filter.
        grey = _to_gray(image).resize((2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE), Image.Resampling.BOX)
        bits = imagehash.phash(grey).hash.ravel()
        packed = int.from_bytes(np.packbits(bits).tobytes(), "big")
        return cls(packed, grey.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX).tobytes())

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Of the thumbnail."""
        return np.frombuffer(self.thumbnail, np.uint8)


@dataclass(frozen=True, eq=False)
class Look:
    """The features by which an image is compared with others."""

    sha256: str  # of the file
    appearance: Appearance


class NearDuplicateIndex:
    """The images seen so far, in which the same look is searched for.

    Args:
        limits: how far the 64-bit hashes of two may differ, and how well their thumbnails must correlate.
    """

    def __init__(self, limits: NearDuplicates) -> None:
        self._limits = limits
        self._names: list[str] = []
        self._by_content: dict[str, int] = {}
        self._hashes = np.empty(0, np.uint64)
        self._thumbnails = np.empty((0, THUMBNAIL_SIDE * THUMBNAIL_SIDE), np.uint8)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, sha256: str, appearance: Appearance, distinct: Container[str] = ()) -> list[str]:
        """Find images that look the same.

        Args:
            sha256: of the image's file.
            appearance: of the image.
            distinct: names of images that are known to be different; a copy of the file is always found.

        Returns:
            Their names, in the order in which they were added.
        """
        count = len(self._names)
        distances = np.bitwise_count(self._hashes[:count] ^ np.uint64(appearance.hash))
        near = np.flatnonzero(distances <= self._limits.max_distance)
        same = self._by_content.get(sha256)
        if near.size:  # seldom
            near = near[
                normalize_thumbnails(self._thumbnails[near]) @ normalize_thumbnails(appearance.pixels)
                >= self._limits.min_correlation
            ]
        found = {index for index in near.tolist() if self._names[index] not in distinct}
        return [self._names[index] for index in sorted(found if same is None else found | {same})]

    def add(self, name: str, sha256: str, appearance: Appearance) -> None:
        """Add an image."""
        count = len(self._names)
        if count == len(self._hashes):
            self._hashes = np.resize(self._hashes, max(64, 2 * count))
            self._thumbnails = np.resize(self._thumbnails, (max(64, 2 * count), THUMBNAIL_SIDE * THUMBNAIL_SIDE))
        self._names.append(name)
        self._by_content.setdefault(sha256, count)
        self._hashes[count] = appearance.hash
        self._thumbnails[count] = appearance.pixels


def normalize_thumbnails(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails (... x pixels) without their means, of length 1, so that products are correlations; 0 where flat."""
    values = thumbnails - thumbnails.mean(axis=-1, keepdims=True, dtype=np.float32)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.where(lengths >= MIN_STD * THUMBNAIL_SIDE, values / np.maximum(lengths, 1), 0)


def _to_gray(image: NDArray[Any]) -> Image.Image:
    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return Image.fromarray(image).convert("L")
    mean = image.mean(axis=-1, dtype=np.float32)
    low, high = float(mean.min()), float(mean.max())  # 16 bits are seldom used in full
    return Image.fromarray(((mean - low) * (255 / max(high - low, 1.0))).astype(np.uint8))


@dataclass(frozen=True, eq=False)
class DuplicatePair:
    """Two images that look the same.

    Attributes:
        names: their ids.
        splits: that they are in; twice the same one if they leak nothing.
        images: H x W x C, as prepared.
    """

    names: tuple[str, str]
    splits: tuple[str, str]
    images: tuple[NDArray[Any], NDArray[Any]]


class NearDuplicateCheck:
    """Compares images in the order of their splits.

    Args:
        limits: when two images count as the same, and which do not.
        names: ids of all images, also of those whose masks cannot be used.
        key: of the section, for messages.
        chooses_showcase: whether the showcase is taken from training by a hash. Then training images that look the same
            as it are not the user's fault: they are kept, and reported.

    Raises:
        PipelineError: `distinct` names an image that is not there, or one image twice.
    """

    def __init__(
        self, limits: NearDuplicates, names: Collection[str], key: str, chooses_showcase: bool = False
    ) -> None:
        self._chooses_showcase = chooses_showcase
        self._index = NearDuplicateIndex(limits)
        self._distinct: dict[str, set[str]] = {}
        mistakes = []
        for written in limits.distinct:
            one, other = (image_id(name) for name in written)
            if unknown := [name for name in (one, other) if name not in names]:
                mistakes.append(
                    f"there is no image {join_names(unknown)}; write paths below images/ without their endings."
                )
            elif one == other:
                mistakes.append(f"{join_names(written)} is one image; write the two that are different.")
            self._distinct.setdefault(one, set()).add(other)
            self._distinct.setdefault(other, set()).add(one)
        if mistakes:
            raise PipelineError("\n".join(f"{key}.near_duplicates.distinct: {mistake}" for mistake in mistakes))
        self._seen: dict[str, tuple[ImageMaskPair, str]] = {}
        self.within: list[tuple[str, str]] = []
        self.of_showcase: list[tuple[str, str]] = []  # the showcase, and an image of training that looks the same
        self._across: list[tuple[str, str]] = []

    def check(self, pair: ImageMaskPair, look: Look, split: str) -> list[DataIssue]:
        """Compare an image with those before.

        Returns:
            A fault if it looks the same as one of another split; such an image is not compared with later ones.
        """
        alike = self._index.find(look.sha256, look.appearance, self._distinct.get(pair.id, ()))
        if self._chooses_showcase and split == SPLITS[0]:
            shown = [name for name in alike if self._seen[name][1] == SHOWCASE]
            self.of_showcase += [(name, pair.id) for name in shown]
            alike = [name for name in alike if name not in shown]
        for name in alike:
            other, where = self._seen[name]
            if where != split:
                self._across.append((pair.id, name))
                self._seen[pair.id] = (pair, split)
                return [
                    DataIssue(IssueKind.LOOKS_ALIKE, pair.id, pair.image, f"in {split}, as {other.image} in {where}")
                ]
        if alike:
            self.within.append((alike[0], pair.id))
        self._seen[pair.id] = (pair, split)
        self._index.add(pair.id, look.sha256, look.appearance)
        return []

    def leaks(self) -> Iterator[tuple[str, str, tuple[str, str]]]:
        """List ids and splits of the pairs in two splits; the first image of each is left out."""
        return map(self._with_splits, self._across)

    def pairs(self) -> Iterator[tuple[str, str, tuple[str, str]]]:
        """List ids and splits of all pairs, those in two splits first."""
        return map(self._with_splits, (*self._across, *self.of_showcase, *self.within))

    def _with_splits(self, pair: tuple[str, str]) -> tuple[str, str, tuple[str, str]]:
        one, other = pair
        return one, other, (self._seen[one][1], self._seen[other][1])


def write_contact_sheet(pairs: Iterator[DuplicatePair], path: Path) -> Path | None:
    """Write the first pairs as one PNG, two images side by side with their names and splits.

    Returns:
        The path; None, and no file is written, if there are no pairs.
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
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getbuffer())
    return path


def _draw(sheet: Image.Image, pair: DuplicatePair, left: int, top: int) -> None:
    canvas, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    leaks = pair.splits[0] != pair.splits[1]
    for place, (name, split, image) in enumerate(zip(pair.names, pair.splits, pair.images, strict=True)):
        x = left + place * SHOWN_SIDE
        shown = Image.fromarray(in_colour(image))
        sheet.paste(shown.resize((SHOWN_SIDE - 2, SHOWN_SIDE - 2), Image.Resampling.LANCZOS), (x, top))
        text = _shorten(escape_unprintable(name), font)
        canvas.text((x, top + SHOWN_SIDE), text, TEXT_COLOR, font)
        canvas.text((x, top + SHOWN_SIDE + LINE_HEIGHT), split, LEAK_COLOR if leaks else TEXT_COLOR, font)


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= SHOWN_SIDE - 4:
        return text
    while text and font.getlength(f"{text}…") > SHOWN_SIDE - 4:
        text = text[:-1]
    return f"{text}…"
