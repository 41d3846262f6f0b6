"""Files written whole or not at all."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.atomic_io import as_json, read_json, replacing, write_text
from pipeline.errors import PipelineError


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "unet"
    for name in ("first", "second"):
        with replacing(target) as folder:
            (folder / name).write_text(name)
    assert [path.name for path in target.iterdir()] == ["second"]
    assert [path.name for path in target.parent.iterdir()] == ["unet"]


def test_a_block_that_fails_leaves_the_old_folder_alone(tmp_path: Path) -> None:
    target = tmp_path / "unet"
    with replacing(target) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(target) as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["unet"]


def test_a_linked_file_is_never_written_through(tmp_path: Path) -> None:
    """DVC's cache may be hard-linked into the workspace: writing in place would change the cache."""
    cached = tmp_path / "cached"
    cached.write_text("cached")
    (tmp_path / "metrics.json").hardlink_to(cached)
    write_text(tmp_path / "metrics.json", "new")
    assert (cached.read_text(), (tmp_path / "metrics.json").read_text()) == ("cached", "new")


def test_a_file_that_cannot_be_encoded_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json({"loss": float("nan")})


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_broken_json_names_the_file_and_its_maker(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(PipelineError, match=r"run\.json.*`pipeline train`"):
        read_json(path, "pipeline train")


def test_what_a_killed_process_left_is_removed_but_not_what_is_being_written(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f".unet-{gone.pid}-abc").mkdir()
    (tmp_path / f".unet-{os.getpid()}-abc").mkdir()
    (tmp_path / f".unet_no_skip-{gone.pid}-abc").mkdir()  # another's
    with replacing(tmp_path / "unet") as folder:
        (folder / "new").write_text("new")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"unet", f".unet-{os.getpid()}-abc", f".unet_no_skip-{gone.pid}-abc"}
