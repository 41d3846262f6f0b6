"""A pair decoded: its files read, checked and made to fit. Runs in processes of its own, and imports little."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pipeline.imaging.decode import read_fitted
from pipeline.imaging.errors import ImageError
from pipeline.imaging.metadata import UPRIGHT, ImageMetadata, fits_either_way
from pipeline.imaging.resize import Resize
from pipeline.prepare.decoding.cache import Cache
from pipeline.prepare.decoding.decoded import Decoded
from pipeline.prepare.decoding.look_alikes import Appearance
from pipeline.prepare.faults import Fault, Kind
from pipeline.prepare.files import content_of
from pipeline.prepare.pairs import FittedMask, Masks, Pair, UndeclaredError

if TYPE_CHECKING:
    from pipeline.params.data.image_data import MaskOrientation

VERSION = 4  # of the cache: a new one decodes everything again


@dataclass(frozen=True)
class Settings:
    """What is done to every pair of a source."""

    folder: Path
    image_size: int  # px
    resize: Resize
    channels: int | None
    masks: Masks
    mask_orientation: MaskOrientation | None = None

    @property
    def sample_bytes(self) -> int:
        """What a decoded pair takes in memory, about."""
        return self.image_size**2 * (2 * (self.channels or 3) + 1)

    def key(self, sha256: str) -> str:
        """What a decoded pair is cached under: the content of its files, and all that is done to it."""
        settings = (VERSION, self.image_size, self.resize, self.channels, self.masks, self.mask_orientation)
        return hashlib.sha256(f"{sha256} {settings!r}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Look:
    """The features by which an image is compared with others."""

    sha256: str  # of the file
    appearance: Appearance


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a pair: `decoded`, or else the faults that are the reason why not."""

    pair: Pair
    decoded: Decoded | None
    faults: tuple[Fault, ...] = ()
    look: Look | None = None  # of an image that could be decoded, whatever its mask is like
    key: str = ""  # of the cache
    is_new: bool = False  # decoded now, and not taken from the cache
    is_kept: bool = False  # in the cache


def decode(pair: Pair, settings: Settings, cache: Cache | None) -> Outcome:
    """Read a pair, from the cache where its files' content was decoded before, else into it.

    Never raises for what files hold.
    """
    named = settings.masks.name(pair)
    picture = _content(pair, pair.image, lambda: content_of(settings.folder / pair.image))
    truth = _content(pair, named, lambda: settings.masks.content(settings.folder, pair.truth))
    if isinstance(picture, Fault) or isinstance(truth, Fault):
        return Outcome(pair, None, tuple(found for found in (picture, truth) if isinstance(found, Fault)))
    digest = hashlib.sha256(picture)
    image_sha256 = digest.hexdigest()
    digest.update(truth)
    key = settings.key(digest.hexdigest())
    if cache is not None and (found := cache.find(key)) is not None:
        return Outcome(pair, found, look=Look(image_sha256, found.appearance), key=key, is_kept=True)
    image, mask, faults = _fit(pair, picture, truth, settings)
    look = Look(image_sha256, Appearance.of(image.pixels)) if image else None
    if image is None or mask is None or look is None or faults:
        return Outcome(pair, None, tuple(faults), look)
    decoded = Decoded(
        image=image.pixels,
        mask=mask.classes,
        height=image.height,
        width=image.width,
        sha256=digest.hexdigest(),
        image_sha256=image_sha256,
        stored=image.stored,
        appearance=look.appearance,
        palette=mask.palette,
    )
    is_kept = cache is not None and cache.add(key, decoded)
    return Outcome(pair, decoded, look=look, key=key, is_new=True, is_kept=is_kept)


def _content(pair: Pair, file: str, read: Callable[[], bytes]) -> bytes | Fault:
    try:
        return read()
    except OSError as error:
        return Fault(Kind.UNREADABLE, pair.id, file, error.strerror or type(error).__name__)


@dataclass(frozen=True, eq=False)
class _FittedImage:
    pixels: NDArray[Any]
    height: int
    width: int
    stored: ImageMetadata


def _fit(
    pair: Pair, picture: bytes, truth: bytes, settings: Settings
) -> tuple[_FittedImage | None, FittedMask | None, list[Fault]]:
    """Decode and fit an image and its mask, each as far as possible, and list their faults."""
    faults: list[Fault] = []
    image: _FittedImage | None = None
    mask: FittedMask | None = None
    named = settings.masks.name(pair)
    orientation = UPRIGHT  # of the pixels that the mask covers
    try:
        pixels, height, width = read_fitted(picture, settings.channels, settings.image_size, settings.resize)
        image = _FittedImage(pixels, height, width, ImageMetadata.read(picture))
        orientation = image.stored.orientation if settings.mask_orientation == "stored" else UPRIGHT
    except ImageError as error:
        faults.append(Fault(Kind.UNREADABLE, pair.id, pair.image, str(error)))
    try:
        mask = settings.masks.fitted(truth, settings.image_size, settings.resize, orientation)
    except ImageError as error:
        faults.append(Fault(Kind.UNREADABLE, pair.id, named, str(error)))
    except UndeclaredError as error:
        faults.append(Fault(Kind.VALUES, pair.id, named, undeclared=error.pixels))
    if image and mask:
        if (mask.height, mask.width) != (image.height, image.width):
            sizes = f"{mask.width} × {mask.height}, the image {image.width} × {image.height}"
            faults.append(Fault(Kind.SIZES, pair.id, named, sizes))
        elif settings.mask_orientation is None and _is_ambiguous(image, mask):
            faults.append(Fault(Kind.ORIENTATION, pair.id, named, f"EXIF orientation {image.stored.orientation}"))
    return image, mask, faults


def _is_ambiguous(image: _FittedImage, mask: FittedMask) -> bool:
    """Return whether a mask of a turned image has the same size whichever way it is meant."""
    return not mask.has_orientation and fits_either_way(image.stored.orientation, image.height, image.width)
