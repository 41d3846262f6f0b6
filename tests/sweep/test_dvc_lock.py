"""dvc.lock after a git merge: no training of either side is repeated, and no wrong entry is kept."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from pipeline.errors import PipelineError
from tests.sweep.conftest import SmallProject


def merge_two_sides(small: SmallProject, style: str = "--zdiff3") -> None:
    """Merge two sides that trained a run each, c and d, on top of a and b; the files of d are in DVC's cache only."""
    small.repro()
    base = small.lock()
    small.write("a", "b", "d")
    small.repro()
    theirs = small.lock()
    (small.root / "dvc.lock").write_text(base, encoding="utf-8")
    shutil.rmtree(small.root / "runs/d")
    small.write("a", "b", "c")
    small.repro()
    small.merge(base, theirs, style)
    small.write("a", "b", "c", "d")


@pytest.mark.parametrize("style", ["--diff3", "--zdiff3", "--union"])
def test_merge_keeps_runs_of_both_sides(small: SmallProject, style: str) -> None:
    if style == "--union":  # git's default style has no option of its own
        style = "--marker-size=7"
    merge_two_sides(small, style)
    stages = small.dvc_stages()
    merged = stages.merge_lock()
    assert merged is not None
    assert merged.describe(0, 0) == (
        "dvc.lock had a merge conflict: kept 9 entries of both sides; dropped 1 that differ (compare)"
    )
    stages.reproduce("prepare")
    assert stages.find_stale(["a", "b", "c", "d"]) == (["d"], ["d"])  # whose files are gone, but not from the cache
    assert stages.restore("train", ["d"]) == ["d"]
    assert stages.find_stale(["a", "b", "c", "d"]) == ([], [])
    stages.update_lock()
    small.repro()
    before = small.lock()
    small.repro("--force", "compare")
    assert small.lock() == before
    assert stages.merge_lock() is None


def test_fetch_gets_what_only_the_remote_has(small: SmallProject) -> None:
    merge_two_sides(small)
    dvc = [sys.executable, "-m", "dvc", "--quiet"]
    subprocess.run([*dvc, "remote", "add", "--default", "shared", str(small.root.parent / "remote")], check=True)
    cache = small.root / ".dvc/cache/files"
    stages = small.dvc_stages()
    stages.merge_lock()
    subprocess.run([*dvc, "push"], check=True)
    shutil.rmtree(cache)
    assert set(stages.fetch(["d"])) == {"train@d", "evaluate@d"}
    assert stages.restore("train", ["d"]) == ["d"]
    assert stages.find_stale(["d"]) == ([], [])


def test_fetch_without_a_remote_gets_nothing(small: SmallProject) -> None:
    merge_two_sides(small)
    stages = small.dvc_stages()
    stages.merge_lock()
    shutil.rmtree(small.root / ".dvc/cache/files")
    assert stages.fetch(["d"]) == []


@pytest.mark.parametrize(
    ("is_current", "is_whole", "expected"),
    [(True, True, ["train@a"]), (False, True, []), (True, False, [])],
    ids=["current", "of other code", "changed by hand"],
)
def test_run_that_both_sides_trained_is_recognized_by_key_and_hash(
    small: SmallProject, is_current: bool, is_whole: bool, expected: list[str]
) -> None:
    """Two machines, two results of the same training: neither entry is kept, since git may have mixed them."""
    small.write("a")
    small.repro("prepare")
    base = small.lock()
    sides = []
    for noise in ("theirs", "ours"):
        (small.root / "noise.txt").write_text(noise)
        small.repro("--force", "train@a")
        sides.append(small.lock())
        (small.root / "dvc.lock").write_text(base if noise == "theirs" else sides[-1], encoding="utf-8")
    small.merge(base, sides[0])
    shutil.rmtree(small.root / ".dvc/cache/runs")  # as in a clone that pulled
    if not is_whole:
        (small.root / "runs/a/run.json").write_text("by hand")
    stages = small.dvc_stages()
    merged = stages.merge_lock()
    assert merged is not None
    assert merged.dropped == ("train@a",)
    assert stages.commit_recognized(merged.trained, lambda _: is_current) == expected
    train, _ = stages.find_stale(["a"])
    assert train == ([] if expected else ["a"])


@pytest.mark.parametrize("text", ["stages:\n  prepare:\n    outs:\n    - pa", "<<<<<<< HEAD\nstages: {}\n", "a: 1\n"])
def test_unreadable_lock_is_renamed_and_reported(
    small: SmallProject, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    small.repro()
    (small.root / "dvc.lock").write_text(text, encoding="utf-8")
    stages = small.dvc_stages()
    assert stages.merge_lock() is None
    stages.reproduce("prepare")
    said = capsys.readouterr().err
    assert said.startswith("dvc.lock cannot be read (")
    assert "It was renamed to dvc.lock.broken" in said
    assert (small.root / "dvc.lock.broken").read_text(encoding="utf-8") == text
    assert stages.restore("train", ["a", "b"]) == ["a", "b"]


def test_conflict_in_dvc_yaml_is_reported_with_its_lines(small: SmallProject) -> None:
    path = small.root / "dvc.yaml"
    path.write_text(f"<<<<<<< HEAD\n=======\n# theirs\n>>>>>>> x\n{path.read_text()}")
    with pytest.raises(PipelineError, match=r"dvc.yaml: git could not merge lines 1 to 4"):
        small.dvc_stages()


def test_update_lock_sorts_and_removes_entries(small: SmallProject) -> None:
    in_order = ["prepare", "train@a", "train@c", "evaluate@a", "evaluate@c", "compare"]
    small.write("b")
    small.repro()
    small.write("a", "c")
    small.repro()
    assert sorted(set(small.entries()) - set(in_order)) == ["evaluate@b", "train@b"]
    assert [name for name in small.entries() if name in in_order] != in_order
    small.dvc_stages().update_lock()
    assert small.entries() == in_order
    text = small.lock()
    small.repro()
    assert small.lock() == text


def test_pulled_run_that_leaves_and_returns_is_not_trained_again(small: SmallProject) -> None:
    small.repro()
    shutil.rmtree(small.root / ".dvc/cache/runs")  # as in a clone that pulled
    ran = (small.root / "ran.txt").read_text()
    small.write("b")
    small.dvc_stages().update_lock()
    shutil.rmtree(small.root / "runs/a")
    small.write("a", "b")
    small.repro("train@a", "evaluate@a")
    assert (small.root / "ran.txt").read_text() == ran
    assert (small.root / "runs/a/run.json").exists()
