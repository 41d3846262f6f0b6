"""dvc.lock after a git merge: runs of both sides are kept, and conflicting entries are dropped."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from pipeline.errors import PipelineError
from tests.sweep.conftest import SmallProject


def merge_two_sides(small: SmallProject, style: str = "--zdiff3") -> None:
    """Merge two sides that trained c and d in addition to a and b; the files of d are only in DVC's cache."""
    small.repro()
    base = small.read_lock()
    small.write("a", "b", "d")
    small.repro()
    their_lock = small.read_lock()
    (small.root / "dvc.lock").write_text(base, encoding="utf-8")
    shutil.rmtree(small.root / "runs/d")
    small.write("a", "b", "c")
    small.repro()
    small.merge(base, their_lock, style)
    small.write("a", "b", "c", "d")


@pytest.mark.parametrize("style", ["--diff3", "--zdiff3", "--union"])
def test_merge_keeps_runs_of_both_sides(small: SmallProject, style: str) -> None:
    if style == "--union":  # git's default style has no option
        style = "--marker-size=7"
    merge_two_sides(small, style)
    stages = small.load_stages()
    merged = stages.merge_lock()
    assert merged is not None
    assert merged.describe(0, 0) == (
        "dvc.lock had a merge conflict: kept 9 entries of both sides; dropped 1 that differ (compare)"
    )
    stages.reproduce("prepare")
    assert stages.find_stale(["a", "b", "c", "d"]) == (["d"], ["d"])  # its files are only in the cache
    assert stages.restore("train", ["d"]) == ["d"]
    assert stages.find_stale(["a", "b", "c", "d"]) == ([], [])
    stages.update_lock()
    small.repro()
    before = small.read_lock()
    small.repro("--force", "compare")
    assert small.read_lock() == before
    assert stages.merge_lock() is None


def test_fetch_gets_runs_from_the_remote(small: SmallProject) -> None:
    merge_two_sides(small)
    dvc = [sys.executable, "-m", "dvc", "--quiet"]
    subprocess.run([*dvc, "remote", "add", "--default", "shared", str(small.root.parent / "remote")], check=True)
    cache = small.root / ".dvc/cache/files"
    stages = small.load_stages()
    stages.merge_lock()
    subprocess.run([*dvc, "push"], check=True)
    shutil.rmtree(cache)
    assert set(stages.fetch(["d"])) == {"train@d", "evaluate@d"}
    assert stages.restore("train", ["d"]) == ["d"]
    assert stages.find_stale(["d"]) == ([], [])


def test_fetch_without_a_remote_returns_nothing(small: SmallProject) -> None:
    merge_two_sides(small)
    stages = small.load_stages()
    stages.merge_lock()
    shutil.rmtree(small.root / ".dvc/cache/files")
    assert stages.fetch(["d"]) == []


@pytest.mark.parametrize(
    ("is_current", "is_unchanged", "expected"),
    [(True, True, ["train@a"]), (False, True, []), (True, False, [])],
    ids=["current", "of other code", "edited"],
)
def test_run_trained_on_both_sides_is_recognized_by_key_and_hash(
    small: SmallProject, is_current: bool, is_unchanged: bool, expected: list[str]
) -> None:
    """Two machines have different results of the same run: git may mix the entries, so none is kept."""
    small.write("a")
    small.repro("prepare")
    base = small.read_lock()
    sides = []
    for noise in ("theirs", "ours"):
        (small.root / "noise.txt").write_text(noise)
        small.repro("--force", "train@a")
        sides.append(small.read_lock())
        (small.root / "dvc.lock").write_text(base if noise == "theirs" else sides[-1], encoding="utf-8")
    small.merge(base, sides[0])
    shutil.rmtree(small.root / ".dvc/cache/runs")  # as in a clone after `dvc pull`
    if not is_unchanged:
        (small.root / "runs/a/run.json").write_text("edited")
    stages = small.load_stages()
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
    stages = small.load_stages()
    assert stages.merge_lock() is None
    stages.reproduce("prepare")
    message = capsys.readouterr().err
    assert message.startswith("dvc.lock cannot be read (")
    assert "It was renamed to dvc.lock.broken" in message
    assert (small.root / "dvc.lock.broken").read_text(encoding="utf-8") == text
    assert stages.restore("train", ["a", "b"]) == ["a", "b"]


def test_conflict_in_dvc_yaml_is_reported_with_its_lines(small: SmallProject) -> None:
    path = small.root / "dvc.yaml"
    path.write_text(f"<<<<<<< HEAD\n=======\n# theirs\n>>>>>>> x\n{path.read_text()}")
    with pytest.raises(PipelineError, match=r"dvc.yaml: git could not merge lines 1 to 4"):
        small.load_stages()


def test_update_lock_sorts_and_removes_entries(small: SmallProject) -> None:
    expected = ["prepare", "train@a", "train@c", "evaluate@a", "evaluate@c", "compare"]
    small.write("b")
    small.repro()
    small.write("a", "c")
    small.repro()
    assert sorted(set(small.list_lock_entries()) - set(expected)) == ["evaluate@b", "train@b"]
    assert [name for name in small.list_lock_entries() if name in expected] != expected
    small.load_stages().update_lock()
    assert small.list_lock_entries() == expected
    text = small.read_lock()
    small.repro()
    assert small.read_lock() == text


def test_pulled_run_that_returns_to_the_grid_is_not_trained_again(small: SmallProject) -> None:
    small.repro()
    shutil.rmtree(small.root / ".dvc/cache/runs")  # as in a clone after `dvc pull`
    ran = (small.root / "ran.txt").read_text()
    small.write("b")
    small.load_stages().update_lock()
    shutil.rmtree(small.root / "runs/a")
    small.write("a", "b")
    small.repro("train@a", "evaluate@a")
    assert (small.root / "ran.txt").read_text() == ran
    assert (small.root / "runs/a/run.json").exists()
