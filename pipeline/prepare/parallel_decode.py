"""Decode image-mask pairs in parallel, in order and with bounded memory, and cache them.

Worker processes import this module, so it must not import parameters or pipeline stages.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.project import CACHE
from pipeline.errors import PipelineError
from pipeline.imaging.decode import read_fitted
from pipeline.imaging.errors import ImageError
from pipeline.imaging.metadata import UPRIGHT, ImageMetadata, fits_either_way
from pipeline.imaging.resize import FixedSize, Resizing
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.decoded_pair import DecodedPair, DecodedPairCache
from pipeline.prepare.image_mask_pair import ImageMaskPair, MaskReader, UndeclaredValuesError
from pipeline.prepare.near_duplicates import ImageFingerprint
from pipeline.prepare.read_file import describe_error, read_file
from pipeline.runtime.operating_system import count_cores
from pipeline.runtime.process import terminate_with_parent
from pipeline.runtime.progress import track
from pipeline.volumes.slice_file import IntensityWindow

if TYPE_CHECKING:
    from pipeline.params.data.image_data import MaskOrientation

CACHE_VERSION = 9  # increase it when decoding changes, so that all pairs are decoded again
CACHE_FOLDER = CACHE / "decoded"
MIN_PARALLEL = 150  # decoding fewer pairs takes less time than starting processes
_BATCH_PAIRS = 16  # maximum number of pairs per worker task
_BATCH_SLICES = 256  # maximum number of slices per worker task
_BATCH_BYTES = 4_000_000  # maximum size of a task's arrays
_BATCHES_AHEAD = 3  # pending tasks per worker

# Spawned workers inherit neither open files nor threads.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class DecodeSettings:
    """Settings for decoding the pairs of a source."""

    folder: Path
    resizing: Resizing
    channels: int | None
    masks: MaskReader
    mask_orientation: MaskOrientation | None = None
    window: IntensityWindow | None = None  # changes the content of slices, and thereby the key

    def key(self, sha256: str) -> str:
        """Compute the cache key of a pair from the hash of its files and these settings."""
        settings = (CACHE_VERSION, self.resizing, self.channels, self.masks, self.mask_orientation)
        return hashlib.sha256(f"{sha256} {settings!r}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class DecodeResult:
    """A decoded pair, or the issues with its files."""

    pair: ImageMaskPair
    decoded: DecodedPair | None = None  # None if there are issues, or the arrays are only in the cache
    issues: tuple[DataIssue, ...] = ()  # why the pair cannot be used
    fingerprint: ImageFingerprint | None = None  # of the image; None if it cannot be decoded
    key: str = ""  # key of the pair in the cache
    is_new: bool = False  # whether the pair was decoded rather than read from the cache
    is_cached: bool = False  # whether the cache has the pair


def decode_pairs(
    pairs: Sequence[ImageMaskPair],
    settings: DecodeSettings,
    folder: Path = CACHE_FOLDER,
    num_workers: int | None = None,
) -> Iterator[DecodeResult]:
    """Decode pairs, and yield one result per pair in the same order.

    Args:
        pairs: Pairs whose files are relative to `settings.folder`.
        settings: Settings for decoding.
        folder: Folder of the cache.
        num_workers: Number of worker processes; with 0, pairs are decoded in this process. By default, it depends on
            the number of pairs.
    """
    cache = DecodedPairCache(folder)
    if num_workers is None:
        num_workers = _choose_num_workers(len(pairs))
    results = (
        _decode_in_parallel(pairs, settings, cache, num_workers)
        if num_workers
        else (decode_pair(pair, settings, cache) for pair in pairs)
    )
    for pair, result in zip(pairs, track(results, "Images", len(pairs)), strict=True):
        # A result from a worker has a copy of the pair. Callers keep its strings, which are already in memory.
        yield replace(result, pair=pair)
    cache.remove_old()


def decode_pair(pair: ImageMaskPair, settings: DecodeSettings, cache: DecodedPairCache) -> DecodeResult:
    """Decode a pair, or read it from the cache. Invalid files never raise an exception, but are returned as issues."""
    issues: list[DataIssue] = []
    mask_name = settings.masks.describe(pair)
    with _collect_issues(issues, pair, pair.image):
        image_content = read_file(settings.folder, pair.image, settings.window)
    with _collect_issues(issues, pair, mask_name):
        mask_content = settings.masks.read(settings.folder, pair.mask)
    if issues:
        return DecodeResult(pair, issues=tuple(issues))
    digest = hashlib.sha256(image_content)
    image_sha256 = digest.hexdigest()
    digest.update(mask_content)
    key = settings.key(digest.hexdigest())
    if found := cache.find(key):
        return DecodeResult(pair, found, fingerprint=found.fingerprint, key=key, is_cached=True)
    fingerprint: ImageFingerprint | None = None
    orientation = UPRIGHT  # EXIF orientation to apply to the mask
    # The image and the mask are decoded independently where possible, to find all issues.
    with _collect_issues(issues, pair, pair.image):
        image, height, width = read_fitted(image_content, settings.channels, settings.resizing)
        stored = ImageMetadata.read(image_content)
        fingerprint = ImageFingerprint.of(image, image_sha256)
        orientation = stored.orientation if settings.mask_orientation == "stored" else UPRIGHT
    with _collect_issues(issues, pair, mask_name):
        mask = settings.masks.decode_fitted(mask_content, settings.resizing, orientation)
    if not issues:
        is_unknown = settings.mask_orientation is None and not mask.has_orientation
        if (mask.height, mask.width) != (height, width):
            sizes = f"{mask.width} × {mask.height}, but the image is {width} × {height}"
            issues.append(DataIssue(IssueKind.SIZES, pair.id, mask_name, sizes))
        elif is_unknown and fits_either_way(stored.orientation, height, width):
            detail = f"EXIF orientation {stored.orientation}"
            issues.append(DataIssue(IssueKind.ORIENTATION, pair.id, mask_name, detail))
    if issues:
        return DecodeResult(pair, issues=tuple(issues), fingerprint=fingerprint)
    assert fingerprint is not None
    decoded = DecodedPair(
        image=image,
        mask=mask.classes,
        height=height,
        width=width,
        sha256=digest.hexdigest(),
        stored=stored,
        fingerprint=fingerprint,
        palette=mask.palette,
        instances=mask.instances,
        faint=mask.faint,
    )
    is_cached = cache.add(key, decoded)
    return DecodeResult(pair, decoded, fingerprint=fingerprint, key=key, is_new=True, is_cached=is_cached)


@contextmanager
def _collect_issues(issues: list[DataIssue], pair: ImageMaskPair, file: str) -> Iterator[None]:
    """Convert exceptions about one of a pair's files to issues."""
    try:
        yield
    except (OSError, ImageError) as error:
        issues.append(DataIssue(IssueKind.UNREADABLE, pair.id, file, describe_error(error)))
    except UndeclaredValuesError as error:
        issues.append(DataIssue(IssueKind.VALUES, pair.id, file, undeclared=error.pixels))


