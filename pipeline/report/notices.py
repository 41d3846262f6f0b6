"""Notices on the page in place of missing content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.errors import PipelineError


class NothingToShowError(PipelineError):
    """Raised if a section has no content for the selected runs, although no file is missing."""


@dataclass(frozen=True)
class Notice:
    """A message in place of missing content, with advice on what to do."""

    title: str
    text: str
    is_fault: bool  # whether the content should exist

    @classmethod
    def from_error(cls, title: str, error: PipelineError) -> Notice:
        """Create the notice for content that could not be built."""
        return cls(title, str(error), is_fault=not isinstance(error, NothingToShowError))


@contextmanager
def collect_problem(problems: list[Notice], title: str) -> Iterator[None]:
    """Add a notice to `problems` if the block cannot build its content."""
    try:
        yield
    except PipelineError as error:
        problems.append(Notice.from_error(title, error))
