"""Hands finished cells to DVC in batches: each of its writes costs the whole lock file."""

from __future__ import annotations

import time

import click

from pipeline.errors import PipelineError
from pipeline.sweep.journal import Journal
from pipeline.sweep.ledger import Ledger, Refusal
from pipeline.sweep.worker import Outcome

BATCH = 8  # cells at least; the journal holds what a kill would lose meanwhile
SHARE = 0.05  # of the time that may go into writing while cells wait


class Recorder:
    """Records what the journal says is finished, and remembers what could not be recorded."""

    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        self._ledger, self._journal = ledger, journal
        self._waiting, self._recorded = list[str](), set[str]()
        self._written, self._cost = time.monotonic(), 0.0
        self.refused: dict[str, Refusal] = {}  # by stage, why it is not recorded

    def add(self, outcome: Outcome) -> None:
        """Take in an outcome; records when it is worth a write. Where DVC cannot, a later one tries again."""
        self._waiting += outcome.finished()
        if len(self._waiting) >= BATCH and self._cost <= SHARE * (time.monotonic() - self._written):
            try:
                self._write()
            except PipelineError as error:
                click.echo(f"not recorded yet: {error}", err=True)

    def close(self) -> None:
        """Record all that is finished; raises `PipelineError` where DVC cannot, and the journal keeps it then."""
        self._write()
        self._journal.clear()

    def _write(self) -> None:
        started = time.monotonic()
        # Also what a worker finished before it was killed; not what was changed by hand since.
        finished = self._journal.standing(self._recorded)
        self.refused |= self._ledger.record(finished)
        # A training may have been recorded while its evaluation went on, before its outcome came.
        self._recorded |= finished.keys()
        self.refused |= {stage: Refusal.OUTPUTS for stage in self._waiting if stage not in self._recorded}
        self._waiting = []
        self._written = time.monotonic()
        self._cost = self._written - started
