"""Decodes pairs side by side, in bounded memory, and hands them back in their order."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import track

from pipeline.errors import PipelineError
from pipeline.prepare.decoding.cache import Cache
from pipeline.prepare.decoding.decode import Outcome, Settings, decode
from pipeline.prepare.pairs import Pair
from pipeline.runs import SCRATCH
from pipeline.runtime.process import terminate_with_parent

CACHE = SCRATCH / "decoded"
FEW = 150  # pairs: to decode these takes less time than to start processes
_TOGETHER = 16  # pairs that travel together, since each journey costs a fraction of a millisecond, ...
_BYTES = 4_000_000  # ... but no more than this of arrays
_AHEAD = 3  # journeys a process that may be under way

# Without what else this process holds open, and safe beside its threads.
_CONTEXT = multiprocessing.get_context("spawn")


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
