"""Splitting a file with git's conflict markers into its two sides."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.params.file import read_params
from pipeline.params.merge_conflict import find_conflict, split_sides
from tests.conftest import write_params

LINES = st.lists(st.sampled_from(["a", "b: 1", "  - c", "", "====", "<<<<<<", ">>>>>>>> x", "||"]), max_size=4)
# Common lines, ours, the common ancestor's (None if the style omits them), theirs.
HUNKS = st.lists(st.tuples(LINES, LINES, st.none() | LINES, LINES), min_size=1, max_size=4)


@given(HUNKS, LINES)
def test_split_sides_returns_ours_and_theirs(
    hunks: list[tuple[list[str], list[str], list[str] | None, list[str]]], tail: list[str]
) -> None:
    text, ours, theirs = list[str](), list[str](), list[str]()
    for common, left, base, right in hunks:
        ancestor = [] if base is None else ["||||||| 1a2b3c4", *base]
        text += [*common, "<<<<<<< HEAD", *left, *ancestor, "=======", *right, ">>>>>>> their branch"]
        ours += common + left
        theirs += common + right
    text, ours, theirs = text + tail, ours + tail, theirs + tail
    joined = tuple("".join(f"{line}\n" for line in lines) for lines in (text, ours, theirs))
    assert split_sides(joined[0]) == joined[1:]


@pytest.mark.parametrize("style", ["--diff3", "--zdiff3", "--ours"], ids=["diff3", "zdiff3", "no conflict"])
def test_split_sides_reads_conflicts_written_by_git(tmp_path: Path, style: str) -> None:
    sides = {"ours": "a\nb: 1\nc\n", "base": "a\nb\nc\n", "theirs": "a\nb: 2\nc\n"}
    for name, text in sides.items():
        (tmp_path / name).write_text(text)
    command = ["git", "merge-file", "-p", style, "ours", "base", "theirs"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    if style == "--ours":
        assert find_conflict(text) is None
    else:
        assert split_sides(text) == (sides["ours"], sides["theirs"])


@pytest.mark.parametrize(
    "text",
    ["<<<<<<< a\nx\n", "<<<<<<< a\n>>>>>>> b\n", "<<<<<<< a\n=======\n<<<<<<< a\n", "<<<<<<< a\n=======\n=======\n"],
    ids=["not closed", "no separator", "nested", "two separators"],
)
def test_split_sides_refuses_markers_out_of_order(text: str) -> None:
    with pytest.raises(ValueError, match="conflict"):
        split_sides(text)


def test_underlined_heading_is_not_a_conflict() -> None:
    text = "Heading\n=======\n"
    assert find_conflict(text) is None
    assert split_sides(text) == (text, text)


def test_read_params_names_the_lines_of_a_conflict(tmp_path: Path) -> None:
    path = write_params(tmp_path, {})
    lines = path.read_text().splitlines()
    index = next(number for number, line in enumerate(lines) if line.startswith("grid:"))
    lines[index:index] = ["<<<<<<< HEAD", "a: 1", "=======", "a: 2", ">>>>>>> x"]
    path.write_text("\n".join(lines))
    with pytest.raises(PipelineError) as raised:
        read_params(path)
    assert str(raised.value).startswith(f"{path}: git could not merge lines {index + 1} to {index + 5} (<<<<<<<")
