"""Find the images that `pipeline predict` segments, and name their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS


@dataclass(frozen=True)
class SourceImage:
    """An image file to segment."""

    path: Path
    relative: str  # path relative to the given folder, with / between folders; the file name if the file was given
    name: str  # name of its results: `relative` without suffix, or with it if several images would have the same name

    def __str__(self) -> str:
        """Return the path with valid UTF-8; file names may contain other bytes."""
        return escape_invalid_bytes(str(self.path))


def escape_invalid_bytes(text: str) -> str:
    """Replace the bytes of a file name that are not UTF-8 by backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def find_images(paths: Sequence[Path], out: Path) -> list[SourceImage]:
    """Find images: all files in `paths`, and all images in its folders and their subfolders, except results in `out`.

    Raises:
        PipelineError: There is no image, or two results would have the same name.
    """
    relative: dict[Path, Path] = {}
    for path in paths:
        for file in _find_in_folder(path, out) if path.is_dir() else [path]:
            relative.setdefault(file, file.relative_to(path) if path.is_dir() else Path(file.name))
    if not relative:
        raise PipelineError(
            f"{', '.join(map(str, paths))}: no image found; expected files with {', '.join(ENDINGS)}, also in "
            "subfolders."
        )
    times = Counter(name.with_suffix("") for name in relative.values())
    names = {file: name if times[name.with_suffix("")] > 1 else name.with_suffix("") for file, name in relative.items()}
    if duplicates := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise PipelineError(
            f"Several images have the name {duplicates[0]}. Predict one folder at a time, each with its own --out."
        )
    return [SourceImage(file, relative[file].as_posix(), name.as_posix()) for file, name in names.items()]


def _find_in_folder(folder: Path, out: Path) -> list[Path]:
    results = out.resolve()
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and results not in path.resolve().parents
    )
