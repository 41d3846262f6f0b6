"""A pair decoded: its files read, checked and made to fit. Runs in processes of its own, and imports little."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.picture_error import PictureError
from pipeline.data.pictures import Resize, read_fitted
from pipeline.data.stored import Stored
from pipeline.prepare.decoding.cache import Cache
from pipeline.prepare.decoding.decoded import Decoded
from pipeline.prepare.decoding.look_alikes import Appearance
from pipeline.prepare.faults import Fault, Kind
from pipeline.prepare.files import content_of
from pipeline.prepare.pairs import Masks, Pair, UndeclaredError

VERSION = 1  # of what is cached; another one makes all of it anew


@dataclass(frozen=True)
class Settings:
    """What is done to every pair of a source."""

    folder: Path
    image_size: int  # px
    resize: Resize
    channels: int | None
    masks: Masks

    @property
    def sample_bytes(self) -> int:
        """What a decoded pair takes in memory, about."""
        return self.image_size**2 * (2 * (self.channels or 3) + 1)

    def key(self, sha256: str) -> str:
        """What a decoded pair is cached under: the content of its files, and all that is done to it."""
        settings = (VERSION, self.image_size, self.resize, self.channels, self.masks)
        return hashlib.sha256(f"{sha256} {settings!r}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a pair: `decoded`, or else the faults that are the reason why not."""

    pair: Pair
    decoded: Decoded | None
    faults: tuple[Fault, ...] = ()
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
        return Outcome(pair, found, key=key, is_kept=True)
    made = _made(pair, picture, truth, settings)
    if not isinstance(made, _Fitted):
        return Outcome(pair, None, made)
    decoded = Decoded(
        image=made.image,
        mask=made.mask,
        height=made.height,
        width=made.width,
        sha256=digest.hexdigest(),
        image_sha256=image_sha256,
        stored=Stored.of(picture),
        appearance=Appearance.of(made.image),
    )
    is_kept = cache is not None and cache.add(key, decoded)
    return Outcome(pair, decoded, key=key, is_new=True, is_kept=is_kept)


def _content(pair: Pair, file: str, read: Callable[[], bytes]) -> bytes | Fault:
    try:
        return read()
    except OSError as error:
        return Fault(Kind.UNREADABLE, pair.id, file, error.strerror or type(error).__name__)


@dataclass(frozen=True, eq=False)
class _Fitted:
    image: NDArray[Any]
    mask: NDArray[np.uint8]
    height: int
    width: int


def _made(pair: Pair, picture: bytes, truth: bytes, settings: Settings) -> _Fitted | tuple[Fault, ...]:
    faults: list[Fault] = []
    image: NDArray[Any] | None = None
    mask: NDArray[np.uint8] | None = None
    height = width = high = wide = 0  # of the image, and of the mask
    named = settings.masks.name(pair)
    try:
        image, height, width = read_fitted(picture, settings.channels, settings.image_size, settings.resize)
    except PictureError as error:
        faults.append(Fault(Kind.UNREADABLE, pair.id, pair.image, str(error)))
    try:
        mask, high, wide = settings.masks.fitted(truth, settings.image_size, settings.resize)
    except PictureError as error:
        faults.append(Fault(Kind.UNREADABLE, pair.id, named, str(error)))
    except UndeclaredError as error:
        faults.append(Fault(Kind.VALUES, pair.id, named, undeclared=error.pixels))
    if image is not None and mask is not None and (high, wide) != (height, width):
        sizes = f"{wide} × {high}, the image {width} × {height}"
        faults.append(Fault(Kind.SIZES, pair.id, named, sizes))
    if image is None or mask is None or faults:
        return tuple(faults)
    return _Fitted(image, mask, height, width)
