"""Decode pairs of image and mask in parallel, in bounded memory and in order; previously decoded ones are cached.

Worker processes import this module, so it imports no parameters and no pipeline stage.
"""

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

from pipeline.artifacts.project import CACHE
from pipeline.errors import PipelineError
from pipeline.imaging.decode import read_fitted
from pipeline.imaging.errors import ImageError
from pipeline.imaging.metadata import UPRIGHT, ImageMetadata, fits_either_way
from pipeline.imaging.resize import Resize
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.decoded_pair import DecodedPair, DecodedPairCache
from pipeline.prepare.image_mask_pair import FittedMask, ImageMaskPair, MaskReader, UndeclaredValuesError
from pipeline.prepare.near_duplicates import ImageFingerprint
from pipeline.prepare.safe_read import read_limited
from pipeline.runtime.process import terminate_with_parent

if TYPE_CHECKING:
    from pipeline.params.data.image_data import MaskOrientation

CACHE_VERSION = 4  # increase it when decoding changes, so that all pairs are decoded again
CACHE_FOLDER = CACHE / "decoded"
MIN_PARALLEL = 150  # pairs; fewer are decoded faster than processes start
_BATCH_PAIRS = 16  # pairs per message to a worker, ...
_BATCH_BYTES = 4_000_000  # ... as long as their arrays are not larger
_BATCHES_AHEAD = 3  # pending batches per worker

