"""Judge a log again and again while a tool writes to it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.curve_readers.log_file import list_files
from pipeline.errors import PipelineError
from pipeline.judge.verdicts import JudgedRun, describe_run, find_failing, judge_file
from pipeline.runtime.shutdown import sleep

POLL_SECONDS = 1.0
READ_SHARE = 0.2  # maximum share of the time that is spent on reading a large log

Signature = tuple[tuple[str, int, int, int], ...]


@dataclass
class Watcher:
    """State of a watched log."""

    path: Path
    baseline: float | None
    as_json: bool = False
    signature: Signature | None = None  # of the files when they were last read; None before the first poll
    is_settled: bool = False  # whether they were read again after a poll without a change
    lines: dict[str, tuple[int, str]] = field(default_factory=dict)  # last epoch and verdict of every run, by title
    problem: str = ""  # the last message that was printed

    def poll(self) -> tuple[list[JudgedRun], list[str], str]:
        """Read the log if it has changed since the last poll.

        While the log changes, an incomplete last line is ignored. Once it has not changed for one poll, its last line
        counts even without a line break.

        Returns:
            The judged runs, none if the log has not changed or cannot be read; a line for every run that has a new
            epoch or another verdict; and a message if the log cannot be read, empty if the message is unchanged.
        """
        signature = _get_signature(self.path)
        has_changed = signature != self.signature
        if not has_changed and self.is_settled:
            return [], [], ""
        self.signature, self.is_settled = signature, not has_changed
        if not signature:
            return [], [], self._report(f"Waiting for {self.path}.")
        try:
            judged = judge_file(self.path, self.baseline, is_growing=has_changed)
        except PipelineError as error:
            # A tool may write a file in several steps, so only a message about a file that rests is shown.
            return [], [], "" if has_changed else self._report(f"Waiting for more epochs: {error}")
        self.problem = ""
        return judged, [line for run in judged if (line := self._describe_change(run))], ""

    def _report(self, message: str) -> str:
        is_new, self.problem = message != self.problem, message
        return message if is_new else ""

    def _describe_change(self, judged: JudgedRun) -> str:
        """Describe a run if it has a new epoch or another verdict since the last call; else return an empty string."""
        run, verdict = judged
        last, word = self.lines.get(run.title, (None, ""))
        epoch = run.curves.epochs[-1]
        if (epoch, verdict.word) == (last, word):
            return ""
        self.lines[run.title] = epoch, verdict.word
        if self.as_json:
            return json.dumps({"epoch": epoch, **describe_run(run, verdict)}, ensure_ascii=False)
        before = f" (before: {word})" if word and word != verdict.word else ""
        losses = f"training {run.curves.train[-1]:.3f}, validation {run.curves.val[-1]:.3f}"
        return f"{run.title}, {run.curves.unit} {epoch}: {losses}: {verdict.word}{before}"


def watch(
    path: Path,
    baseline: float | None,
    words: Collection[str],
    as_json: bool,
    report: Callable[[str], None],
    report_problem: Callable[[str], None],
) -> list[str]:
    """Watch a log until a run has one of the verdicts in `words`; without words, until the process is interrupted.

    Args:
        path: File or folder, which does not have to exist yet.
        baseline: Class-prior baseline in the unit of the curves; None if it is unknown.
        words: Verdicts that end the watch.
        as_json: Whether lines are JSON objects.
        report: Receives a line for every new epoch and every change of a verdict.
        report_problem: Receives a message if the log does not exist or cannot be read.

    Returns:
        Descriptions of the runs whose verdicts ended the watch.
    """
    watcher = Watcher(path, baseline, as_json)
    while True:
        started = time.monotonic()
        judged, lines, problem = watcher.poll()
        for line in lines:
            report(line)
        if problem:
            report_problem(problem)
        if failing := find_failing(judged, words):
            return failing
        sleep(max(POLL_SECONDS, (time.monotonic() - started) / READ_SHARE))


def _get_signature(path: Path) -> Signature:
    """Return name, size, time of change and inode of the files; empty if there are none."""
    return tuple(_list_signatures(path))


def _list_signatures(path: Path) -> Iterator[tuple[str, int, int, int]]:
    for file in list_files(path) if path.is_dir() else (path,):
        try:
            status = file.stat()
        except OSError:  # it does not exist yet, or was just replaced
            continue
        yield str(file), status.st_size, status.st_mtime_ns, status.st_ino
