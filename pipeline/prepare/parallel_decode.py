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
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.decoded_pair import DecodedPair, DecodedPairCache
from pipeline.prepare.image_mask_pair import FittedMask, ImageMaskPair, MaskReader, UndeclaredValuesError
from pipeline.prepare.near_duplicates import Appearance, Look
from pipeline.prepare.safe_read import read_limited
from pipeline.runs import SCRATCH
from pipeline.runtime.process import terminate_with_parent

if TYPE_CHECKING:
    from pipeline.params.data.image_data import MaskOrientation

CACHE_VERSION = 3  # of the cache: a new one decodes everything again

CACHE_FOLDER = SCRATCH / "decoded"
MIN_PARALLEL = 150  # pairs: to decode these takes less time than to start processes
_BATCH_PAIRS = 16  # pairs that travel together, since each journey costs a fraction of a millisecond, ...
_BATCH_BYTES = 4_000_000  # ... but no more than this of arrays
_BATCHES_AHEAD = 3  # journeys a process that may be under way

# Without what else this process holds open, and safe beside its threads.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class DecodeSettings:
    """What is done to every pair of a source."""

    folder: Path
    image_size: int  # px
    resize: Resize
    channels: int | None
    masks: MaskReader
    mask_orientation: MaskOrientation | None = None

    @property
    def sample_bytes(self) -> int:
        """What a decoded pair takes in memory, about."""
        return self.image_size**2 * (2 * (self.channels or 3) + 1)

    def key(self, sha256: str) -> str:
        """What a decoded pair is cached under: the content of its files, and all that is done to it."""
        settings = (CACHE_VERSION, self.image_size, self.resize, self.channels, self.masks, self.mask_orientation)
        return hashlib.sha256(f"{sha256} {settings!r}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class DecodeResult:
    """What became of a pair: `decoded`, or else the faults that are the reason why not."""

    pair: ImageMaskPair
    decoded: DecodedPair | None
    faults: tuple[DataIssue, ...] = ()
    look: Look | None = None  # of an image that could be decoded, whatever its mask is like
    key: str = ""  # of the cache
    is_new: bool = False  # decoded now, and not taken from the cache
    is_kept: bool = False  # in the cache


def decode_pair(pair: ImageMaskPair, settings: DecodeSettings, cache: DecodedPairCache | None) -> DecodeResult:
    """Read a pair, from the cache where its files' content was decoded before, else into it.

    Never raises for what files hold.
    """
    named = settings.masks.name(pair)
    picture = _read(pair, pair.image, lambda: read_limited(settings.folder / pair.image))
    truth = _read(pair, named, lambda: settings.masks.content(settings.folder, pair.truth))
    if isinstance(picture, DataIssue) or isinstance(truth, DataIssue):
        return DecodeResult(pair, None, tuple(found for found in (picture, truth) if isinstance(found, DataIssue)))
    digest = hashlib.sha256(picture)
    image_sha256 = digest.hexdigest()
    digest.update(truth)
    key = settings.key(digest.hexdigest())
    if cache is not None and (found := cache.find(key)) is not None:
        return DecodeResult(pair, found, look=Look(image_sha256, found.appearance), key=key, is_kept=True)
    image, mask, faults = _decode_and_resize(pair, picture, truth, settings)
    look = Look(image_sha256, Appearance.of(image.pixels)) if image else None
    if image is None or mask is None or look is None or faults:
        return DecodeResult(pair, None, tuple(faults), look)
    decoded = DecodedPair(
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
    return DecodeResult(pair, decoded, look=look, key=key, is_new=True, is_kept=is_kept)


def _read(pair: ImageMaskPair, file: str, read: Callable[[], bytes]) -> bytes | DataIssue:
    try:
        return read()
    except OSError as error:
        return DataIssue(IssueKind.UNREADABLE, pair.id, file, error.strerror or type(error).__name__)


@dataclass(frozen=True, eq=False)
class _ResizedImage:
    pixels: NDArray[Any]
    height: int
    width: int
    stored: Stored


def _decode_and_resize(
    pair: ImageMaskPair, picture: bytes, truth: bytes, settings: DecodeSettings
) -> tuple[_ResizedImage | None, FittedMask | None, list[DataIssue]]:
    """Decode and fit an image and its mask, each as far as possible, and list their faults."""
    faults: list[DataIssue] = []
    image: _ResizedImage | None = None
    mask: FittedMask | None = None
    named = settings.masks.name(pair)
    orientation = UPRIGHT  # of the pixels that the mask covers
    try:
        pixels, height, width = read_fitted(picture, settings.channels, settings.image_size, settings.resize)
        image = _ResizedImage(pixels, height, width, Stored.of(picture))
        orientation = image.stored.orientation if settings.mask_orientation == "stored" else UPRIGHT
    except PictureError as error:
        faults.append(DataIssue(IssueKind.UNREADABLE, pair.id, pair.image, str(error)))
    try:
        mask = settings.masks.fitted(truth, settings.image_size, settings.resize, orientation)
    except PictureError as error:
        faults.append(DataIssue(IssueKind.UNREADABLE, pair.id, named, str(error)))
    except UndeclaredValuesError as error:
        faults.append(DataIssue(IssueKind.VALUES, pair.id, named, undeclared=error.pixels))
    if image and mask:
        if (mask.height, mask.width) != (image.height, image.width):
            sizes = f"{mask.width} × {mask.height}, the image {image.width} × {image.height}"
            faults.append(DataIssue(IssueKind.SIZES, pair.id, named, sizes))
        elif settings.mask_orientation is None and _is_ambiguous(image, mask):
            faults.append(
                DataIssue(IssueKind.ORIENTATION, pair.id, named, f"EXIF orientation {image.stored.orientation}")
            )
    return image, mask, faults


def _is_ambiguous(image: _ResizedImage, mask: FittedMask) -> bool:
    """Return whether a mask of a turned image has the same size whichever way it is meant."""
    return not mask.has_orientation and fits_either_way(image.stored.orientation, image.height, image.width)


def decode_pairs(
    pairs: Sequence[ImageMaskPair], settings: DecodeSettings, scratch: Path = CACHE_FOLDER
) -> Iterator[DecodeResult]:
    """Decode pairs, one outcome each, in the order given; what was decoded before comes from the cache."""
    cache = _open_cache(scratch)
    outcomes = (
        (decode_pair(pair, settings, cache) for pair in pairs)
        if len(pairs) < MIN_PARALLEL
        else _decode_in_parallel(pairs, settings, cache)
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal
    yield from track(outcomes, "Images", len(pairs), console=console, disable=hidden, transient=True)
    if cache is not None:
        cache.forget()


def _open_cache(folder: Path) -> DecodedPairCache | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return DecodedPairCache(folder)


def _decode_in_parallel(
    pairs: Sequence[ImageMaskPair], settings: DecodeSettings, cache: DecodedPairCache | None
) -> Iterator[DecodeResult]:
    processes = min(len(os.sched_getaffinity(0)), 1 + len(pairs) // MIN_PARALLEL)
    together = max(1, min(_BATCH_PAIRS, _BATCH_BYTES // settings.sample_bytes))
    rest = iter(pairs)
    waiting: deque[Future[list[DecodeResult]]] = deque()
    pool = ProcessPoolExecutor(processes, _CONTEXT, initializer=_start_worker, initargs=(settings, cache))
    try:
        while True:
            while len(waiting) < _BATCHES_AHEAD * processes and (batch := list(islice(rest, together))):
                waiting.append(pool.submit(_decode_batch, batch))
            if not waiting:
                return
            yield from (_with_arrays(outcome, settings, cache) for outcome in waiting.popleft().result())
    except BrokenProcessPool:
        raise PipelineError(
            f"A process that decodes the images in {settings.folder} was killed, perhaps for want of memory. Run this "
            f"again: what was decoded before is kept."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker:
    """What a process of the crew knows; set once, as it begins."""

    settings: DecodeSettings
    cache: DecodedPairCache | None


def _start_worker(settings: DecodeSettings, cache: DecodedPairCache | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    terminate_with_parent()
    _Worker.settings, _Worker.cache = settings, cache


def _decode_batch(pairs: Sequence[ImageMaskPair]) -> list[DecodeResult]:
    """Without the arrays, where these are in the cache: to read them there takes less than to send them."""
    outcomes = [decode_pair(pair, _Worker.settings, _Worker.cache) for pair in pairs]
    return [replace(outcome, decoded=None) if outcome.is_kept else outcome for outcome in outcomes]


def _with_arrays(outcome: DecodeResult, settings: DecodeSettings, cache: DecodedPairCache | None) -> DecodeResult:
    """With the arrays; decoded here, should the cache have lost them since."""
    if outcome.decoded is not None or outcome.faults:
        return outcome
    found = cache.find(outcome.key) if cache else None
    return replace(outcome, decoded=found) if found else decode_pair(outcome.pair, settings, cache)
