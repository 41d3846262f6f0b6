"""A folder with `images/` and a file of COCO instances as a source."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.mask_decoding import DecodedMask
from pipeline.params.data.image_data import CocoData
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import ImageMaskPair, MaskReader, PairCollection
from pipeline.prepare.sources.coco_masks import draw_mask
from pipeline.prepare.sources.coco_notices import AnnotationStats
from pipeline.prepare.sources.coco_validation import CocoAnnotations, CocoImage, read_coco
from pipeline.prepare.sources.folder import IMAGES, ImageFiles
from pipeline.prepare.splitting.read_splits import read_splits

_PREFIX = f"{IMAGES}__"  # of ids whose file_name begins with the folder of the images, as some tools write it


@dataclass(frozen=True)
class CocoMaskReader(MaskReader):
    """Draw masks from annotations."""

    file: str  # of the annotations
    index_of: tuple[tuple[int, int], ...]  # class index, or IGNORE, of each category
    background: int  # class index of pixels without annotation
    crowds_are_objects: bool = False  # whether crowds are drawn like all other annotations

    def describe(self, pair: ImageMaskPair) -> str:
        """Name the file of the annotations and the image."""
        return f"{self.file} for {pair.image}"

    def read(self, _folder: Path, mask: str) -> bytes:
        """Return the annotations, which are in the pair."""
        return mask.encode()

    def _decode(self, content: bytes) -> DecodedMask:
        height, width, annotations = json.loads(content)
        mask = draw_mask(
            annotations, height, width, dict(self.index_of), IGNORE, self.background, self.crowds_are_objects
        )
        return DecodedMask(mask)


def collect_coco(data: CocoData, classes: Sequence[SegmentationClass], key: str) -> PairCollection:
    """Collect the pairs of a folder with `images/` and a file of COCO instances.

    Args:
        data: section of the parameters.
        classes: in the order of their indices.
        key: of the section, for messages.

    Raises:
        PipelineError: The folder or the file is missing or invalid, or a class has an unknown category.
    """
    folder = Path(data.path)
    coco = read_coco(folder / data.annotations, f"{key}.annotations")
    index_of = _map_categories(data, coco, key)
    files = ImageFiles(folder, IMAGES, f"{key}.path", f"{IMAGES}/ and {data.annotations}")
    images = match_images(coco, files)
    undeclared = {name: found for name, of in images.items() if (found := _count_undeclared(of, coco, index_of))}
    faults = [
        DataIssue(IssueKind.NO_FILE, name, of.file_name) for name, of in images.items() if name not in files.by_id
    ]
    faults += [DataIssue(IssueKind.NO_TRUTH, name, file) for name, file in files.by_id.items() if name not in images]
    faults += [
        DataIssue(IssueKind.CATEGORIES, name, images[name].file_name, ", ".join(sorted(found)), found)
        for name, found in undeclared.items()
    ]
    present = {name: of for name, of in images.items() if name in files.by_id}
    faults += [
        DataIssue(kind, name, of.file_name, detail)
        for name, of in present.items()
        for kind, detail in of.issues.items()
    ]
    faulty = {name for name, of in present.items() if of.issues}
    usable = present.keys() - files.unusable - undeclared.keys() - faulty
    ids = files.by_id.keys() | images.keys()
    splits = read_splits(folder, data.splits.split_file, files.by_id, ids, usable, key)
    return PairCollection(
        folder=folder,
        title=f"The images in {folder.resolve().name}",
        credit="",  # known to the user
        classes=classes,
        pairs={
            name: ImageMaskPair(name, files.by_id[name], _serialize_annotations(images[name]))
            for name in sorted(usable)
        },
        masks=CocoMaskReader(
            data.annotations, tuple(sorted(index_of.items())), _find_background(data), data.crowd == "object"
        ),
        issues=[*faults, *files.issues],
        skipped=files.skipped,
        notices=(*splits.notices, *AnnotationStats(list(present.values()), coco.categories).notices(data.crowd, key)),
        rows=splits.rows,
        split_source=splits.source,
        split_error=splits.mistake,
    )


def match_images(coco: CocoAnnotations, files: ImageFiles) -> dict[str, CocoImage]:
    """Key the annotated images by the ids of the image files."""
    return {name.removeprefix(_PREFIX) if name not in files.by_id else name: of for name, of in coco.images.items()}


def _map_categories(data: CocoData, coco: CocoAnnotations, key: str) -> dict[int, int]:
    """Map the declared categories to class indices, or IGNORE; several categories may have the same name."""
    asked = {name: index for index, one in enumerate(data.classes) for name in one.categories}
    asked |= dict.fromkeys(data.ignore_value, IGNORE)
    there = sorted(set(coco.categories.values()))
    mistakes = []
    for name in asked:
        if name not in there:
            place = "ignore_value" if name in data.ignore_value else "classes"
            near = difflib.get_close_matches(name, there, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            mistakes.append(
                f"{key}.{place}: {data.annotations} has no category '{name}'; its categories are "
                f"{', '.join(there) or 'none'}.{hint}"
            )
    if mistakes:
        raise PipelineError("\n".join(mistakes))
    return {number: asked[name] for number, name in coco.categories.items() if name in asked}


def _find_background(data: CocoData) -> int:
    return next(index for index, one in enumerate(data.classes) if not one.categories)


def _count_undeclared(image: CocoImage, coco: CocoAnnotations, index_of: Mapping[int, int]) -> dict[str, int]:
    """Count the objects of an image by undeclared category."""
    found: Counter[str] = Counter()
    for number, count in (*image.objects.items(), *image.crowds.items()):
        if number not in index_of:
            found[coco.categories[number]] += count
    return dict(found)


def _serialize_annotations(image: CocoImage) -> str:
    assert image.size is not None
    return json.dumps([*image.size, image.annotations])
