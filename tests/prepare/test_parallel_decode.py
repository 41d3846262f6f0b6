"""Decoding side by side and from the cache: the same results in the same order, and nothing done twice."""

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
from tests.prepare.conftest import WHOLE, picture, written

MASKS = ValueMaskReader(((0,), (1,), (2,)))
COUNT = 20
CACHE = "cache/decoded"


def add(folder: Path, index: int) -> ImageMaskPair:
    for kind, image in (("images", picture(index)), ("masks", Image.fromarray(WHOLE))):
        (folder / kind).mkdir(exist_ok=True)
        image.save(folder / kind / f"{index:03}.png")
    return ImageMaskPair(f"{index:03}", f"images/{index:03}.png", f"masks/{index:03}.png")


@pytest.fixture
def pairs(tmp_path: Path) -> list[ImageMaskPair]:
    return [add(tmp_path, index) for index in range(COUNT)]


@pytest.fixture
def decode(tmp_path: Path) -> Callable[..., list[DecodeResult]]:
    """Decodes pairs of the folder, and says what came of it."""

    def decoding(pairs: list[ImageMaskPair], size: int = 16, masks: object = MASKS) -> list[DecodeResult]:
        settings = DecodeSettings(tmp_path, size, "stretch", None, masks)
        return list(decode_pairs(pairs, settings, tmp_path / CACHE))

    return decoding


def new(results: list[DecodeResult]) -> list[str]:
    return [result.pair.id for result in results if result.is_new]


def same(one: list[DecodeResult], other: list[DecodeResult]) -> bool:
    assert [result.pair for result in one] == [result.pair for result in other]
    for first, second in zip(one, other, strict=True):
        assert first.decoded is not None
        assert second.decoded is not None
        np.testing.assert_array_equal(first.decoded.image, second.decoded.image)
        np.testing.assert_array_equal(first.decoded.mask, second.decoded.mask)
        assert first.decoded.stored == second.decoded.stored
        assert first.decoded.fingerprint == second.decoded.fingerprint
        assert (first.decoded.sha256, first.key) == (second.decoded.sha256, second.key)
    return True


def test_an_image_that_is_added_is_the_only_one_decoded(
    tmp_path: Path, pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]]
) -> None:
    first = decode(pairs)
    assert len(new(first)) == COUNT
    again = decode(pairs)
    assert new(again) == []
    assert same(first, again)
    assert new(decode([*pairs, add(tmp_path, COUNT)])) == [f"{COUNT:03}"]


def test_what_changed_is_decoded_anew_and_what_has_another_name_is_not(
    tmp_path: Path, pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]]
) -> None:
    decode(pairs)
    picture(99).save(tmp_path / pairs[3].image)
    Image.fromarray(WHOLE[::-1].copy()).save(tmp_path / pairs[5].mask)
    assert new(decode(pairs)) == ["003", "005"]
    (tmp_path / pairs[7].image).rename(tmp_path / "images/other.png")
    assert new(decode([ImageMaskPair("other", "images/other.png", pairs[7].mask)])) == []
    assert len(new(decode(pairs[:3], size=8))) == 3
    assert len(new(decode(pairs[:3], masks=ValueMaskReader(MASKS.values[::-1])))) == 3


