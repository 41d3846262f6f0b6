"""Turn pairs of volumes into pairs of slices."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.params.data.image_data import Slices
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import ImageMaskPair, WrittenSplits
from pipeline.prepare.mask_parts import MaskPart, encode_parts
from pipeline.prepare.read_file import describe_error
from pipeline.volumes.open_volume import list_axes, open_volume
from pipeline.volumes.slice_file import SliceReference, format_slice_name, needs_window
from pipeline.volumes.volume import Volume
from pipeline.wording import join_names, join_words, pluralize

_TOLERANCE = 0.1  # of a voxel's shortest side: largest distance between the corners of volumes with the same geometry
_NAMED = 5  # images in a notice


@dataclass(frozen=True)
class SlicedVolumes:
    """Slices of all usable volumes."""

    pairs: dict[str, ImageMaskPair]  # by the id of the slice
    splits: WrittenSplits  # with rows by the id of the slice
    issues: list[DataIssue]  # issues with volumes
    incomplete: list[str]  # images with chunks that are not stored, and how many

    def list_notices(self) -> Iterator[str]:
        """Report images with chunks that are not stored. They are valid: programs may leave out constant chunks."""
        if self.incomplete:
            images = pluralize(len(self.incomplete), "image has", "images have")
            yield (
                f"{images} chunks without files: {join_names(self.incomplete, _NAMED)}. Their pixels are read "
                f"as the constant that the image declares. Some programs write no constant chunks; if yours is none of "
                f"them, copy the images again."
            )


def slice_volumes(
    folder: Path,
    volumes: Mapping[str, ImageMaskPair],
    parts: Mapping[str, Sequence[MaskPart]],
    splits: WrittenSplits,
    slices: Slices,
    key: str,
) -> SlicedVolumes:
    """Turn pairs of volumes into pairs of slices. The slices of a volume are in the split of the volume.

    Args:
        folder: Folder of the source.
        volumes: Images and masks that are volumes, by id.
        parts: Files of each mask that consists of several files, by id.
        splits: Splits of the volumes.
        slices: Which slices are used.
        key: Key of the section, for messages.

    Raises:
        PipelineError: A window is required, but missing, or the files have no such axis.
    """
    for file in (pair.image for pair in volumes.values()):
        if slices.axis not in (axes := list_axes(file)):
            raise PipelineError(
                f"{key}.slices.axis: is {slices.axis}, but {file} has slices along {join_words(axes)}. Choose one of "
                f"them."
            )
    found = SlicedVolumes({}, splits, [], [])
    for name, pair in volumes.items():
        image = _open(folder, pair, pair.image, slices.axis, found.issues)
        files = [part.file for part in parts.get(name, ())] or [pair.mask]
        masks = [_open(folder, pair, file, slices.axis, found.issues) for file in files]
        if image is None or None in masks:
            continue
        if not image.has_own_grid:
            found.issues.append(DataIssue(IssueKind.UNREADABLE, name, pair.image, "is a mask, not an image"))
            continue
        mismatches = [
            DataIssue(IssueKind.GEOMETRY, name, file, detail)
            for file, mask in zip(files, masks, strict=True)
            if mask is not None and (detail := _describe_mismatch(image, mask))
        ]
        without_grid = {file for file, mask in zip(files, masks, strict=True) if mask and not mask.has_own_grid}
        found.issues.extend(mismatches)
        if mismatches:
            continue
        missing, total = image.count_missing()
        if missing == total:
            found.issues.append(
                DataIssue(IssueKind.UNREADABLE, name, pair.image, f"contains none of its {total:,} chunks")
            )
            continue
        if missing:
            found.incomplete.append(f"{pair.image} ({missing:,} of {total:,})")
        if slices.window is None and needs_window(image):
            raise PipelineError(f"{key}.slices.window: {_describe_range(image, pair.image)}")
        found.pairs.update(
            {one.id: one for one in _list_slices(pair, parts.get(name), image.num_slices, slices, without_grid)}
        )
    return replace(found, splits=splits.assign_parts({name: pair.volume for name, pair in found.pairs.items()}))


def _list_slices(
    pair: ImageMaskPair,
    parts: Sequence[MaskPart] | None,
    num_slices: int,
    slices: Slices,
    without_grid: Collection[str],
) -> Iterator[ImageMaskPair]:
    def refer(file: str, index: int) -> str:
        return str(SliceReference(file, slices.axis, index, pair.image if file in without_grid else ""))

    for index in range(0, num_slices, slices.step):
        yield ImageMaskPair(
            id=format_slice_name(pair.id, index, num_slices),
            image=refer(pair.image, index),
            mask=encode_parts([replace(part, file=refer(part.file, index)) for part in parts])
            if parts
            else refer(pair.mask, index),
            name=pair.name,
            volume=pair.id,
        )


def _open(folder: Path, pair: ImageMaskPair, file: str, axis: str, issues: list[DataIssue]) -> Volume | None:
    """Open a volume, or return None and add an issue."""
    try:
        return open_volume(folder / file, axis)
    except (OSError, ImageError) as error:
        issues.append(DataIssue(IssueKind.UNREADABLE, pair.id, file, describe_error(error)))
    return None


def _describe_mismatch(image: Volume, mask: Volume) -> str:
    """Describe how the voxels of a mask differ from those of its image; empty if they do not."""
    try:
        mask = mask.place_on(image)
    except ImageError as error:
        return str(error)
    sizes = [(one.num_slices, one.height, one.width) for one in (image, mask)]
    if sizes[0] != sizes[1]:
        return f"{mask.describe_shape()}, but the image has {image.describe_shape()}"
    if mask.channels > 1:
        return f"{mask.describe_shape()}, but a mask must have one value per voxel"
    if image.corners is None or mask.corners is None:
        return ""
    distance = float(np.linalg.norm(image.corners - mask.corners, axis=-1).max())
    if distance <= _TOLERANCE * image.voxel_side:
        return ""
    return (
        f"its affine moves corners of the volume by up to {distance:.3g} mm, and the shortest side of a voxel is "
        f"{image.voxel_side:.3g} mm"
    )


def _describe_range(image: Volume, file: str) -> str:
    """Describe the intensities of a volume that requires a window."""
    try:
        low, high = image.measure_range()
    except (ImageError, OSError) as error:
        return f"is required for {image.dtype} intensities, but those of {file} cannot be read: the file {error}."
    return (
        f"is missing, but the intensities of {file} are {image.dtype}, from {low:g} to {high:g}. Write window: [low, "
        f"high], the intensities that become black and white, such as [-160, 240] for the abdomen in Hounsfield units."
    )
