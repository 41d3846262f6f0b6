"""Data sets in zip and tar archives, which are unpacked into the cache."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.errors import PipelineError
from pipeline.prepare import data_folder
from pipeline.prepare.data_folder import UNPACKED, open_data_folder
from tests.prepare.conftest import create_image, create_section, read_samples

ENDINGS = pytest.mark.parametrize(("kind", "ending"), [("zip", ".zip"), ("tar", ".tar"), ("gztar", ".tar.gz")])


def pack(folder: Path, kind: str = "zip", has_top: bool = False) -> Path:
    """Pack a folder, or its content, into an archive next to it."""
    base = folder.name if has_top else "."
    return Path(shutil.make_archive(str(folder), kind, folder.parent if has_top else folder, base))


@ENDINGS
@pytest.mark.parametrize("has_top", [False, True])
def test_prepare_reads_an_archive_like_the_folder(
    kind: str, ending: str, has_top: bool, run: Callable[..., Path], cells: Path
) -> None:
    expected = PreparedData(run(cells)).dataset
    archive = pack(cells, kind, has_top)
    assert archive.name == f"cells{ending}"
    content = archive.read_bytes()
    prepared = run(archive)
    assert PreparedData(prepared).dataset.fingerprint == expected.fingerprint
    assert PreparedData(prepared).dataset.title == f"The images in {archive.name}"
    assert archive.read_bytes() == content


def test_prepare_reads_a_changed_archive_again(run: Callable[..., Path], cells: Path) -> None:
    first = PreparedData(run(pack(cells))).dataset.fingerprint
    create_image(99).save(cells / "images" / "cell3.png")
    assert PreparedData(run(pack(cells))).dataset.fingerprint != first
    assert len([path for path in UNPACKED.iterdir() if path.is_dir()]) == 2


def test_archive_is_unpacked_once(run: Callable[..., Path], cells: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = pack(cells)
    for _ in range(2):
        run(archive)
    assert capsys.readouterr().err.count("unpacking") == 1
    shutil.rmtree(UNPACKED)  # the cache may be removed at any time
    run(archive)
    assert capsys.readouterr().err.count("unpacking") == 1


def test_unpacked_archives_that_are_not_used_are_removed(run: Callable[..., Path], cells: Path) -> None:
    run(pack(cells))
    (old,) = (path for path in UNPACKED.iterdir() if path.is_dir())
    month_ago = time.time() - 31 * 86_400
    os.utime(old, (month_ago, month_ago))
    create_image(99).save(cells / "images" / "cell3.png")
    run(pack(cells))
    assert not old.exists()


def test_invalid_files_in_an_archive_are_reported_with_its_name(
    get_prepare_error: Callable[..., str], run: Callable[..., Path], cells: Path
) -> None:
    (cells / "images" / "cell3.png").write_bytes(b"no image")
    archive = pack(cells)
    assert get_prepare_error(archive).startswith(f"data.path: {archive}: 1 file that cannot be used: images/cell3.png")
    assert "cell3" not in read_samples(run(archive, create_section(archive, on_invalid="skip")))


def test_archive_with_too_many_files_is_an_error(cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cells.parent)
    monkeypatch.setattr(data_folder, "MAX_FILES", 20)
    with pytest.raises(PipelineError, match="more than 20 files"):
        open_data_folder(pack(cells), "data.path")
    assert not [path for path in UNPACKED.iterdir() if path.is_dir()]


def test_small_archive_that_expands_to_gigabytes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data_folder, "ALWAYS_BYTES", 1_000)
    (tmp_path / "bomb").mkdir()
    (tmp_path / "bomb" / "a.png").write_bytes(bytes(2_000_000))
    with pytest.raises(PipelineError, match="bytes when unpacked"):
        open_data_folder(pack(tmp_path / "bomb"), "data.path")
    assert not [path for path in UNPACKED.iterdir() if path.is_dir()]


@pytest.mark.parametrize("name", ["nowhere.zip", "image.png", "pipe"])
def test_path_that_is_neither_a_folder_nor_an_archive_is_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    create_image().save("image.png")
    os.mkfifo("pipe")
    with pytest.raises(PipelineError, match=name):
        open_data_folder(Path(name), "data.path")
