"""Each invalid input of the corpus gets its message, unusual ones are accepted, and nothing else is written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.prepare.data_issues import IssueKind
from tests.prepare.conftest import write_folder_params
from tests.prepare.corpus import BROKEN_CASES, ODD_CASES, Case


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each regular file of a folder, without the cache."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if ".cache" not in path.parts:
            is_regular = path.is_file() and path.stat().st_size < 10_000_000
            hashes[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if is_regular else ""
    return hashes


def run_check(case: Case, cells: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Apply a case's change, run `pipeline data check`, and return its exit code and output."""
    case.change(cells)
    monkeypatch.chdir(cells.parent)
    write_folder_params(cells.parent, case.section)
    before = hash_files(cells.parent)
    result = CliRunner().invoke(main, ["data", "check", "cells"])
    assert hash_files(cells.parent) == before
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("case", BROKEN_CASES, ids=lambda case: case.name)
def test_data_check_reports_invalid_input(case: Case, cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = run_check(case, cells, monkeypatch)
    assert code == 1
    assert case.message in output, output


@pytest.mark.parametrize("case", ODD_CASES, ids=lambda case: case.name)
def test_data_check_accepts_unusual_input(case: Case, cells: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = run_check(case, cells, monkeypatch)
    assert (code, "no errors" in output) == (0, True), output
    assert case.message in output, output


def test_corpus_covers_every_kind_of_issue_of_a_folder() -> None:
    messages = " ".join(case.message for case in BROKEN_CASES)
    other_kinds = {  # of annotations and volumes
        IssueKind.NO_FILE,
        IssueKind.NO_TRUTH,
        IssueKind.CATEGORIES,
        IssueKind.NO_GEOMETRY,
        IssueKind.OUTSIDE,
        IssueKind.UNLISTED,
        IssueKind.NO_SIZE,
        IssueKind.GEOMETRY,
    }
    words = {
        IssueKind.SIZES: "but the image is 24",
        IssueKind.DEPTH: "16 bits, 1 channel",
        IssueKind.LOOKS_ALIKE: "in train, like",
        IssueKind.VALUES: "pixels",
    }
    for kind in set(IssueKind) - other_kinds:
        phrases = [words[kind]] if kind in words else [kind.singular, kind.plural]
        assert any(" ".join(phrase.split()[:4]) in messages for phrase in phrases), kind
