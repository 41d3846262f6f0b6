"""List the files of a folder that match a pattern, by the ids of their images."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.params.data.file_pattern import DEFAULT_PATTERNS, FileMatch, FilePattern, find_ending
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.mask_parts import MaskPart
from pipeline.prepare.sample_ids import find_id_problem, image_id
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
        self.pattern = pattern
        self.files: set[str] = set()  # paths of all matching files
        self.by_id: dict[str, str] = {}  # paths relative to the folder of the source; of several files, the first one
        self.names: dict[str, str] = {}  # names that the ids are made from
        self.texts: set[tuple[str, ...]] = set()  # texts of the wildcards of all files
        self.parts: dict[str, list[MaskPart]] = {}  # all files, if the pattern has {class} or {object}
        self.issues: list[DataIssue] = []  # issues with invalid or ambiguous names
        self.skipped: list[tuple[str, str]] = []  # (file, reason) of other files below the pattern's root
        self.others: list[str] = []  # image files that do not match
        found: dict[str, list[tuple[str, FileMatch]]] = {}
        endings = VOLUME_ENDINGS if are_volumes else endings
        files = list_files(folder, pattern.root, key, are_volumes=are_volumes)
        for path in files:
            # Labels inside images are masks only if the pattern names the folder of the image.
            if str(path) in excluded or (is_label_inside(path) and not is_label_inside(pattern.text)):
                continue
            is_folder = are_volumes and (folder / path).is_dir()
            if match := pattern.match(path, endings, known, is_folder=is_folder):
                found.setdefault(image_id(match.name), []).append((str(path), match))
            elif find_ending(path.name, endings):
                self.others.append(str(path))
            elif pattern.accepts_all_names:
                self.skipped.append((str(path), f"files {_describe_ending(path)} are not read"))
        if not found:
            raise PipelineError(
                f"{key}: {folder} contains no files that match '{pattern.text}'; supported extensions: "
                f"{', '.join(endings)}.{_describe_volumes(files, endings)}"
            )
        for name, several in sorted(found.items()):
            self._add(name, sorted(several, key=lambda item: item[0]))
        self.unusable = {issue.id for issue in self.issues}

    @property
    def names_by_file(self) -> dict[str, str]:
        """Names by the path of the file."""
        return {file: self.names[name] for name, file in self.by_id.items()}

    def keep(self, ids: Collection[str]) -> None:
        """Leave out the files of all other ids."""
        for names in (self.by_id, self.names, self.parts):
            for name in names.keys() - set(ids):
                del names[name]
        self.issues = [issue for issue in self.issues if issue.id in self.by_id]
        self.unusable &= self.by_id.keys()

    def _add(self, name: str, several: list[tuple[str, FileMatch]]) -> None:
        files = [file for file, _ in several]
        self.files.update(files)
        if reason := find_id_problem(name):
            self.issues.append(DataIssue(IssueKind.NAME, name, files[0], reason))
        elif len({match.part for _, match in several}) < len(several):
            same = [file for file, match in several if [other.part for _, other in several].count(match.part) > 1]
            self.issues.append(DataIssue(IssueKind.DOUBLE, name, " and ".join(same)))
        self.by_id[name] = files[0]
        self.names[name] = several[0][1].name
        self.texts.add(several[0][1].texts)
        if self.pattern.part:
            self.parts[name] = [MaskPart(match.part, file) for file, match in several]


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
    top = folder / root
    if not top.is_dir():
        raise PipelineError(f"{key}: the folder {top} does not exist.")
    parents = [folder.joinpath(*PurePosixPath(root).parts[:depth]) for depth in range(1, 1 + len(Path(root).parts))]
    files = []
    for parent, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if links := [path for path in (*parents, *(Path(parent, name) for name in folders)) if path.is_symlink()]:
            # DVC does not follow links to folders, so it would not notice changed images.
            raise PipelineError(
                f"{key}: {links[0]} is a link to a folder; put the folder itself there, or link each file."
            )
        if are_volumes:
            names = merge_volumes(Path(parent), folders, names)
        files += [
            PurePosixPath(Path(parent, name).relative_to(folder).as_posix())
            for name in names
            if not name.startswith(".")
        ]
    return sorted(files)


def _describe_volumes(files: Collection[PurePosixPath], endings: Collection[str]) -> str:
    """Describe how to read volumes, if there are any that are not read."""
    found = [
        str(path)
        for name in files
        for path in (name, *name.parents)
        if find_ending(path.name, CERTAIN_ENDINGS) and not find_ending(path.name, endings)
    ]
    return f" For volumes such as {found[0]}, write data.slices; see docs/how-to/volumes.md." if found else ""


def _describe_ending(path: PurePosixPath) -> str:
    return f"ending in {path.suffix}" if path.suffix else "without an extension"