def test_side_by_side_is_as_one_after_the_other(
    pairs: list[ImageMaskPair],
    decode: Callable[..., list[DecodeResult]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = decode(pairs)
    shutil.rmtree(tmp_path / CACHE)
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", 5)
    together = decode(pairs)
    assert len(new(together)) == COUNT
    assert same(alone, together)
    assert new(decode(pairs)) == []


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[:-10],
    "begun": lambda content: content[:4],
    "zeros": lambda content: bytes(len(content)),
    "four zeros": lambda _: bytes(4),
    "a bit": lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    "something else": lambda _: b"SQLite format 3\0" + bytes(500),
}


@pytest.mark.parametrize("breaking", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("few", [5, 150], ids=["spread", "here"])
def test_a_damaged_pair_in_the_cache_is_decoded_anew(
    tmp_path: Path,
    pairs: list[ImageMaskPair],
    decode: Callable[..., list[DecodeResult]],
    monkeypatch: pytest.MonkeyPatch,
    breaking: Callable[[bytes], bytes],
    few: int,
) -> None:
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", few)
    first = decode(pairs)
    file = tmp_path / CACHE / first[4].key
    file.write_bytes(breaking(file.read_bytes()))
    again = decode(pairs)
    assert new(again) == ["004"]
    assert same(first, again)
    assert new(decode(pairs)) == []


@pytest.mark.parametrize("few", [5, 150], ids=["spread", "here"])
@pytest.mark.parametrize("place", ["cache", CACHE])
def test_where_nothing_can_be_cached_everything_is_decoded(
    tmp_path: Path,
    pairs: list[ImageMaskPair],
    decode: Callable[..., list[DecodeResult]],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    few: int,
) -> None:
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", few)
    alone = decode(pairs)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(b"a file in the place of the folder")
    for _ in range(2):
        found = decode(pairs)
        assert len(new(found)) == COUNT
        assert same(alone, found)


def test_what_the_cache_loses_meanwhile_is_decoded_again(
    tmp_path: Path,
    pairs: list[ImageMaskPair],
    decode: Callable[..., list[DecodeResult]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when a person removes it while images are decoded."""
    alone = decode(pairs)
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", 5)
    whole = parallel_decode._with_arrays

    def after_a_loss(result: DecodeResult, settings: DecodeSettings, cache: DecodedPairCache | None) -> DecodeResult:
        shutil.rmtree(tmp_path / CACHE, ignore_errors=True)
        return whole(result, settings, cache)

    monkeypatch.setattr(parallel_decode, "_with_arrays", after_a_loss)
    assert same(alone, decode(pairs))


def test_what_was_not_used_for_long_is_forgotten(
    tmp_path: Path, pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]]
) -> None:
    first = decode(pairs)
    long_ago = time.time() - 40 * 86_400
    for result in first:
        os.utime(tmp_path / CACHE / result.key, (long_ago, long_ago))
    decode(pairs[:2])
    assert {path.name for path in (tmp_path / CACHE).iterdir()} == {result.key for result in first[:2]}


@dataclass(frozen=True)
class Deadly:
    """Masks that kill the process which reads them."""

    def describe(self, pair: ImageMaskPair) -> str:
        return pair.mask

    def read(self, folder: Path, mask: str) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""


def test_a_killed_process_is_told(
    pairs: list[ImageMaskPair], decode: Callable[..., list[DecodeResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_decode, "MIN_PARALLEL", 5)
    with pytest.raises(PipelineError, match="was killed"):
        decode(pairs, masks=Deadly())


def test_killed_it_leaves_nothing_half_written_and_no_process(tmp_path: Path) -> None:
    """Killed at several moments; afterwards the same command does it all."""
    folder = tmp_path / "cells"
    folder.mkdir()
    mask = Image.fromarray(np.kron(WHOLE, np.ones((8, 7), np.uint8))[:120, :160])
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for index in range(400):
        picture(index, (120, 160)).save(folder / "images" / f"{index:03}.png")
        mask.save(folder / "masks" / f"{index:03}.png")
    written(tmp_path, {"showcase_ids": None, "image_size": 96})
    command = [Path(sys.executable).with_name("pipeline"), "prepare"]
    for seconds in (0.8, 1.4, 1.8):
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.kill()
        _, alive = psutil.wait_procs(below, timeout=20)
        assert not alive
        if (tmp_path / PREPARED).exists():  # it was done before it was killed, and then all of it is there
            assert (tmp_path / PREPARED / PreparedData.CLASSES).exists()
            shutil.rmtree(tmp_path / PREPARED)
    whole = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    assert len(np.load(tmp_path / PREPARED / "train" / PreparedData.IMAGES)) > 200
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["prepared"]
