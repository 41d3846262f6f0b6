"""List the files of a folder that match a pattern, by the ids of their images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath

from pipeline.errors import PipelineError, raise_error
from pipeline.imaging.decode import ENDINGS
from pipeline.params.data.file_pattern import DEFAULT_PATTERNS, FileMatch, FilePattern, find_ending
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.mask_parts import MaskPart
from pipeline.prepare.sample_ids import find_id_problem, to_image_id
from pipeline.volumes.dicom_header import DICOM_ENDINGS
from pipeline.volumes.find_volumes import is_label_inside, merge_volumes
from pipeline.volumes.open_volume import CERTAIN_ENDINGS, VOLUME_ENDINGS

IMAGES = "images"  # subfolder of images unless there is another pattern
DEFAULT_PATTERN = FilePattern(DEFAULT_PATTERNS[0])


class ImageFiles:
    """Files of a folder that match a pattern."""

    def __init__(
        self,
        folder: Path,
        key: str,
        pattern: FilePattern = DEFAULT_PATTERN,
        endings: tuple[str, ...] = ENDINGS,
        known: Collection[tuple[str, ...]] = (),
        excluded: Collection[str] = (),
        *,
        are_volumes: bool = False,
    ) -> None:
        """List the matching files.

        Args:
            folder: Folder of the source.
            key: Parameter or command that names the folder, for messages.
            pattern: Pattern of the files.
            endings: Supported endings of file names.
            known: See `FilePattern.match`.
            excluded: Paths of files that do not count.
            are_volumes: Whether the files are volumes. The folders of OME-Zarr images and DICOM series are then listed
                like files, and `endings` is unused.

        Raises:
            PipelineError: The folder does not exist or no file matches, or a folder is a symbolic link.
        """
        self.pattern, self._folder, self._are_volumes = pattern, folder, are_volumes
        self._endings = endings = VOLUME_ENDINGS if are_volumes else endings
        self.by_id: dict[str, str] = {}  # paths relative to the folder of the source; of several files, the first one
        self.names: dict[str, str] = {}  # names that the ids are made from
        self.parts: dict[str, list[MaskPart]] = {}  # all files, if the pattern has {class} or {object}
        self.skipped: list[tuple[str, str]] = []  # (file, reason) of other files below the pattern's root
        self.others: list[str] = []  # image files that do not match
        self._doubles: dict[str, list[str]] = {}  # all files of ids with several, if the pattern has neither
        for file in sorted(_iterate_files(folder, pattern.root, key, are_volumes=are_volumes)):
            path = PurePosixPath(file)
            # Labels inside images are masks only if the pattern names the folder of the image.
            if file in excluded or (is_label_inside(path) and not is_label_inside(pattern.text)):
                continue
            if match := self._match(file, known):
                self._add(file, match)
            elif find_ending(path.name, endings):
                self.others.append(file)
            elif pattern.accepts_all_names:
                self.skipped.append((file, f"files {_describe_ending(path)} are not read"))
        if not self.by_id:
            raise PipelineError(
                f"{key}: {folder} contains no files that match '{pattern.text}'; supported extensions: "
                f"{', '.join(endings)}.{_describe_volumes(list_files(folder, pattern.root, key), endings)}"
            )
        self.by_id = {name: self.by_id[name] for name in sorted(self.by_id)}
        self.names = {name: self.names[name] for name in self.by_id}
        self.issues = [*filter(None, map(self._find_issue, self.by_id))]  # issues with invalid or ambiguous names
        self.unusable = {issue.id for issue in self.issues}

    @property
    def files(self) -> set[str]:
        """Paths of all matching files."""
        parts = (part.file for parts in self.parts.values() for part in parts)
        return {*self.by_id.values(), *parts, *chain.from_iterable(self._doubles.values())}

    @property
    def texts(self) -> set[tuple[str, ...]]:
        """Texts of the wildcards of all files."""
        matches = map(self._match, self.by_id.values())
        return {match.texts for match in matches if match}

    @property
    def names_by_file(self) -> dict[str, str]:
        """Names by the path of the file."""
        return {file: self.names[name] for name, file in self.by_id.items()}

    def keep(self, ids: Collection[str]) -> None:
        """Leave out the files of all other ids."""
        for names in (self.by_id, self.names, self.parts, self._doubles):
            for name in names.keys() - set(ids):
                del names[name]
        self.issues = [issue for issue in self.issues if issue.id in self.by_id]
        self.unusable &= self.by_id.keys()

    def _match(self, file: str, known: Collection[tuple[str, ...]] = ()) -> FileMatch | None:
        is_folder = self._are_volumes and (self._folder / file).is_dir()
        return self.pattern.match(PurePosixPath(file), self._endings, known, is_folder=is_folder)

    def _add(self, file: str, match: FileMatch) -> None:
        name = to_image_id(match.name)
        first = self.by_id.setdefault(name, file)
        self.names.setdefault(name, match.name)
        if self.pattern.part:
            self.parts.setdefault(name, []).append(MaskPart(match.part, file))
        elif first != file:
            self._doubles.setdefault(name, [first]).append(file)

    def _find_issue(self, name: str) -> DataIssue | None:
        if reason := find_id_problem(name):
            return DataIssue(IssueKind.NAME, name, self.by_id[name], reason)
        parts = self.parts.get(name, ())
        times = Counter(part.text for part in parts)
        doubles = self._doubles.get(name) or [part.file for part in parts if times[part.text] > 1]
        return DataIssue(IssueKind.DOUBLE, name, " and ".join(doubles)) if doubles else None


def list_files(folder: Path, root: str, key: str, *, are_volumes: bool = False) -> list[PurePosixPath]:
    """List all files below a folder's subfolder except hidden ones, sorted.

    Args:
        folder: Folder of the source.
        root: Subfolder to list, or "" for the whole folder.
        key: Parameter or command that names the folder, for messages.
        are_volumes: Whether folders that are volumes are listed instead of the files in them.

    Returns:
        Paths relative to the folder.

    Raises:
        PipelineError: The subfolder does not exist, or a folder is a symbolic link.
    """
    return sorted(map(PurePosixPath, _iterate_files(folder, root, key, are_volumes=are_volumes)))


def _iterate_files(folder: Path, root: str, key: str, *, are_volumes: bool) -> Iterator[str]:
    """Iterate over the paths of `list_files` as text, which takes a tenth of the memory."""
    top = folder / root
    if not top.is_dir():
        raise PipelineError(f"{key}: the folder {top} does not exist.")
    parents = [folder.joinpath(*PurePosixPath(root).parts[:depth]) for depth in range(1, 1 + len(Path(root).parts))]
    for parent, folders, names in os.walk(top, onerror=raise_error):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if links := [path for path in (*parents, *(Path(parent, name) for name in folders)) if path.is_symlink()]:
            # DVC does not follow links to folders, so it would not notice changed images.
            raise PipelineError(
                f"{key}: {links[0]} is a link to a folder; put the folder itself there, or link each file."
            )
        if are_volumes:
            names = merge_volumes(Path(parent), folders, names)
        place = Path(parent).relative_to(folder).as_posix()
        start = "" if place == "." else f"{place}/"
        yield from (f"{start}{name}" for name in names if not name.startswith("."))


def _describe_volumes(files: Collection[PurePosixPath], endings: Collection[str]) -> str:
    """Describe how to read volumes, if there are any that are not read."""
    found = [
        str(path)
        for name in files
        for path in (name, *name.parents)
        if find_ending(path.name, CERTAIN_ENDINGS) and not find_ending(path.name, endings)
    ]
    if not found:
        return ""
    is_dicom = find_ending(found[0], DICOM_ENDINGS)
    single = " Convert single images, such as X-rays, to PNG or TIFF files." if is_dicom else ""
    return f" For volumes such as {found[0]}, write data.slices; see docs/how-to/volumes.md.{single}"


def _describe_ending(path: PurePosixPath) -> str:
    return f"ending in {path.suffix}" if path.suffix else "without an extension"
