"""A folder of the user's own with `images/` and a file of COCO's instances."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.imaging.mask_decoding import orient_mask
from pipeline.imaging.metadata import UPRIGHT
from pipeline.imaging.resize import Resize, fit_mask
from pipeline.params.data.image_data import CocoData
from pipeline.prepare.dividing.split_folders import read_splits
from pipeline.prepare.faults import Fault, Kind
from pipeline.prepare.pairs import Collection, FittedMask, Pair
from pipeline.prepare.sources.coco import Coco, CocoImage, read
from pipeline.prepare.sources.coco_masks import draw
from pipeline.prepare.sources.coco_notices import Annotations
from pipeline.prepare.sources.folder import IMAGES, Files
from pipeline.runs import IGNORE, SegmentationClass

_PREFIX = f"{IMAGES}__"  # of ids whose file_name begins with the folder of the images, as some tools write it


@dataclass(frozen=True)
class CocoMasks:
    """Masks that are drawn from annotations."""

    file: str  # of the annotations
    index_of: tuple[tuple[int, int], ...]  # the class index, or IGNORE, of each category
    background: int  # the class index of what no annotation covers
    crowds_are_objects: bool = False

    def name(self, pair: Pair) -> str:
        """The annotations' file, and the image in it."""
        return f"{self.file} for {pair.image}"

    def content(self, _folder: Path, truth: str) -> bytes:
        """The annotations, which the pair carries."""
        return truth.encode()

    def class_indices(self, content: bytes) -> NDArray[np.uint8]:
        """Draw a mask of class indices at the size of its image."""
        height, width, annotations = json.loads(content)
        return draw(annotations, height, width, dict(self.index_of), IGNORE, self.background, self.crowds_are_objects)

    def fitted(self, content: bytes, size: int, resize: Resize, orientation: int = UPRIGHT) -> FittedMask:
        """Draw a mask and fit it."""
        mask = orient_mask(self.class_indices(content), orientation)
        height, width = mask.shape
        return FittedMask(fit_mask(mask, size, resize, outside=IGNORE), height, width)


def coco_collection(data: CocoData, classes: Sequence[SegmentationClass], key: str) -> Collection:
    """The pairs of a folder with `images/` and a file of COCO's instances; `key` is its section's.

    Raises:
        PipelineError: The folder or the file is missing or wrong, or a class asks for a category that is not there.
    """
    folder = Path(data.path)
    coco = read(folder / data.annotations, f"{key}.annotations")
    index_of = _class_indices(data, coco, key)
    files = Files(folder, IMAGES, f"{key}.path", f"{IMAGES}/ and {data.annotations}")
    images = named(coco, files)
    undeclared = {name: found for name, of in images.items() if (found := _undeclared(of, coco, index_of))}
    faults = [Fault(Kind.NO_FILE, name, of.file_name) for name, of in images.items() if name not in files.by_id]
    faults += [Fault(Kind.NO_TRUTH, name, file) for name, file in files.by_id.items() if name not in images]
    faults += [
        Fault(Kind.CATEGORIES, name, images[name].file_name, ", ".join(sorted(found)), found)
        for name, found in undeclared.items()
    ]
    present = {name: of for name, of in images.items() if name in files.by_id}
    faults += [
        Fault(kind, name, of.file_name, detail) for name, of in present.items() for kind, detail in of.issues.items()
    ]
    faulty = {name for name, of in present.items() if of.issues}
    usable = present.keys() - files.unusable - undeclared.keys() - faulty
    ids = files.by_id.keys() | images.keys()
    splits = read_splits(folder, data.splits.list, files.by_id, ids, usable, key)
    return Collection(
        folder=folder,
        title=f"The images in {folder.resolve().name}",
        credit="",  # the user knows whose pictures these are
        classes=classes,
        pairs={name: Pair(name, files.by_id[name], _truth(images[name])) for name in sorted(usable)},
        masks=CocoMasks(data.annotations, tuple(sorted(index_of.items())), _background(data), data.crowd == "object"),
        faults=[*faults, *files.faults],
        skipped=files.skipped,
        notices=(*splits.notices, *Annotations(list(present.values()), coco.categories).notices(data.crowd, key)),
        rows=splits.rows,
        listed_in=splits.source,
        mistake=splits.mistake,
    )


def named(coco: Coco, files: Files) -> dict[str, CocoImage]:
    """Key the images of a file of annotations by the ids of the images' files."""
    return {name.removeprefix(_PREFIX) if name not in files.by_id else name: of for name, of in coco.images.items()}


def _class_indices(data: CocoData, coco: Coco, key: str) -> dict[int, int]:
    """The class index, or IGNORE, of each category that the parameters name; several categories may have one name."""
    asked = {name: index for index, one in enumerate(data.classes) for name in one.categories}
    asked |= dict.fromkeys(data.ignore, IGNORE)
    there = sorted(set(coco.categories.values()))
    mistakes = []
    for name in asked:
        if name not in there:
            place = "ignore" if name in data.ignore else "classes"
            near = difflib.get_close_matches(name, there, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            mistakes.append(
                f"{key}.{place}: {data.annotations} has no category '{name}'; its categories are "
                f"{', '.join(there) or 'none'}.{hint}"
            )
    if mistakes:
        raise PipelineError("\n".join(mistakes))
    return {number: asked[name] for number, name in coco.categories.items() if name in asked}


def _background(data: CocoData) -> int:
    return next(index for index, one in enumerate(data.classes) if not one.categories)


def _undeclared(image: CocoImage, coco: Coco, index_of: Mapping[int, int]) -> dict[str, int]:
    """How many objects an image has of each category that the parameters do not name."""
    found: Counter[str] = Counter()
    for number, count in (*image.objects.items(), *image.crowds.items()):
        if number not in index_of:
            found[coco.categories[number]] += count
    return dict(found)


def _truth(image: CocoImage) -> str:
    assert image.size is not None
    return json.dumps([*image.size, image.annotations])
