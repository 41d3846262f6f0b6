"""The Makefile in folders with unusual names, and with a `.venv` that belongs to another project.

Stubs of the commands record their arguments; `tests/e2e/test_studies.py` runs the real commands.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Writes the current folder and the arguments, one per line; fails with $CODE, or 1, if $FAILING contains the command.
STUB = """#!/bin/sh
{ echo "$0" | sed 's#.*/##'; pwd; for word in "$@"; do echo "$word"; done; echo; } >> "$CALLS"
case " $FAILING " in *" $1 "*) exit ${CODE:-1};; esac
"""


@dataclass
class Checkout:
    """A folder with the Makefile and an environment of stubs."""

    root: Path
    calls_file: Path

    def make(self, *words: str, code: int = 0, **variables: str) -> str:
        """Run make and return its output."""
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DATA", "SET")}
        done = subprocess.run(
            ["make", "--no-print-directory", *words],
            cwd=self.root,
            env={**kept, "CALLS": str(self.calls_file), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def calls(self) -> list[list[str]]:
        """List the calls so far, each as the command's name, its folder and its arguments."""
        text = self.calls_file.read_text(encoding="utf-8") if self.calls_file.exists() else ""
        return [call.splitlines() for call in text.split("\n\n") if call.strip()]


@pytest.fixture(params=["project", "müller's project (1) & $more", 'a "quoted" name', "`echo x`;#%20"])
def checkout(tmp_path: Path, request: pytest.FixtureRequest) -> Checkout:
    root = tmp_path / request.param
    (root / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "constraints-test.txt"):
        shutil.copy(ROOT / name, root)
    for name in ("pipeline", "dvc"):
        path = root / ".venv/bin" / name
        path.write_text(STUB, encoding="utf-8")
        path.chmod(0o755)
    (root / ".venv/bin/python").write_text('#!/bin/sh\nexec python3 "$@"\n', encoding="utf-8")
    (root / ".venv/bin/python").chmod(0o755)
    for stamp in ("installed", "installed-test", "installed-test-all", "installed-bench"):
        (root / ".venv" / stamp).touch()
    (root / ".dvc").mkdir()
    (root / "studies/skip/reports").mkdir(parents=True)
    return Checkout(root, tmp_path / "calls")


def test_make_report_prints_a_clickable_link(checkout: Checkout) -> None:
    link = (checkout.root / "reports/learning-report.html").as_uri()
    assert checkout.make("report").splitlines()[-1] == f"The report: {link}"
    study = (checkout.root / "studies/skip/reports/learning-report.html").as_uri()
    output = checkout.make("report", "SET=skip", 'DATA=/mnt/my photos (ü) "1" o\'b')
    assert output.splitlines()[-1] == f"The report: {study}"
    calls = checkout.calls()
    assert ["pipeline", str(checkout.root), "sweep", "--report"] in calls
    assert ["pipeline", str(checkout.root / "studies/skip"), "sweep", "--report"] in calls
    assert ["pipeline", str(checkout.root), "study", "skip", "--data", '/mnt/my photos (ü) "1" o\'b'] in calls


def test_make_report_after_a_failure_links_the_failure_page(checkout: Checkout) -> None:
    for words, folder in ((["report"], "."), (["report", "SET=skip"], "studies/skip")):
        output = checkout.make(*words, code=2, FAILING="sweep")
        link = (checkout.root / folder / "reports/failure.html").as_uri()
        assert f"What failed, and why: {link}" in output.splitlines()
        assert "The report:" not in output
    assert "What failed" not in checkout.make("report", code=2, FAILING="sweep failure")


@pytest.mark.parametrize("code", ["130", "143"])
def test_make_report_that_is_stopped_links_no_failure_page(code: str, checkout: Checkout) -> None:
    assert "What failed" not in checkout.make("report", code=2, FAILING="sweep", CODE=code)
    assert "failure" not in [call[2] for call in checkout.calls()]


def test_make_ui_runs_in_the_study_folder(checkout: Checkout) -> None:
    checkout.make("ui", "SET=skip", "PORT=5001")
    assert checkout.calls() == [["pipeline", str(checkout.root / "studies/skip"), "ui", "--port", "5001"]]
    assert "There is no folder studies/no such yet" in checkout.make("ui", "SET=no such", code=2)


def test_make_installs_nothing_into_a_linked_environment(checkout: Checkout, tmp_path: Path) -> None:
    other = tmp_path / "other environment"
    (checkout.root / ".venv").rename(other)
    (checkout.root / ".venv").symlink_to(other)
    for stamp in other.glob("installed*"):
        stamp.unlink()
    before = {path.name for path in other.rglob("*")}
    for target in ("report", "install", "test", "studies"):
        output = checkout.make(target, code=2)
        assert f".venv is a link to {other}" in output
        assert "rm .venv" in output
    assert checkout.calls() == []
    (checkout.root / "pipeline").mkdir()
    (checkout.root / "pipeline/__init__.py").touch()
    checkout.make("studies", PYTHONPATH=str(checkout.root))
    assert checkout.calls() == [["pipeline", str(checkout.root), "study"]]
    assert {path.name for path in other.rglob("*")} == before


def test_make_install_passes_an_index_to_pip(checkout: Checkout) -> None:
    python = checkout.root / ".venv/bin/python"
    python.write_text(f'{STUB}echo "index $PIP_EXTRA_INDEX_URL"\n', encoding="utf-8")
    for target, requirement in (("install", "."), ("install-test-all", ".[test-all]")):
        for stamp in (checkout.root / ".venv").glob("installed*"):
            stamp.unlink()
        output = checkout.make(target, "PIP_EXTRA_INDEX_URL=https://example.org/cpu")
        assert "index https://example.org/cpu" in output
        assert checkout.calls()[-1][-1] == requirement
        assert checkout.calls()[-1][2:5] == ["-m", "pip", "install"]


def test_git_ignores_a_linked_environment(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".venv").symlink_to("elsewhere")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    output = subprocess.run(
        ["git", "status", "--short"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert ".venv" not in output
