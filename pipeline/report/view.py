"""What several sections show, as plain values: the templates show these and compute nothing.

A new section is a module in `sections/` with its view classes and the builder that fills them from the stages' files, a
template, and a line in `page.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import PipelineError


class NothingToShowError(PipelineError):
    """What a section is about does not exist in this grid, though nothing is missing that should be there."""


@dataclass(frozen=True)
class Card:
    """A small note that stands where something is missing: what, and what to do."""

    title: str
    text: str
    fault: bool  # whether it should have been there

    @classmethod
    def of(cls, title: str, error: PipelineError) -> Card:
        """The card that stands where an error came from."""
        return cls(title, str(error), fault=not isinstance(error, NothingToShowError))


@dataclass(frozen=True)
class Picture:
    """An image of the page, whole in its address."""

    src: str  # data URI
    alt: str
    caption: str
    width: int  # px of the file, not of the page
    height: int
    crisp: bool  # masks keep their pixels, photographs are smoothed
    aspect: float  # width by height on the page, which differs from the file's for squashed images
    stretched: bool = False  # whether the contrast was increased for display


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a colour and what it stands for."""

    colour: str  # #rrggbb
    text: str
