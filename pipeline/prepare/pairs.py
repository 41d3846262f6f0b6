"""The files of a folder of the user's own: images and masks, joined by their names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.data.pictures import ENDINGS
from pipeline.errors import PipelineError
from pipeline.prepare import troubles
from pipeline.prepare.split_list import image_id
from pipeline.prepare.troubles import Troubles

IMAGES, MASKS = "images", "masks"  # the folders that a source's folder holds


@dataclass(frozen=True)
class Pair:
    """An image's file and its mask's, relative to the source's folder."""

    id: str
    image: str
    mask: str


def find_pairs(folder: Path, key: str, found: Troubles, skipped: list[tuple[str, str]]) -> dict[str, Pair]:
    """Images and masks of the same name, by id.

    What has no partner, and names that stand for several files, are added to `found`; files of other endings to
    `skipped`, with the reason. `key` is where the folder is from, for messages.

    Raises:
        PipelineError: There is no `images/` or `masks/`, one holds no picture, or a folder is a link.
    """
    images, masks = (_files(folder, kind, key, found, skipped) for kind in (IMAGES, MASKS))
    for name in sorted(images.keys() - masks.keys()):
        found.add(troubles.NO_MASK, images[name])
    for name in sorted(masks.keys() - images.keys()):
        found.add(troubles.NO_IMAGE, masks[name])
    return {name: Pair(name, images[name], masks[name]) for name in sorted(images.keys() & masks.keys())}


def _files(folder: Path, kind: str, key: str, found: Troubles, skipped: list[tuple[str, str]]) -> dict[str, str]:
    """The pictures below a folder by id, relative to the source's folder; hidden files are no pictures."""
    top = folder / kind
    if not top.is_dir():
        raise PipelineError(
            f"{key}: there is no folder {top}. Set {key} to the folder that holds {IMAGES}/ and {MASKS}/."
        )
    files: dict[str, list[str]] = {}
    for root, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if links := [path for path in (Path(root), *(Path(root, name) for name in folders)) if path.is_symlink()]:
            # DVC does not look behind a linked folder, so it would never see that an image in it changed.
            raise PipelineError(f"{key}: {links[0]} is a link; put the folder itself there, or link file by file.")
        for name in names:
            path = PurePosixPath(Path(root, name).relative_to(top).as_posix())
            if name.startswith("."):
                continue
            if path.suffix.lower() in ENDINGS:
                files.setdefault(image_id(str(path.with_suffix(""))), []).append(f"{kind}/{path}")
            else:
                skipped.append((f"{kind}/{path}", f"files ending in {path.suffix or 'nothing'} are not read"))
    if not files:
        raise PipelineError(f"{key}: {top} holds no picture; these endings are read: {', '.join(ENDINGS)}.")
    for several in files.values():
        if len(several) > 1:
            found.add(troubles.DOUBLE, " and ".join(sorted(several)))
    skipped.sort()  # the order of a listing is the file system's
    return {name: min(several) for name, several in sorted(files.items())}
