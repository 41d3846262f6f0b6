"""Atomic writes of files and folders."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.atomic_io import atomic_directory, to_json, write_text


def test_atomic_directory_replaces_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "unet"
    for name in ("first", "second"):
        with atomic_directory(target) as folder:
            (folder / name).write_text(name)
    assert [path.name for path in target.iterdir()] == ["second"]
    assert [path.name for path in target.parent.iterdir()] == ["unet"]


def test_atomic_directory_keeps_the_old_folder_after_an_error(tmp_path: Path) -> None:
    target = tmp_path / "unet"
    with atomic_directory(target) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_directory(target) as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["unet"]


def test_write_text_does_not_write_through_a_hard_link(tmp_path: Path) -> None:
    """DVC may hard-link its cache into the workspace: writing in place would change the cache."""
    cached = tmp_path / "cached"
    cached.write_text("cached")
    (tmp_path / "metrics.json").hardlink_to(cached)
    write_text(tmp_path / "metrics.json", "new")
    assert (cached.read_text(), (tmp_path / "metrics.json").read_text()) == ("cached", "new")


def test_write_text_keeps_the_old_file_after_an_encoding_error(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_to_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"loss": float("nan")})


def test_atomic_directory_removes_leftovers_of_killed_processes_only(tmp_path: Path) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    (tmp_path / f".unet-{killed.pid}-abc").mkdir()
    (tmp_path / f".unet-{os.getpid()}-abc").mkdir()
    (tmp_path / f".unet_no_skip-{killed.pid}-abc").mkdir()  # of another target
    with atomic_directory(tmp_path / "unet") as folder:
        (folder / "new").write_text("new")
    remaining = {path.name for path in tmp_path.iterdir()}
    assert remaining == {"unet", f".unet-{os.getpid()}-abc", f".unet_no_skip-{killed.pid}-abc"}