def _choose_num_workers(num_pairs: int) -> int:
    return 0 if num_pairs < MIN_PARALLEL else min(count_cores(), 1 + num_pairs // MIN_PARALLEL)


def _decode_in_parallel(
    pairs: Sequence[ImageMaskPair], settings: DecodeSettings, cache: DecodedPairCache, num_workers: int
) -> Iterator[DecodeResult]:
    batch_size = 1  # the images' sizes are unknown
    if isinstance(settings.resizing, FixedSize):
        pair_bytes = math.prod(settings.resizing.size) * (2 * (settings.channels or 3) + 3)  # upper limit
        batch_size = max(1, min(_BATCH_PAIRS, _BATCH_BYTES // pair_bytes))
    batches = _cut_batches(pairs, batch_size)
    pending: deque[Future[list[DecodeResult]]] = deque()
    pool = ProcessPoolExecutor(num_workers, _CONTEXT, initializer=_start_worker)
    try:
        while True:
            while len(pending) < _BATCHES_AHEAD * num_workers and (batch := next(batches, None)):
                pending.append(pool.submit(_decode_batch, batch, settings, cache))
            if not pending:
                return
            yield from (_load_arrays(result, settings, cache) for result in pending.popleft().result())
    except BrokenProcessPool:
        raise PipelineError(
            f"A process that was decoding images in {settings.folder} was killed, perhaps because memory ran out. Run "
            f"the same command again; pairs that have already been decoded are cached."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _cut_batches(pairs: Sequence[ImageMaskPair], batch_size: int) -> Iterator[list[ImageMaskPair]]:
    """Cut pairs into tasks. The slices of a volume are one task, so that one worker decompresses it."""
    for volume, several in groupby(pairs, lambda pair: pair.volume):
        rest = iter(several)
        while batch := list(islice(rest, _BATCH_SLICES if volume else batch_size)):
            yield batch


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends its workers
    terminate_with_parent()


def _decode_batch(
    pairs: Sequence[ImageMaskPair], settings: DecodeSettings, cache: DecodedPairCache
) -> list[DecodeResult]:
    """Decode pairs. Arrays of cached pairs are omitted, because reading the cache is faster than sending them."""
    results = [decode_pair(pair, settings, cache) for pair in pairs]
    return [replace(result, decoded=None) if result.is_cached else result for result in results]


def _load_arrays(result: DecodeResult, settings: DecodeSettings, cache: DecodedPairCache) -> DecodeResult:
    """Add the arrays from the cache to a result. Decode the pair again if it is no longer in the cache."""
    if result.decoded is not None or result.issues:
        return result
    found = cache.find(result.key)
    return replace(result, decoded=found) if found else decode_pair(result.pair, settings, cache)
