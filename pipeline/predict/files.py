"""Which pictures are meant, and where what is made of them goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS


@dataclass(frozen=True)
class Source:
    """A picture to be segmented."""

    path: Path
    name: str  # of what is made of it: a path without its ending, below the folders of masks, overlays and cut-outs


def find_sources(paths: Sequence[Path], out: Path) -> list[Source]:
    """The pictures at some paths: files as they are, of folders all pictures in them and below.

    Args:
        paths: of files and folders.
        out: the folder that results go to; nothing in it is taken for a picture.

    Returns:
        Each once, in the order of the paths; two that would get one name keep their endings in it.

    Raises:
        PipelineError: There is no picture.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _pictures(path, out) if path.is_dir() else [path]:
            found.setdefault(file, file.relative_to(path) if path.is_dir() else Path(file.name))
    if not found:
        raise PipelineError(
            f"There is no picture in {', '.join(map(str, paths))}; looked for {', '.join(ENDINGS)}, also in subfolders."
        )
    times = Counter(name.with_suffix("") for name in found.values())
    names = {file: name if times[name.with_suffix("")] > 1 else name.with_suffix("") for file, name in found.items()}
    if doubled := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise PipelineError(f"Several pictures are called {doubled[0]}. Give their folders one at a time, with --out.")
    return [Source(file, name.as_posix()) for file, name in names.items()]


def _pictures(folder: Path, out: Path) -> list[Path]:
    results = out.resolve()
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and results not in path.resolve().parents
    )
