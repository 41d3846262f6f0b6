"""Source: a folder of images and masks, which are paired by patterns of their paths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.imaging.mask_decoding import MASK_ENDINGS
from pipeline.params.data.fields import list_values
from pipeline.params.data.file_pattern import CLASS, OBJECT, FilePattern
from pipeline.params.data.image_data import ExternalTestFolder, FolderData, find_slices
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import (
    ImageMaskPair,
    InstanceMaskReader,
    MaskReader,
    PairCollection,
    ValueMaskReader,
)
from pipeline.prepare.mask_parts import ClassFilesReader, ObjectFilesReader, encode_parts
from pipeline.prepare.sources.affixes import find_pairing_patterns
from pipeline.prepare.sources.image_files import ImageFiles
from pipeline.prepare.sources.volume_slices import slice_volumes
from pipeline.prepare.splitting.read_splits import read_splits
from pipeline.prepare.splitting.split_lists import apply_split_lists
from pipeline.volumes.open_volume import VOLUME_ENDINGS
from pipeline.volumes.slice_file import create_window
from pipeline.wording import join_names, pluralize

_NAMED = 5  # unpaired files named on each side if nothing fits


def match_files(
    folder: Path, images: str, masks: str, key: str, *, are_volumes: bool = False
) -> tuple[ImageFiles, ImageFiles]:
    """List the images and masks of a folder. A file that matches both patterns is a mask.

    Args:
        folder: Folder of the source.
        images: Pattern of the images.
        masks: Pattern of the masks.
        key: Key of the section or command, for messages.
        are_volumes: Whether the files are volumes instead of single images.

    Raises:
        PipelineError: No image or no mask matches, or no image has a mask.
    """
    mask_pattern = FilePattern(masks)
    endings, mask_endings = (VOLUME_ENDINGS, VOLUME_ENDINGS) if are_volumes else (ENDINGS, MASK_ENDINGS)
    found = ImageFiles(folder, f"{key}.masks", mask_pattern, mask_endings)
    image_files = ImageFiles(folder, f"{key}.images", FilePattern(images), endings, excluded=found.files)
    if mask_pattern.part:  # what * matches next to {class} or {object} depends on the images
        found = ImageFiles(folder, f"{key}.masks", mask_pattern, mask_endings, known=image_files.texts)
    for files, other in ((image_files, found.files), (found, image_files.files)):
        files.others = [file for file in files.others if file not in other]
    if not image_files.by_id.keys() & found.by_id.keys():
        raise PipelineError(_describe_mismatch(image_files, found, key))
    return image_files, found


def collect_folder(data: FolderData | ExternalTestFolder, classes: list[SegmentationClass], key: str) -> PairCollection:
    """Collect the pairs of a folder of images and masks with an optional split list.

    Args:
        data: Section that describes the folder.
        classes: Classes in the order of their indices.
        key: Key of the section, for messages.

    Raises:
        PipelineError: A folder or the list is missing, empty or invalid.
    """
    folder = Path(data.path)
    if not folder.is_dir():
        raise PipelineError(
            f"{key}.path: the folder {folder} does not exist. Set {key}.path to the folder of the images."
        )
    slices = find_slices(data)
    images, masks = match_files(folder, data.images, data.masks, key, are_volumes=slices is not None)
    folds = data.splits.folds if isinstance(data, FolderData) else None
    listed = apply_split_lists(folder, data.splits.split_lists, key, folds, images, masks)
    unpaired = [
        DataIssue(IssueKind.NO_MASK, name, file) for name, file in images.by_id.items() if name not in masks.by_id
    ]
    unpaired += [
        DataIssue(IssueKind.NO_IMAGE, name, file) for name, file in masks.by_id.items() if name not in images.by_id
    ]
    names = images.by_id.keys() | masks.by_id.keys()
    usable = (images.by_id.keys() & masks.by_id.keys()) - images.unusable - masks.unusable
    is_trained_on = isinstance(data, FolderData)
    splits = listed or read_splits(
        folder, data.splits.split_file, images.by_id, images.names, names, usable, key, is_trained_on
    )
    pairs = {
        name: ImageMaskPair(
            name,
            images.by_id[name],
            encode_parts(masks.parts[name]) if name in masks.parts else masks.by_id[name],
            images.names[name],
        )
        for name in images.by_id
        if name in usable
    }
    issues = [*unpaired, *images.issues, *masks.issues]
    notices = [*splits.notices, *_describe_others(images, masks, key)]
    if slices is not None:
        sliced = slice_volumes(folder, pairs, masks.parts, splits, slices, key)
        pairs, splits, issues = sliced.pairs, sliced.splits, [*issues, *sliced.issues]
    return PairCollection(
        folder=folder,
        title=f"The images in {folder.resolve().name}",
        credit="",  # known to the user
        classes=classes,
        pairs=pairs,
        masks=_create_reader(data, classes),
        issues=issues,
        skipped=sorted({*images.skipped, *masks.skipped}),
        notices=notices,
        window=create_window(slices),
        splits=splits,
    )


def _describe_others(images: ImageFiles, masks: ImageFiles, key: str) -> Iterator[str]:
    """Report image files next to the images and masks that match neither pattern."""
    others = sorted({*images.others, *masks.others})
    if others:
        match = pluralize(len(others), "image file matches", "image files match")
        yield (
            f"{match} neither {key}.images ('{images.pattern.text}') nor {key}.masks ('{masks.pattern.text}'): "
            f"{join_names(others, _NAMED)}."
        )


def _describe_mismatch(images: ImageFiles, masks: ImageFiles, key: str) -> str:
    """Describe that no image has a mask, with the first names on both sides, and patterns that pair them if any do."""
    lines = [
        f"{key}.masks: no image has a mask. The wildcards of both patterns must match the same texts, but the first "
        f"files are",
        f"  {key}.images: '{images.pattern.text}': {join_names(images.by_id.values(), _NAMED)}",
        f"  {key}.masks: '{masks.pattern.text}': {join_names(masks.by_id.values(), _NAMED)}",
    ]
    if patterns := find_pairing_patterns(images, masks):
        lines.append(f'Write {key}.images: "{patterns[0]}" and {key}.masks: "{patterns[1]}".')
    else:
        lines.append("Correct the patterns, or rename the files; see docs/how-to/folder-of-images.md.")
    return "\n".join(lines)


def _create_reader(data: FolderData | ExternalTestFolder, classes: list[SegmentationClass]) -> MaskReader:
    by_name = {item.name: list_values(item.mask_value) for item in data.classes}
    values = tuple(by_name[item.name] for item in classes)
    instances = data.instances if isinstance(data, FolderData) else None
    if instances:
        background, inside, border = (values.index((value,)) for value in range(3))
        order = (background, inside, border)
        if data.mask_part == OBJECT:
            return ObjectFilesReader(instances.border, order, data.mask_threshold)
        return InstanceMaskReader(instances.border, order)
    if data.mask_part == OBJECT:
        return ClassFilesReader(values.index((0,)), index=values.index((1,)), threshold=data.mask_threshold)
    if data.mask_part == CLASS:
        index_of = tuple((str(text), index) for index, texts in enumerate(values) for text in texts)
        return ClassFilesReader(values.index(()), index_of, threshold=data.mask_threshold)
    return ValueMaskReader(values, list_values(data.ignore_value), data.mask_threshold)
