"""Source: a folder of images and masks, which are paired by patterns of their paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.imaging.mask_decoding import MASK_ENDINGS
from pipeline.params.data.fields import list_values
from pipeline.params.data.file_pattern import CLASS, OBJECT, FilePattern
from pipeline.params.data.image_data import (
    ExternalTestFolder,
    FolderData,
    HuggingFaceData,
    find_scenes,
    find_slices,
)
from pipeline.prepare.data_folder import open_data_folder
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import (
    ImageMaskPair,
    InstanceMaskReader,
    MaskReader,
    PairCollection,
    ValueMaskReader,
)
from pipeline.prepare.mask_parts import ClassFilesReader, ObjectFilesReader, encode_parts
from pipeline.prepare.scene_masks import SceneMaskReader, find_band_value
from pipeline.prepare.sources.affixes import find_pairing_patterns
from pipeline.prepare.sources.image_files import ImageFiles
from pipeline.prepare.sources.scene_tiles import RasterLabels, tile_scenes
from pipeline.prepare.sources.volume_slices import slice_volumes
from pipeline.prepare.splitting.read_splits import read_splits
from pipeline.prepare.splitting.split_lists import apply_split_lists
from pipeline.scenes.geotiff import SCENE_ENDINGS
from pipeline.volumes.slice_file import create_window
from pipeline.wording import join_names, pluralize

_NAMED = 5  # unpaired files named on each side if nothing fits


def match_files(
    folder: Path,
    images: str,
    masks: str,
    key: str,
    endings: tuple[str, ...] | None = None,
    *,
    are_volumes: bool = False,
) -> tuple[ImageFiles, ImageFiles]:
    """List the images and masks of a folder. A file that matches both patterns is a mask.

    Args:
        folder: Folder of the source.
        images: Pattern of the images.
        masks: Pattern of the masks.
        key: Key of the section or command, for messages.
        endings: Endings of all files; by default, those of single images and masks.
        are_volumes: See `ImageFiles`.

    Raises:
        PipelineError: No image or no mask matches, or no image has a mask.
    """
    mask_pattern = FilePattern(masks)
    mask_endings = endings or MASK_ENDINGS
    found = ImageFiles(folder, f"{key}.masks", mask_pattern, mask_endings, are_volumes=are_volumes)
    image_files = ImageFiles(
        folder, f"{key}.images", FilePattern(images), endings or ENDINGS, excluded=found.files, are_volumes=are_volumes
    )
    if mask_pattern.part:  # what * matches next to {class} or {object} depends on the images
        found = ImageFiles(
            folder, f"{key}.masks", mask_pattern, mask_endings, known=image_files.texts, are_volumes=are_volumes
        )
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
    folder = open_data_folder(Path(data.path), f"{key}.path")
    slices, scenes = find_slices(data), find_scenes(data)
    endings = SCENE_ENDINGS if scenes else None
    images, masks = match_files(folder, data.images, data.masks, key, endings, are_volumes=slices is not None)
    folds = data.splits.folds if isinstance(data, FolderData) else None
    listed = apply_split_lists(folder, data.splits.split_lists, key, folds, images, masks)
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
    issues = [*_find_unpaired(images, masks), *images.issues, *masks.issues]
    notices = [*splits.notices, *_describe_others(images, masks, key)]
    if slices is not None:
        sliced = slice_volumes(folder, pairs, masks.parts, splits, slices, key)
        pairs, splits, issues = sliced.pairs, sliced.splits, [*issues, *sliced.issues]
        notices += sliced.list_notices()
    reader, skipped = create_mask_reader(data, classes), sorted({*images.skipped, *masks.skipped})
    if scenes is not None and isinstance(data, FolderData):
        reader = _create_scene_reader(data, reader)
        tiled = tile_scenes(folder, pairs, RasterLabels(folder), reader, splits, scenes, data.channels, key)
        pairs, splits, issues = tiled.pairs, tiled.splits, [*issues, *tiled.issues]
        notices, skipped = [*notices, *tiled.notices], [*skipped, *tiled.skipped]
    return PairCollection(
        folder=folder,
        title=f"The images in {Path(data.path).resolve().name}",
        credit="",  # known to the user
        classes=classes,
        pairs=pairs,
        masks=reader,
        issues=issues,
        skipped=skipped,
        notices=notices,
        window=create_window(slices or scenes),
        splits=splits,
    )


def _find_unpaired(images: ImageFiles, masks: ImageFiles) -> Iterator[DataIssue]:
    """Find images without a mask, and masks without an image."""
    for kind, files, others in ((IssueKind.NO_MASK, images, masks), (IssueKind.NO_IMAGE, masks, images)):
        for name, file in files.by_id.items():
            if name not in others.by_id:
                yield DataIssue(kind, name, file)


def _create_scene_reader(data: FolderData, labels: MaskReader) -> SceneMaskReader:
    """Create the reader of the tiles of mask files; `labels` decodes their values."""
    values = [value for item in data.classes for value in list_values(item.mask_value)]
    found = map(find_band_value, (*values, *list_values(data.ignore_value)))
    declared = tuple(value for value in found if value is not None)
    fill = (declared[0],) if declared else tuple(bytes.fromhex(str(values[0])[1:]))
    return SceneMaskReader(labels, declared, fill)


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


def create_mask_reader(
    data: FolderData | HuggingFaceData | ExternalTestFolder, classes: Sequence[SegmentationClass]
) -> MaskReader:
    """Create the reader of masks whose values are described by a section."""
    by_name = {item.name: list_values(item.mask_value) for item in data.classes}
    values = tuple(by_name[item.name] for item in classes)
    instances = None if isinstance(data, ExternalTestFolder) else data.instances
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
