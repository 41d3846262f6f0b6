"""What is proposed for a folder: the section, and a remark beside whatever was guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.init.proposed_size import ProposedSize

# Okabe and Ito's, which differ for colour-blind readers too; the first one is for what the pictures are not of.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#d55e00")


@dataclass(frozen=True)
class Proposal:
    """The section `data`, and what a person should know to mend it."""

    section: dict[str, Any]  # as `params.yaml` would hold it
    found: str  # what the folder holds, in a few words
    images: int
    training: int = 0  # images that are trained on, if the section is taken as it is
    remarks: dict[str, str] = field(default_factory=dict)  # of keys of the section
    class_remarks: tuple[str, ...] = ()  # of the classes, in their order
    groups: str = ""  # a regular expression that may tell groups apart; empty where names show none
    channels: int = 3  # of the prepared images
    size: ProposedSize | None = None  # None if the pairs could not be collected
    notices: tuple[str, ...] = ()  # sentences on what may be a mistake in the data, printed by `init`


def colour(index: int) -> str:
    """A class's colour; they repeat where there are many."""
    return COLOURS[index % len(COLOURS)]
