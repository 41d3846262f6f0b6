"""Source: a folder of images with annotations in one of the formats in `formats/`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.mask_decoding import DecodedMask, orient_mask
from pipeline.imaging.metadata import UPRIGHT
from pipeline.imaging.resize import Resizing
from pipeline.params.data.file_pattern import FilePattern
from pipeline.params.data.image_data import AnnotatedData, CategoryData
from pipeline.prepare.data_folder import open_data_folder
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.formats.annotations import AnnotatedImage, Annotations
from pipeline.prepare.formats.image_index import ImageIndex
from pipeline.prepare.formats.notices import AnnotationStats
from pipeline.prepare.formats.outlines import DrawnAnnotations, draw_annotations
from pipeline.prepare.formats.table import FORMATS
from pipeline.prepare.image_mask_pair import FittedMask, ImageMaskPair, MaskReader, PairCollection, fit_numbered_mask
from pipeline.prepare.sources.image_files import ImageFiles
from pipeline.prepare.splitting.read_splits import read_splits
from pipeline.prepare.splitting.split_lists import apply_split_lists
from pipeline.wording import find_closest


@dataclass(frozen=True)
class OutlineMaskReader(MaskReader):
    """Reader of masks that are drawn from annotations. The annotations of foreground classes are objects."""

    file: str  # name of the annotation file
    index_of: tuple[tuple[int, int], ...]  # (category id, class index or IGNORE) of each declared category
    background: int  # class index of pixels without annotation
    objects: tuple[int, ...]  # indices of the foreground classes
    crowds_are_objects: bool = False  # whether crowds are drawn like all other annotations

    def describe(self, pair: ImageMaskPair) -> str:
        """Return the names of the annotation file and the image, for messages."""
        return f"{self.file} for {pair.image}"

    def read(self, _folder: Path, mask: str) -> bytes:
        """Return the annotations that are stored in the pair."""
        return mask.encode()

    def _decode(self, content: bytes) -> DecodedMask:
        return DecodedMask(self._draw(content).classes)

    def decode_fitted(self, content: bytes, resizing: Resizing, orientation: int = UPRIGHT) -> FittedMask:
        """Draw a mask and the numbers of its objects, and resize both.

        Raises:
            ImageError: The image has too many objects.
        """
        drawn = self._draw(content)
        classes, numbers = (orient_mask(values, orientation) for values in (drawn.classes, drawn.numbers))
        return fit_numbered_mask(classes, numbers, resizing)

    def _draw(self, content: bytes) -> DrawnAnnotations:
        height, width, annotations = json.loads(content)
        return draw_annotations(
            annotations, height, width, dict(self.index_of), self.background, self.objects, self.crowds_are_objects
        )


def collect_annotated(data: AnnotatedData, classes: Sequence[SegmentationClass]) -> PairCollection:
    """Collect the pairs of a folder of images with annotations.

    Raises:
        PipelineError: The folder or the annotations are missing or invalid, or a class has an unknown category.
    """
    folder = open_data_folder(Path(data.path), "data.path")
    files = ImageFiles(folder, "data.images", FilePattern(data.images))
    annotation_format = FORMATS[data.source]
    annotated = annotation_format.read(data.annotations, ImageIndex(folder, files), "data.annotations")
    index_of = map_categories(data, annotated.categories)
    all_ids = set(files.by_id)
    listed = apply_split_lists(folder, data.splits.split_lists, "data", data.splits.folds, files)
    images = {name: image for name, image in annotated.images.items() if not listed or name in files.by_id}
    present = {name: image for name, image in images.items() if name in files.by_id}
    issues = list(_find_issues(annotated, images, files, index_of, left_out=all_ids - files.by_id.keys()))
    usable = present.keys() - files.unusable - {issue.id for issue in issues}
    ids = files.by_id.keys() | images.keys()
    splits = listed or read_splits(folder, data.splits.split_file, files.by_id, files.names, ids, usable, "data")
    background = next((index for index, item in enumerate(data.classes) if not item.categories), IGNORE)
    foreground = tuple(index for index, item in enumerate(classes) if item.foreground)
    pairs = sorted(index_of.items())
    return PairCollection(
        folder=folder,
        title=f"The images in {Path(data.path).resolve().name}",
        credit="",  # known to the user
        classes=classes,
        pairs={
            name: ImageMaskPair(name, files.by_id[name], content, files.names[name])
            for name in sorted(usable)
            if (content := _encode_mask(images[name]))
        },
        masks=(
            annotation_format.create_reader(tuple(pairs), background)
            if annotation_format.create_reader
            else OutlineMaskReader(data.annotations, tuple(pairs), background, foreground, data.crowd == "object")
        ),
        issues=[*issues, *files.issues],
        images=files.by_id,
        skipped=files.skipped,
        notices=(
            *splits.notices,
            *annotated.notices,
            *AnnotationStats(list(present.values()), annotated.categories).notices(data.crowd),
        ),
        splits=splits,
    )


def _find_issues(
    annotated: Annotations,
    images: Mapping[str, AnnotatedImage],
    files: ImageFiles,
    index_of: Mapping[int, int],
    left_out: Set[str],
) -> Iterator[DataIssue]:
    """Find the issues of annotated images and of image files.

    Args:
        annotated: All annotations.
        images: The annotated images, except those that no split list names.
        files: The image files, except those that no split list names.
        index_of: Class indices of the declared categories.
        left_out: Ids of the files that no split list names.

    Yields:
        Missing files, missing annotations, issues of the annotation file, undeclared categories, issues of images.
    """
    for name, image in images.items():
        if name not in files.by_id:
            yield DataIssue(IssueKind.NO_FILE, name, image.file_name)
    known = images.keys() | {issue.id for issue in annotated.issues}
    for name, file in files.by_id.items():
        if name not in known:
            yield DataIssue(IssueKind.NO_TRUTH, name, file)
    yield from (issue for issue in annotated.issues if issue.id not in left_out)
    for name, image in images.items():
        if undeclared := _count_undeclared(image, annotated.categories, index_of):
            yield DataIssue(IssueKind.CATEGORIES, name, image.file_name, ", ".join(sorted(undeclared)), undeclared)
    for name, image in images.items():
        for kind, detail in image.issues.items() if name in files.by_id else ():
            yield DataIssue(kind, name, image.file_name, detail)


def _encode_mask(image: AnnotatedImage) -> str:
    """Return what a mask is drawn from. Empty for an image without a size, which has an issue."""
    if image.mask:
        return image.mask
    return json.dumps([*image.size, image.annotations]) if image.size else ""


def map_categories(data: CategoryData, categories: Mapping[int, str]) -> dict[int, int]:
    """Map the ids of declared categories to class indices or IGNORE. Several categories may have the same name.

    Raises:
        PipelineError: A declared category is not in the annotations.
    """
    index_of = {name: index for index, item in enumerate(data.classes) for name in item.categories}
    index_of |= dict.fromkeys(data.ignore_value, IGNORE)
    known = sorted(set(categories.values()))
    mistakes = []
    for name in index_of:
        if name not in known:
            place = "ignore_value" if name in data.ignore_value else "classes"
            hint = f" Did you mean '{near}'?" if (near := find_closest(name, known)) else ""
            mistakes.append(
                f"data.{place}: {data.annotations} has no category '{name}'; its categories are "
                f"{', '.join(known) or 'none'}.{hint}"
            )
    if mistakes:
        raise PipelineError("\n".join(mistakes))
    return {number: index_of[name] for number, name in categories.items() if name in index_of}


def _count_undeclared(
    image: AnnotatedImage, categories: Mapping[int, str], index_of: Mapping[int, int]
) -> dict[str, int]:
    """Count the objects of undeclared categories in an image, by category."""
    undeclared: Counter[str] = Counter()
    for number, count in (image.objects + image.crowds).items():
        if number not in index_of:
            undeclared[categories[number]] += count
    return undeclared
