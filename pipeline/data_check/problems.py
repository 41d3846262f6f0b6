"""What must be fixed before training: issues by kind with thumbnails, and other errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.data_check.check_folder import DataCheck
from pipeline.data_check.duplicates import ImagePair
from pipeline.data_check.file_thumbnails import DECLARED_COLORS, UNDECLARED_COLOR, FileThumbnails
from pipeline.params.data.image_data import ImageMaskData, find_intensities
from pipeline.prepare.data_issues import (
    DataIssue,
    InvalidFilesError,
    IssueGroup,
    IssueKind,
    describe_skipping,
    group_issues,
)
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.report.images import EmbeddedImage, LegendEntry
from pipeline.volumes.slice_file import create_window

MAX_SHOWN = 8  # files with thumbnails per kind
MAX_LISTED = 100  # files in the list of a kind


@dataclass(frozen=True)
class AffectedFile:
    """A file with an issue."""

    text: str  # name of the file, and details
    images: tuple[EmbeddedImage, ...]  # its image, and its mask if the issue is about a mask file


@dataclass(frozen=True)
class Problem:
    """All issues of a kind."""

    title: str
    remedy: str
    shown: tuple[AffectedFile, ...]
    listed: tuple[str, ...]  # names of all files, if not all are shown
    more: str  # number of files that are neither shown nor listed; empty if there are none
    colors: tuple[LegendEntry, ...]  # of masks with undeclared values
    pairs: tuple[ImagePair, ...]  # near-duplicates across splits


@dataclass(frozen=True)
class Problems:
    """Everything that must be fixed."""

    of_files: tuple[Problem, ...]
    skipping: str  # sentence about skipping invalid files; empty if they cannot be skipped
    other: str  # message about another error; empty if there is none

    @property
    def count(self) -> int:
        """Number of kinds of issues, plus one for another error."""
        return len(self.of_files) + bool(self.other)


def build_problems(check: DataCheck, pairs: Sequence[ImagePair]) -> Problems | None:
    """Build the problems of a folder; None if there are none.

    Args:
        check: The check of the folder.
        pairs: Near-duplicates. Those that are an issue become part of the problem.
    """
    error = check.error
    if error is None:
        return None
    if not isinstance(error, InvalidFilesError):
        return Problems((), "", str(error))
    channels = check.section.channels if isinstance(check.section, ImageMaskData) else None
    window = create_window(find_intensities(check.section)) if check.section else None
    thumbnails = FileThumbnails(error.folder, channels, window)
    groups = group_issues(error.issues, error.key)
    return Problems(
        of_files=tuple(_build_problem(group, error, thumbnails, pairs) for group in groups),
        skipping=describe_skipping(error.issues, error.key),
        other=str(error.other or ""),
    )


def _build_problem(
    group: IssueGroup, error: InvalidFilesError, thumbnails: FileThumbnails, pairs: Sequence[ImagePair]
) -> Problem:
    # The first image of a pair is the one that has the issue.
    copies = {issue.id for issue in group.issues} if group.kind is IssueKind.LOOKS_ALIKE else set()
    pairs = [pair for pair in pairs if pair.is_across and pair.names[0] in copies]
    shown = [] if pairs else sample_evenly(group.issues, MAX_SHOWN)
    listed = group.issues[:MAX_LISTED] if len(shown) < len(group.issues) else ()
    rest = len(group.issues) - len(listed) if listed else 0
    files = tuple(AffectedFile(str(issue), tuple(_render(issue, error, thumbnails))) for issue in shown)
    has_undeclared = group.kind is IssueKind.VALUES and any(file.images for file in files)
    return Problem(
        title=group.title,
        remedy=group.remedy,
        shown=files,
        listed=tuple(map(str, listed)),
        more=f"and {rest:,} more" if rest else "",
        colors=(LegendEntry(UNDECLARED_COLOR, "undeclared values"), LegendEntry(DECLARED_COLORS[1], "declared values"))
        if has_undeclared
        else (),
        pairs=tuple(pairs),
    )


def _render(issue: DataIssue, error: InvalidFilesError, thumbnails: FileThumbnails) -> Iterator[EmbeddedImage]:
    """Render the image of an issue, and the mask file if the issue is about one; files may be missing or invalid."""
    file = error.images.get(issue.id, "" if issue.kind is IssueKind.NO_IMAGE else issue.file)
    if file and (image := thumbnails.render_image(file)):
        yield image
    if issue.file != file and (mask := thumbnails.render_mask(issue.file, issue.undeclared)):
        yield mask
