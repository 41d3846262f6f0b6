"""A pair decoded: its files read, checked and made to fit. Runs in processes of its own, and imports little."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from pipeline.errors import PipelineError
from pipeline.imaging.decode import Resize, read_fitted
from pipeline.imaging.errors import PictureError
from pipeline.imaging.metadata import UPRIGHT, Stored, fits_either_way
from pipeline.prepare.data_issues import Fault, Kind
from pipeline.prepare.decoded_pair import Cache, Decoded
from pipeline.prepare.image_mask_pair import FittedMask, Masks, Pair, UndeclaredError
from pipeline.prepare.near_duplicates import Appearance, Look
from pipeline.prepare.safe_read import content_of
from pipeline.runs import SCRATCH
from pipeline.runtime.process import terminate_with_parent

if TYPE_CHECKING:
    from pipeline.params.data.image_data import MaskOrientation

VERSION = 3  # of the cache: a new one decodes everything again

CACHE = SCRATCH / "decoded"
FEW = 150  # pairs: to decode these takes less time than to start processes
_TOGETHER = 16  # pairs that travel together, since each journey costs a fraction of a millisecond, ...
_BYTES = 4_000_000  # ... but no more than this of arrays
_AHEAD = 3  # journeys a process that may be under way

# Without what else this process holds open, and safe beside its threads.
_CONTEXT = multiprocessing.get_context("spawn")


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
    stored: Stored


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
        image = _FittedImage(pixels, height, width, Stored.of(picture))
        orientation = image.stored.orientation if settings.mask_orientation == "stored" else UPRIGHT
    except PictureError as error:
        faults.append(Fault(Kind.UNREADABLE, pair.id, pair.image, str(error)))
    try:
        mask = settings.masks.fitted(truth, settings.image_size, settings.resize, orientation)
    except PictureError as error:
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


def decoded(pairs: Sequence[Pair], settings: Settings, scratch: Path = CACHE) -> Iterator[Outcome]:
    """Decode pairs, one outcome each, in the order given; what was decoded before comes from the cache."""
    cache = _opened(scratch)
    outcomes = (
        (decode(pair, settings, cache) for pair in pairs) if len(pairs) < FEW else _spread(pairs, settings, cache)
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal
    yield from track(outcomes, "Images", len(pairs), console=console, disable=hidden, transient=True)
    if cache is not None:
        cache.forget()


def _opened(folder: Path) -> Cache | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return Cache(folder)


def _spread(pairs: Sequence[Pair], settings: Settings, cache: Cache | None) -> Iterator[Outcome]:
    processes = min(len(os.sched_getaffinity(0)), 1 + len(pairs) // FEW)
    together = max(1, min(_TOGETHER, _BYTES // settings.sample_bytes))
    rest = iter(pairs)
    waiting: deque[Future[list[Outcome]]] = deque()
    pool = ProcessPoolExecutor(processes, _CONTEXT, initializer=_begin, initargs=(settings, cache))
    try:
        while True:
            while len(waiting) < _AHEAD * processes and (batch := list(islice(rest, together))):
                waiting.append(pool.submit(_decode_all, batch))
            if not waiting:
                return
            yield from (_whole(outcome, settings, cache) for outcome in waiting.popleft().result())
    except BrokenProcessPool:
        raise PipelineError(
            f"A process that decodes the images in {settings.folder} was killed, perhaps for want of memory. Run this "
            f"again: what was decoded before is kept."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


class _Work:
    """What a process of the crew knows; set once, as it begins."""

    settings: Settings
    cache: Cache | None


def _begin(settings: Settings, cache: Cache | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    terminate_with_parent()
    _Work.settings, _Work.cache = settings, cache


def _decode_all(pairs: Sequence[Pair]) -> list[Outcome]:
    """Without the arrays, where these are in the cache: to read them there takes less than to send them."""
    outcomes = [decode(pair, _Work.settings, _Work.cache) for pair in pairs]
    return [replace(outcome, decoded=None) if outcome.is_kept else outcome for outcome in outcomes]


def _whole(outcome: Outcome, settings: Settings, cache: Cache | None) -> Outcome:
    """With the arrays; decoded here, should the cache have lost them since."""
    if outcome.decoded is not None or outcome.faults:
        return outcome
    found = cache.find(outcome.key) if cache else None
    return replace(outcome, decoded=found) if found else decode(outcome.pair, settings, cache)
