"""Every broken input is answered by its sentence, whatever is wrong; odd ones are taken. Nothing is written outside."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.prepare.data_issues import IssueKind
from tests.prepare.conftest import written
from tests.prepare.corpus import BROKEN_CASES, ODD_CASES, Case


def content(folder: Path) -> dict[str, str]:
    """All that lies in a folder but the cache."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if ".cache" not in path.parts:
            plain = path.is_file() and path.stat().st_size < 10_000_000
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
    return found


def checked(case: Case, cells: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The exit code of a check, and what it said."""
    case.change(cells)
    monkeypatch.chdir(cells.parent)
    written(cells.parent, case.section)
    before = content(cells.parent)
    result = CliRunner().invoke(main, ["data", "check", "cells"])
    assert content(cells.parent) == before
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("case", BROKEN_CASES, ids=lambda case: case.name)
def test_what_is_broken_is_answered(case: Case, cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = checked(case, cells, monkeypatch)
    assert code == 1
    assert case.said in said, said


@pytest.mark.parametrize("case", ODD_CASES, ids=lambda case: case.name)
def test_what_is_only_odd_is_taken(case: Case, cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = checked(case, cells, monkeypatch)
    assert (code, "no errors" in said) == (0, True), said
    assert case.said in said, said


def test_every_kind_of_fault_of_a_folder_is_in_the_corpus() -> None:
    said = " ".join(case.said for case in BROKEN_CASES)
    of_annotations = {
        IssueKind.NO_FILE,
        IssueKind.NO_TRUTH,
        IssueKind.CATEGORIES,
        IssueKind.NO_GEOMETRY,
        IssueKind.UNLISTED,
        IssueKind.NO_SIZE,
    }
    words = {
        IssueKind.SIZES: "the image 24",
        IssueKind.DEPTH: "16 bits, 1 channel",
        IssueKind.LOOKS_ALIKE: "in train, as",
        IssueKind.VALUES: "pixels",
    }
    for kind in set(IssueKind) - of_annotations:
        known = [words[kind]] if kind in words else [kind.singular, kind.plural]
        assert any(" ".join(text.split()[:4]) in said for text in known), kind