# Spawned workers inherit neither open files nor threads.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class DecodeSettings:
    """How all pairs of a source are decoded."""

    folder: Path
    image_size: int  # px
    resize: Resize
    channels: int | None
    masks: MaskReader
    mask_orientation: MaskOrientation | None = None

    @property
    def sample_bytes(self) -> int:
        """Approximate memory of a decoded pair."""
        return self.image_size**2 * (2 * (self.channels or 3) + 1)

    def key(self, sha256: str) -> str:
        """Compute the cache key of a pair from the hash of its files and these settings."""
        settings = (CACHE_VERSION, self.image_size, self.resize, self.channels, self.masks, self.mask_orientation)
        return hashlib.sha256(f"{sha256} {settings!r}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class DecodeResult:
    """A decoded pair, or the issues of its files.

    Attributes:
        pair: the files.
        decoded: None if there are issues, or if the arrays are left in the cache.
        issues: why the pair cannot be used.
        fingerprint: of the image; None if it cannot be decoded.
        key: of the cache.
        is_new: whether the pair was decoded, instead of taken from the cache.
        is_cached: whether the cache has the pair.
    """

    pair: ImageMaskPair
    decoded: DecodedPair | None
    issues: tuple[DataIssue, ...] = ()
    fingerprint: ImageFingerprint | None = None
    key: str = ""
    is_new: bool = False
    is_cached: bool = False


def decode_pairs(
    pairs: Sequence[ImageMaskPair], settings: DecodeSettings, folder: Path = CACHE_FOLDER
) -> Iterator[DecodeResult]:
    """Decode pairs, many of them in parallel.

    Args:
        pairs: to decode.
        settings: of the source.
        folder: of the cache.

    Returns:
        One result per pair, in their order.
    """
    cache = _open_cache(folder)
    results = (
        (decode_pair(pair, settings, cache) for pair in pairs)
        if len(pairs) < MIN_PARALLEL
        else _decode_in_parallel(pairs, settings, cache)
    )
    console = Console(stderr=True)
    hidden = not console.is_terminal
    yield from track(results, "Images", len(pairs), console=console, disable=hidden, transient=True)
    if cache is not None:
        cache.remove_old()


def decode_pair(pair: ImageMaskPair, settings: DecodeSettings, cache: DecodedPairCache | None) -> DecodeResult:
    """Decode a pair, or take it from the cache. Invalid files never raise; they give issues."""
    mask_name = settings.masks.describe(pair)
    image_content = _read(pair, pair.image, lambda: read_limited(settings.folder / pair.image))
    mask_content = _read(pair, mask_name, lambda: settings.masks.read(settings.folder, pair.mask))
    if isinstance(image_content, DataIssue) or isinstance(mask_content, DataIssue):
        contents = (image_content, mask_content)
        return DecodeResult(pair, None, tuple(issue for issue in contents if isinstance(issue, DataIssue)))
    digest = hashlib.sha256(image_content)
    image_sha256 = digest.hexdigest()
    digest.update(mask_content)
    key = settings.key(digest.hexdigest())
    if cache is not None and (found := cache.find(key)) is not None:
        return DecodeResult(pair, found, fingerprint=found.fingerprint, key=key, is_cached=True)
    image, mask, issues = _decode_and_resize(pair, image_content, mask_content, settings)
    fingerprint = ImageFingerprint.of(image.pixels, image_sha256) if image else None
    if image is None or mask is None or fingerprint is None or issues:
        return DecodeResult(pair, None, tuple(issues), fingerprint)
    decoded = DecodedPair(
        image=image.pixels,
        mask=mask.classes,
        height=image.height,
        width=image.width,
        sha256=digest.hexdigest(),
        stored=image.stored,
        fingerprint=fingerprint,
        palette=mask.palette,
    )
    is_cached = cache is not None and cache.add(key, decoded)
    return DecodeResult(pair, decoded, fingerprint=fingerprint, key=key, is_new=True, is_cached=is_cached)


def _read(pair: ImageMaskPair, file: str, read: Callable[[], bytes]) -> bytes | DataIssue:
    try:
        return read()
    except OSError as error:
        return DataIssue(IssueKind.UNREADABLE, pair.id, file, error.strerror or type(error).__name__)


@dataclass(frozen=True, eq=False)
class _ResizedImage:
    pixels: NDArray[Any]
    height: int  # px, of the original, as width
    width: int
    stored: ImageMetadata


def _decode_and_resize(
    pair: ImageMaskPair, image_content: bytes, mask_content: bytes, settings: DecodeSettings
) -> tuple[_ResizedImage | None, FittedMask | None, list[DataIssue]]:
    """Decode an image and its mask independently, as far as possible, and list all issues."""
    issues: list[DataIssue] = []
    image: _ResizedImage | None = None
    mask: FittedMask | None = None
    mask_name = settings.masks.describe(pair)
    orientation = UPRIGHT  # of the pixels that the mask covers
    try:
        pixels, height, width = read_fitted(image_content, settings.channels, settings.image_size, settings.resize)
        image = _ResizedImage(pixels, height, width, ImageMetadata.read(image_content))
        orientation = image.stored.orientation if settings.mask_orientation == "stored" else UPRIGHT
    except ImageError as error:
        issues.append(DataIssue(IssueKind.UNREADABLE, pair.id, pair.image, str(error)))
    try:
        mask = settings.masks.decode_fitted(mask_content, settings.image_size, settings.resize, orientation)
    except ImageError as error:
        issues.append(DataIssue(IssueKind.UNREADABLE, pair.id, mask_name, str(error)))
    except UndeclaredValuesError as error:
        issues.append(DataIssue(IssueKind.VALUES, pair.id, mask_name, undeclared=error.pixels))
    if image and mask:
        if (mask.height, mask.width) != (image.height, image.width):
            sizes = f"{mask.width} × {mask.height}, the image {image.width} × {image.height}"
            issues.append(DataIssue(IssueKind.SIZES, pair.id, mask_name, sizes))
        elif settings.mask_orientation is None and _is_ambiguous(image, mask):
            detail = f"EXIF orientation {image.stored.orientation}"
            issues.append(DataIssue(IssueKind.ORIENTATION, pair.id, mask_name, detail))
    return image, mask, issues


def _is_ambiguous(image: _ResizedImage, mask: FittedMask) -> bool:
    """Return whether the size of a mask does not show if it covers the upright or the stored pixels."""
    return not mask.has_orientation and fits_either_way(image.stored.orientation, image.height, image.width)


def _open_cache(folder: Path) -> DecodedPairCache | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return DecodedPairCache(folder)


def _decode_in_parallel(
    pairs: Sequence[ImageMaskPair], settings: DecodeSettings, cache: DecodedPairCache | None
) -> Iterator[DecodeResult]:
    num_workers = min(len(os.sched_getaffinity(0)), 1 + len(pairs) // MIN_PARALLEL)
    batch_size = max(1, min(_BATCH_PAIRS, _BATCH_BYTES // settings.sample_bytes))
    rest = iter(pairs)
    pending: deque[Future[list[DecodeResult]]] = deque()
    pool = ProcessPoolExecutor(num_workers, _CONTEXT, initializer=_start_worker, initargs=(settings, cache))
    try:
        while True:
            while len(pending) < _BATCHES_AHEAD * num_workers and (batch := list(islice(rest, batch_size))):
                pending.append(pool.submit(_decode_batch, batch))
            if not pending:
                return
            yield from (_with_arrays(result, settings, cache) for result in pending.popleft().result())
    except BrokenProcessPool:
        raise PipelineError(
            f"A process that decodes the images in {settings.folder} was killed, perhaps because memory ran out. Run "
            f"this again: pairs that were decoded are cached."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


class _Worker:
    """State of a worker process, set when it starts."""

    settings: DecodeSettings
    cache: DecodedPairCache | None


def _start_worker(settings: DecodeSettings, cache: DecodedPairCache | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends its workers
    terminate_with_parent()
    _Worker.settings, _Worker.cache = settings, cache


def _decode_batch(pairs: Sequence[ImageMaskPair]) -> list[DecodeResult]:
    """Decode pairs; leave cached arrays in the cache, since reading them there is faster than sending them."""
    results = [decode_pair(pair, _Worker.settings, _Worker.cache) for pair in pairs]
    return [replace(result, decoded=None) if result.is_cached else result for result in results]


def _with_arrays(result: DecodeResult, settings: DecodeSettings, cache: DecodedPairCache | None) -> DecodeResult:
    """Add the arrays from the cache; decode the pair again if the cache has lost it."""
    if result.decoded is not None or result.issues:
        return result
    found = cache.find(result.key) if cache else None
    return replace(result, decoded=found) if found else decode_pair(result.pair, settings, cache)
