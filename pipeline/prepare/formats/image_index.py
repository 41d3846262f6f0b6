"""Find the image file that a name in annotations refers to. Only files in the folder can be found."""

from __future__ import annotations

import posixpath
import unicodedata
import warnings
from pathlib import Path, PurePosixPath

from PIL import Image
from PIL.ExifTags import Base as Tag

from pipeline.imaging.decode import FORMATS
from pipeline.imaging.errors import ImageError
from pipeline.imaging.metadata import swaps_sides
from pipeline.imaging.tiff import open_pages
from pipeline.prepare.sources.image_files import ImageFiles


class ImageIndex:
    """Index of the image files of a source.

    Args:
        folder: Folder of the source.
        files: Images in the folder.
    """

    def __init__(self, folder: Path, files: ImageFiles) -> None:
        self.folder, self.files = folder, files
        self.endings = sorted({PurePosixPath(path).suffix for path in files.by_id.values()})
        self._by_path = {_normalize(path): name for name, path in files.by_id.items()}
        self._by_name: dict[str, list[str]] = {}
        for path in self._by_path:
            self._by_name.setdefault(PurePosixPath(path).name, []).append(path)

    def find(self, path: str, start: str = "") -> list[str]:
        """Return the id of the image with a path relative to the folder `start`; empty if there is none."""
        name = self._by_path.get(_normalize(posixpath.normpath(posixpath.join(start, path.replace("\\", "/")))))
        return [] if name is None else [name]

    def find_by_end(self, name: str) -> list[str]:
        """Return the ids of the images whose paths end with a name, of which as many folders as possible must fit."""
        wanted = PurePosixPath(_normalize(name.replace("\\", "/"))).parts
        best = [path for path in self._by_name.get(wanted[-1], []) if wanted] if wanted else []
        for depth in range(2, len(wanted) + 1):
            fitting = [path for path in best if PurePosixPath(path).parts[-depth:] == wanted[-depth:]]
            best = fitting or best
        return [self._by_path[path] for path in best]

    def read_size(self, name: str) -> tuple[int, int] | None:
        """Read the height and width in px of an upright image from its header. None if it cannot be read."""
        path = self.folder / self.files.by_id[name]
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as file:
                width, height = file.size
                orientation = file.getexif().get(Tag.Orientation, 1)
        except Exception:  # broken files can raise any exception
            return _read_tiff_size(path)
        return (width, height) if swaps_sides(orientation) else (height, width)


def _read_tiff_size(path: Path) -> tuple[int, int] | None:
    """Read the height and width in px of an upright TIFF with channels that Pillow does not read."""
    try:
        with path.open("rb") as file, open_pages(file) as (pages, _):
            _, _, height, width, _ = pages[0].shaped
            orientation = pages[0].tags.valueof(Tag.Orientation, 1)
    except (ImageError, OSError, LookupError):
        return None
    return (int(width), int(height)) if swaps_sides(orientation) else (int(height), int(width))


def _normalize(path: str) -> str:
    return unicodedata.normalize("NFC", path)
