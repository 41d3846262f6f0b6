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
from pipeline.prepare import parallel_decode
from pipeline.prepare.decoded_pair import DecodedPairCache
from pipeline.prepare.image_mask_pair import ImageMaskPair, ValueMaskReader
from pipeline.prepare.parallel_decode import DecodeResult, DecodeSettings, decode_pairs
from tests.prepare.conftest import MASK, create_image, write_folder_params

MASKS = ValueMaskReader(((0,), (1,), (2,)))
COUNT = 20
CACHE = "cache/decoded"


def add_pair(folder: Path, index: int) -> ImageMaskPair:
    for kind, image in (("images", create_image(index)), ("masks", Image.fromarray(MASK))):
        (folder / kind).mkdir(exist_ok=True)
        image.save(folder / kind / f"{index:03}.png")
    return ImageMaskPair(f"{index:03}", f"images/{index:03}.png", f"masks/{index:03}.png")


@pytest.fixture
def pairs(tmp_path: Path) -> list[ImageMaskPair]:
    return [add_pair(tmp_path, index) for index in range(COUNT)]


@pytest.fixture
def decode(tmp_path: Path) -> Callable[..., list[DecodeResult]]:
    """Return a function that decodes pairs of the folder."""

    def decode(pairs: list[ImageMaskPair], size: int = 16, masks: object = MASKS) -> list[DecodeResult]:
        settings = DecodeSettings(tmp_path, size, "stretch", None, masks)
        return list(decode_pairs(pairs, settings, tmp_path / CACHE))

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
    pairs: list[ImageMaskPair],
    decode: Callable[..., list[DecodeResult]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serial = decode(pairs)
    shutil.rmtree(tmp_path / CACHE)
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", 5)
    parallel = decode(pairs)
    assert len(list_new_ids(parallel)) == COUNT
    assert_same_results(serial, parallel)
    assert list_new_ids(decode(pairs)) == []


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda content: content[:-10],
    "header only": lambda content: content[:4],
    "zeros": lambda content: bytes(len(content)),
    "four zeros": lambda _: bytes(4),
    "flipped bit": lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    "another format": lambda _: b"SQLite format 3\0" + bytes(500),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("min_parallel", [5, 150], ids=["parallel", "serial"])
def test_damaged_cache_file_is_decoded_again(
    tmp_path: Path,
    pairs: list[ImageMaskPair],
    decode: Callable[..., list[DecodeResult]],
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes], bytes],
    min_parallel: int,
) -> None:
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", min_parallel)
    first = decode(pairs)
    file = tmp_path / CACHE / first[4].key
    file.write_bytes(damage(file.read_bytes()))
    again = decode(pairs)
    assert list_new_ids(again) == ["004"]
    assert_same_results(first, again)
    assert list_new_ids(decode(pairs)) == []


@pytest.mark.parametrize("min_parallel", [5, 150], ids=["parallel", "serial"])
@pytest.mark.parametrize("blocked_path", ["cache", CACHE])
def test_unwritable_cache_decodes_everything(
    tmp_path: Path,
    pairs: list[ImageMaskPair],
    decode: Callable[..., list[DecodeResult]],
    monkeypatch: pytest.MonkeyPatch,
    blocked_path: str,
    min_parallel: int,
) -> None:
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", min_parallel)
    serial = decode(pairs)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / blocked_path).parent.mkdir(exist_ok=True)
    (tmp_path / blocked_path).write_bytes(b"a file instead of the folder")
    for _ in range(2):
        results = decode(pairs)
        assert len(list_new_ids(results)) == COUNT
        assert_same_results(serial, results)


def test_cache_removed_during_decoding_is_decoded_again(
    tmp_path: Path,
    pairs: list[ImageMaskPair],
    decode: Callable[..., list[DecodeResult]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serial = decode(pairs)
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", 5)
    original = parallel_decode._with_arrays

    def remove_cache_first(result: DecodeResult, settings: DecodeSettings, cache: DecodedPairCache) -> DecodeResult:
        shutil.rmtree(tmp_path / CACHE, ignore_errors=True)
        return original(result, settings, cache)

    monkeypatch.setattr(parallel_decode, "_with_arrays", remove_cache_first)
    assert_same_results(serial, decode(pairs))


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


def test_killed_worker_is_reported(
    pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", 5)
    with pytest.raises(PipelineError, match="was killed"):
        decode(pairs, masks=KillingMaskReader())


def test_killed_prepare_leaves_no_partial_folder_and_no_process(tmp_path: Path) -> None:
    """`prepare` is killed at several times, then runs to its end."""
    folder = tmp_path / "cells"
    folder.mkdir()
    mask = Image.fromarray(np.kron(MASK, np.ones((8, 7), np.uint8))[:120, :160])
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for index in range(400):
        create_image(index, (120, 160)).save(folder / "images" / f"{index:03}.png")
        mask.save(folder / "masks" / f"{index:03}.png")
    write_folder_params(tmp_path, {"showcase_ids": None, "image_size": 96})
    command = [Path(sys.executable).with_name("pipeline"), "prepare"]
    for seconds in (0.8, 1.4, 1.8):
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.kill()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive
        if (tmp_path / PREPARED).exists():  # it finished before it was killed
            assert (tmp_path / PREPARED / PreparedData.CLASSES).exists()
            shutil.rmtree(tmp_path / PREPARED)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(np.load(tmp_path / PREPARED / "train" / PreparedData.IMAGES)) > 200
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["prepared"]
