"""Find the images to segment, and name their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS


@dataclass(frozen=True)
class ImageFile:
    """An image to segment."""

    path: Path
    name: str  # of its results: a path without suffix, relative to their folders


def find_images(paths: Sequence[Path], out: Path) -> list[ImageFile]:
    """Find images: the files among some paths, and all images in and below the folders.

    Args:
        paths: Files and folders.
        out: The folder for results; nothing in it is an image to segment.

    Returns:
        Each image once, in the order of the paths. Images whose results would have the same name keep their suffix in
        it.

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
        raise PipelineError(f"Several images have the name {duplicates[0]}. Predict one folder at a time, with --out.")
    return [ImageFile(file, name.as_posix()) for file, name in names.items()]


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
