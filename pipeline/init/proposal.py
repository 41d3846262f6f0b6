"""What is proposed for a folder: the section, and a remark beside whatever was guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.init.proposed_size import ProposedSize


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


@dataclass(frozen=True)
class Classes:
    """What the masks hold, as a section says it."""

    section: dict[str, Any]  # classes, ignore, and perhaps instances or mask_threshold
    remarks: tuple[str, ...]  # of the classes, in their order
    ignore_remark: str = ""
    notices: tuple[str, ...] = ()  # the guesses, each with the setting to write if it is wrong
