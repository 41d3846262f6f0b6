"""Decoding in parallel and from the cache: the same results in the same order, without repeated work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import PREPARED
from pipeline.errors import PipelineError
from pipeline.imaging.resize import FixedSize
from pipeline.prepare import parallel_decode
from pipeline.prepare.image_mask_pair import ImageMaskPair, ValueMaskReader
from pipeline.prepare.parallel_decode import DecodeResult, DecodeSettings, decode_pairs
from tests.prepare.conftest import MASK, create_image, write_folder_params

pytestmark = pytest.mark.usefixtures("preloaded_workers")

MASKS = ValueMaskReader(((0,), (1,), (2,)))
COUNT = 20
NUM_FILES = 200  # enough to be decoded in parallel
CACHE = "cache/decoded"


def add_pair(folder: Path, index: int) -> ImageMaskPair:
    for kind, image in (("images", create_image(index)), ("masks", Image.fromarray(MASK))):
        (folder / kind).mkdir(exist_ok=True)
        image.save(folder / kind / f"{index:03}.png")
    return ImageMaskPair(f"{index:03}", f"images/{index:03}.png", f"masks/{index:03}.png")


@pytest.fixture
def pairs(tmp_path: Path) -> list[ImageMaskPair]:
    return [add_pair(tmp_path, index) for index in range(COUNT)]


def create_settings(folder: Path, size: int = 16, masks: object = MASKS) -> DecodeSettings:
    return DecodeSettings(folder, FixedSize((size, size), "stretch"), None, masks)


@pytest.fixture
def decode(tmp_path: Path) -> Callable[..., list[DecodeResult]]:
    """Return a function that decodes pairs of the folder."""

    def decode(
        pairs: list[ImageMaskPair], size: int = 16, masks: object = MASKS, num_workers: int = 0
    ) -> list[DecodeResult]:
        return list(decode_pairs(pairs, create_settings(tmp_path, size, masks), tmp_path / CACHE, num_workers))

    return decode


def list_new_ids(results: list[DecodeResult]) -> list[str]:
    return [result.pair.id for result in results if result.is_new]


def assert_same_results(left: list[DecodeResult], right: list[DecodeResult]) -> None:
    assert [result.pair for result in left] == [result.pair for result in right]
    for first, second in zip(left, right, strict=True):
        assert first.decoded is not None
        assert second.decoded is not None
        np.testing.assert_array_equal(first.decoded.image, second.decoded.image)
        np.testing.assert_array_equal(first.decoded.mask, second.decoded.mask)
        assert first.decoded.stored == second.decoded.stored
        assert first.decoded.fingerprint == second.decoded.fingerprint
        assert (first.decoded.sha256, first.key) == (second.decoded.sha256, second.key)


def test_only_an_added_image_is_decoded(
    tmp_path: Path, pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]]
) -> None:
    first = decode(pairs)
    assert len(list_new_ids(first)) == COUNT
    again = decode(pairs)
    assert list_new_ids(again) == []
    assert_same_results(first, again)
    assert list_new_ids(decode([*pairs, add_pair(tmp_path, COUNT)])) == [f"{COUNT:03}"]


def test_changed_files_are_decoded_again_but_not_renamed_ones(
    tmp_path: Path, pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]]
) -> None:
    decode(pairs)
    create_image(99).save(tmp_path / pairs[3].image)
    Image.fromarray(MASK[::-1].copy()).save(tmp_path / pairs[5].mask)
    assert list_new_ids(decode(pairs)) == ["003", "005"]
    (tmp_path / pairs[7].image).rename(tmp_path / "images/other.png")
    assert list_new_ids(decode([ImageMaskPair("other", "images/other.png", pairs[7].mask)])) == []
    assert len(list_new_ids(decode(pairs[:3], size=8))) == 3
    assert len(list_new_ids(decode(pairs[:3], masks=ValueMaskReader(MASKS.values[::-1])))) == 3


def test_parallel_decoding_equals_serial_decoding(
    pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]], tmp_path: Path
) -> None:
    serial = decode(pairs)
    shutil.rmtree(tmp_path / CACHE)
    parallel = decode(pairs, num_workers=2)
    assert len(list_new_ids(parallel)) == COUNT
    assert_same_results(serial, parallel)
    assert list_new_ids(decode(pairs, num_workers=2)) == []


def test_number_of_processes_does_not_change_results(
    tmp_path: Path, pairs: list[ImageMaskPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it depends on the number of pairs."""
    settings = create_settings(tmp_path)
    serial = list(decode_pairs(pairs, settings, tmp_path / CACHE))
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", 5)
    assert_same_results(serial, list(decode_pairs(pairs, settings, tmp_path / "other")))


