"""dvc.lock after a git merge: runs of both sides are kept, and conflicting entries are dropped."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from tests.conftest import MEMORY_FILES
from tests.preloaded import PreloadedCommands
from tests.sweep.conftest import SmallProject

MERGED = "dvc.lock had a merge conflict: kept 9 entries from both sides; dropped 1 that differ (compare)"


@dataclass(frozen=True)
class TwoSides:
    """A project that trained c in addition to a and b, and the lock files of the base and of a side that trained d.

    The files of d are only in DVC's cache.
    """

    folder: Path
    base: str
    their_lock: str


@pytest.fixture(scope="module")
def two_sides(finished_small: Path, tmp_path_factory: pytest.TempPathFactory) -> TwoSides:
    small = SmallProject(shutil.copytree(finished_small, tmp_path_factory.mktemp("sides") / "small"))
    base = small.read_lock()
    small.write("a", "b", "d")
    small.repro()
    their_lock = small.read_lock()
    (small.root / "dvc.lock").write_text(base, encoding="utf-8")
    shutil.rmtree(small.root / "runs/d")
    small.write("a", "b", "c")
    small.repro()
    small.write("a", "b", "c", "d")
    return TwoSides(small.root, base, their_lock)


@pytest.fixture
def merging(two_sides: TwoSides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """The two sides, with the conflict of a git merge in dvc.lock."""
    project = SmallProject(shutil.copytree(two_sides.folder, tmp_path / "small"))
    monkeypatch.chdir(project.root)
    project.merge(two_sides.base, two_sides.their_lock)
    return project


def test_merge_keeps_runs_of_both_sides(merging: SmallProject) -> None:
    stages = merging.load_stages()
    merged = stages.merge_lock()
    assert merged is not None
    assert merged.describe(0, 0) == MERGED
    stages.reproduce("prepare")
    assert stages.find_stale(["a", "b", "c", "d"]) == (["d"], ["d"])  # its files are only in the cache
    assert stages.restore("train", ["d"]) == ["d"]
    assert stages.find_stale(["a", "b", "c", "d"]) == ([], [])
    stages.update_lock()
    merging.repro()
    before = merging.read_lock()
    merging.repro("--force", "compare")
    assert merging.read_lock() == before
    assert stages.merge_lock() is None


@pytest.mark.parametrize("style", ["--diff3", "--marker-size=7"])  # git's default style has no option
def test_merge_is_the_same_in_each_conflict_style(merging: SmallProject, two_sides: TwoSides, style: str) -> None:
    merging.load_stages().merge_lock()
    expected = merging.read_lock()
    shutil.copy(two_sides.folder / "dvc.lock", merging.root)
    merging.merge(two_sides.base, two_sides.their_lock, style)
    merged = merging.load_stages().merge_lock()
    assert merged is not None
    assert merged.describe(0, 0) == MERGED
    assert merging.read_lock() == expected


def test_fetch_gets_runs_from_the_remote(merging: SmallProject, commands: PreloadedCommands) -> None:
    def run_dvc(*arguments: str) -> None:
        done = commands.run("dvc", "--quiet", *arguments, folder=merging.root, environment=os.environ)
        assert done.returncode == 0, done.stderr

    run_dvc("remote", "add", "--default", "shared", str(merging.root.parent / "remote"))
    cache = merging.root / ".dvc/cache/files"
    stages = merging.load_stages()
    stages.merge_lock()
    run_dvc("push")
    shutil.rmtree(cache)
    assert set(stages.fetch(["d"])) == {"train@d", "evaluate@d"}
    assert stages.restore("train", ["d"]) == ["d"]
    assert stages.find_stale(["d"]) == ([], [])


def test_fetch_without_a_remote_returns_nothing(merging: SmallProject) -> None:
    stages = merging.load_stages()
    stages.merge_lock()
    shutil.rmtree(merging.root / ".dvc/cache/files")
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
    finished: SmallProject, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished.root / "dvc.lock").write_text(text, encoding="utf-8")
    stages = finished.load_stages()
    assert stages.merge_lock() is None
    stages.reproduce("prepare")
    message = capsys.readouterr().err
    assert message.startswith("dvc.lock cannot be read (")
    assert "It was renamed to dvc.lock.broken" in message
    assert (finished.root / "dvc.lock.broken").read_text(encoding="utf-8") == text
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


@pytest.fixture
def other_disk(small: SmallProject) -> Iterator[Path]:
    """A folder on another file system than the project."""
    for parent in (MEMORY_FILES, Path("/tmp"), Path("/var/tmp")):
        if os.access(parent, os.W_OK) and parent.stat().st_dev != small.root.stat().st_dev:
            with tempfile.TemporaryDirectory(dir=parent) as folder:
                yield Path(folder)
            return
    pytest.skip("there is only one file system")


def test_update_lock_with_the_cache_on_another_disk_sorts_and_removes_entries(
    small: SmallProject, other_disk: Path
) -> None:
    (small.root / ".cache").symlink_to(other_disk)
    small.write("b")
    small.repro()
    small.write("a")
    small.load_stages().update_lock()
    assert small.list_lock_entries() == ["prepare", "compare"]


def test_update_lock_leaves_only_the_lock_after_a_killed_process(finished: SmallProject) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    leftover = finished.root / f".dvc.lock-{process.pid}-abc"
    leftover.write_text("stages:\n  prep")
    finished.write("b")
    finished.load_stages().update_lock()
    assert [path.name for path in finished.root.glob("*dvc.lock*")] == ["dvc.lock"]


def test_pulled_run_that_returns_to_the_grid_is_not_trained_again(finished: SmallProject) -> None:
    shutil.rmtree(finished.root / ".dvc/cache/runs")  # as in a clone after `dvc pull`
    ran = (finished.root / "ran.txt").read_text()
    finished.write("b")
    finished.load_stages().update_lock()
    shutil.rmtree(finished.root / "runs/a")
    finished.write("a", "b")
    finished.repro("train@a", "evaluate@a")
    assert (finished.root / "ran.txt").read_text() == ran
    assert (finished.root / "runs/a/run.json").exists()
