"""The journal: what it says of finished cells after a kill, and what it no longer says once something changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sweep.journal import FILE, Journal

RUN = "unet-0.01-0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("runs", "evaluation"):
        (tmp_path / folder / RUN).mkdir(parents=True)
        (tmp_path / folder / RUN / "file").write_text(folder)
    journal = Journal(tmp_path)
    journal.add("train", RUN, "parameters and data")
    journal.add("evaluate", RUN, "parameters and data")
    return tmp_path


def test_what_is_finished_stands_until_it_is_recorded(root: Path) -> None:
    both = {f"train@{RUN}": "parameters and data", f"evaluate@{RUN}": "parameters and data"}
    assert Journal(root).standing() == both
    Journal(root).clear()
    assert Journal(root).standing() == {}


def test_of_two_lines_the_newer_counts(root: Path) -> None:
    Journal(root).add("train", RUN, "others")
    assert Journal(root).standing()[f"train@{RUN}"] == "others"


@pytest.mark.parametrize(
    ("changed", "left"), [("evaluation", {f"train@{RUN}"}), ("runs", set())], ids=["evaluation", "the run it is of"]
)
def test_files_that_changed_are_not_what_was_finished(root: Path, changed: str, left: set[str]) -> None:
    (root / changed / RUN / "file").write_text("by hand")
    assert Journal(root).standing().keys() == left


def test_a_file_that_is_gone_or_new_is_a_change(root: Path) -> None:
    (root / "evaluation" / RUN / "new").touch()
    assert Journal(root).standing().keys() == {f"train@{RUN}"}
    (root / "runs" / RUN / "file").unlink()
    assert Journal(root).standing() == {}


@pytest.mark.parametrize("kept", [0, 1, 20, -1])
def test_half_a_line_costs_that_line_only(root: Path, kept: int) -> None:
    path = root / FILE
    first, last = path.read_bytes().rsplit(b"\n", 1)
    path.write_bytes(first + b"\n" + last[:kept])
    assert Journal(root).standing().keys() == {f"train@{RUN}"}
    Journal(root).add("evaluate", RUN, "again")
    assert Journal(root).standing().keys() == {f"train@{RUN}", f"evaluate@{RUN}"}


def test_a_disk_that_takes_nothing_is_not_in_the_way(root: Path) -> None:
    (root / FILE).unlink()
    (root / FILE).mkdir()
    Journal(root).add("train", RUN, "made from")