DAMAGES: tuple[Callable[[bytes], bytes], ...] = (
    lambda _: b"",
    lambda content: content[:-10],
    lambda content: content[:4],
    lambda content: bytes(len(content)),
    lambda _: bytes(4),
    lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    lambda _: b"SQLite format 3\0" + bytes(500),
)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_damaged_cache_files_are_decoded_again(
    tmp_path: Path, pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]], num_workers: int
) -> None:
    first = decode(pairs)
    for result, damage in zip(first, DAMAGES, strict=False):
        file = tmp_path / CACHE / result.key
        file.write_bytes(damage(file.read_bytes()))
    again = decode(pairs, num_workers=num_workers)
    assert list_new_ids(again) == [result.pair.id for result in first[: len(DAMAGES)]]
    assert_same_results(first, again)
    assert list_new_ids(decode(pairs)) == []


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("blocked_path", ["cache", CACHE])
def test_unwritable_cache_decodes_everything(
    tmp_path: Path,
    pairs: list[ImageMaskPair],
    decode: Callable[..., list[DecodeResult]],
    blocked_path: str,
    num_workers: int,
) -> None:
    expected = decode(pairs)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / blocked_path).parent.mkdir(exist_ok=True)
    (tmp_path / blocked_path).write_bytes(b"a file instead of the folder")
    for workers in (num_workers, 0):
        results = decode(pairs, num_workers=workers)
        assert len(list_new_ids(results)) == COUNT
        assert_same_results(expected, results)


def test_cache_removed_during_decoding_is_decoded_again(
    tmp_path: Path, pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]]
) -> None:
    expected = decode(pairs)
    results = decode_pairs(pairs, create_settings(tmp_path), tmp_path / CACHE, num_workers=1)
    first = next(results)  # its batch has other pairs, whose arrays are in the cache only
    shutil.rmtree(tmp_path / CACHE)
    rest = list(results)
    assert "001" in list_new_ids(rest)
    assert_same_results(expected, [first, *rest])


def test_cache_files_unused_for_long_are_removed(
    tmp_path: Path, pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]]
) -> None:
    first = decode(pairs)
    long_ago = time.time() - 40 * 86_400
    for result in first:
        os.utime(tmp_path / CACHE / result.key, (long_ago, long_ago))
    decode(pairs[:2])
    assert {path.name for path in (tmp_path / CACHE).iterdir()} == {result.key for result in first[:2]}


@dataclass(frozen=True)
class KillingMaskReader:
    """A mask reader that kills the process that uses it."""

    def describe(self, pair: ImageMaskPair) -> str:
        return pair.mask

    def read(self, folder: Path, mask: str) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""


def test_killed_worker_is_reported(pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]]) -> None:
    with pytest.raises(PipelineError, match="was killed"):
        decode(pairs, masks=KillingMaskReader(), num_workers=1)


def test_killed_prepare_leaves_no_partial_folder_and_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    mask = Image.fromarray(np.kron(MASK, np.ones((8, 7), np.uint8))[:120, :160])
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(NUM_FILES):
        create_image(index, (120, 160)).save(folder / "images" / f"{index:03}.png")
        mask.save(folder / "masks" / f"{index:03}.png")
    write_folder_params(tmp_path, {"showcase_ids": None, "image_size": 96})

    def count(pattern: str) -> int:
        return len(list(tmp_path.glob(pattern)))

    command = [Path(sys.executable).with_name("pipeline"), "prepare"]
    for pattern, number in ((".cache/decoded/*", 1), (".cache/decoded/*", NUM_FILES // 2), ("data/*", 1)):
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and count(pattern) < number:
                time.sleep(0.01)
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.kill()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive
        if (tmp_path / PREPARED).exists():  # it finished before it was killed
            assert (tmp_path / PREPARED / PreparedData.CLASSES).exists()
            shutil.rmtree(tmp_path / PREPARED)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(np.load(tmp_path / PREPARED / "train" / PreparedData.IMAGES)) > NUM_FILES / 2
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["prepared"]
