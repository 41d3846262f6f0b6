"""Recognize volumes, and suggest `data.slices` for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.init.layouts.layout import Layout
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.prepare.sources.folder import match_files
from pipeline.volumes.open_volume import find_format, list_axes, open_volume
from pipeline.volumes.slice_file import IntensityWindow, SliceReference, needs_window
from pipeline.volumes.tiff_stack import TiffStack
from pipeline.wording import pluralize

_AXIS = "z"  # axial slices are the usual ones
_MAX_TRIED = 10  # pairs that are opened to find one that can be read
_MIN_VOLUMES = 4  # that the splits and the showcase require
_MAX_VOLUMES, _MAX_SLICES = 12, 5  # volumes, and slices of each, whose intensities are measured
_MAX_VALUES = 20_000  # intensities of a slice that are measured
_PERCENTILES = (0.5, 99.5)
_DIGITS = 3  # significant digits of a limit of the window


@dataclass(frozen=True)
class SuggestedSlices:
    """A suggested `data.slices`, and the slices of all volumes that can be opened."""

    section: dict[str, Any]  # value of `data.slices`
    images: dict[str, str]  # names of the volumes by the slice of the image
    masks: list[str]  # slices of the masks
    window: IntensityWindow | None
    found: str  # short description of the volumes
    notices: tuple[str, ...]


def suggest_slices(folder: Path, layout: Layout) -> SuggestedSlices | None:
    """Suggest `data.slices` for a layout. Return None if its files are single images.

    NIfTI files, DICOM series and OME-Zarr images are volumes. TIFFs with several pages are volumes if their masks have
    as many pages; otherwise, the pages of an image are its channels.

    Raises:
        PipelineError: The volumes cannot be read.
    """
    try:
        images, masks = match_files(folder, layout.images, layout.masks, "data", are_volumes=True)
    except PipelineError:
        return None
    ids = sorted(images.by_id.keys() & masks.by_id.keys())
    axis = _find_axis(folder, [(images.by_id[name], masks.by_id[name]) for name in ids])
    if axis is None:
        return None
    if masks.parts:
        raise PipelineError(
            f"pipeline init: {folder} contains volumes with one mask file per class or object. Write the data section "
            f"by hand; see docs/how-to/volumes.md."
        )
    names: dict[str, str] = {}
    mask_slices: list[str] = []
    reason, num_volumes = "", 0
    for name in ids:
        try:
            volume = open_volume(folder / images.by_id[name], axis)
        except (ImageError, OSError) as error:
            reason = f"{images.by_id[name]} {error}"
            continue
        num_volumes += 1
        grid = images.by_id[name] if _has_no_grid(folder / masks.by_id[name], axis) else ""
        for index in range(volume.num_slices):
            names[str(SliceReference(images.by_id[name], axis, index))] = images.names[name]
            mask_slices.append(str(SliceReference(masks.by_id[name], axis, index, grid)))
    if not names:
        raise PipelineError(f"pipeline init: none of the volumes in {folder} can be read (for example, {reason}).")
    by_volume = [list(several) for _, several in groupby(names, lambda text: text.rpartition("[")[0])]
    limits, notices = _suggest_window(folder, by_volume)
    notices += _describe_unnamed(folder, images.by_id[ids[0]], axis)
    window = IntensityWindow(*limits) if limits else None
    section = {"axis": axis, "step": 1, "window": list(limits) if limits else None}
    if num_volumes < _MIN_VOLUMES:
        notices.append(
            f"All slices of a volume are in one split, so at least {_MIN_VOLUMES} volumes are needed: for training, "
            f"validation, testing and the showcase. With fewer, write one file per slice, and assign blocks of slices "
            f"to the splits; see docs/how-to/microscopy.md."
        )
    found = f"{pluralize(num_volumes, 'volume that is', 'volumes that are')} cut along {axis}, "
    return SuggestedSlices(section, names, mask_slices, window, found, tuple(notices))


def _has_no_grid(mask: Path, axis: str) -> bool:
    try:
        return not open_volume(mask, axis).has_own_grid
    except (ImageError, OSError):
        return False  # `pipeline data check` reports it


def _find_axis(folder: Path, pairs: Sequence[tuple[str, str]]) -> str | None:
    """Find the axis of the slices in the first pair that can be read. Return None if files are single images."""
    if any("x" in list_axes(image) for image, _ in pairs):  # axes of the patient
        return _AXIS
    are_certain = any(not find_format(image).has_single_images for image, _ in pairs)
    for image, mask in pairs[:_MAX_TRIED]:
        counts = {}
        for axis in (_AXIS, "t"):
            with contextlib.suppress(ImageError, OSError):
                counts[axis] = [open_volume(folder / file, axis).num_slices for file in (image, mask)]
        if counts:
            fitting = [axis for axis, (of_image, of_mask) in counts.items() if of_image == of_mask > 1]
            return next(iter(fitting), _AXIS if are_certain else None)
    return _AXIS if are_certain else None


def _describe_unnamed(folder: Path, file: str, axis: str) -> Iterator[str]:
    """Report that pages are taken for slices although the metadata of the first TIFF does not state their axis."""
    try:
        volume = open_volume(folder / file, axis)
    except (ImageError, OSError):
        return
    if isinstance(volume, TiffStack) and not volume.has_named_axis:
        yield (
            f"The pages of {file} are taken for slices along {axis}, because its mask has as many pages. If they are "
            f"the channels of one image, remove data.slices and set data.channels: {volume.num_slices}."
        )


def _suggest_window(folder: Path, volumes: Sequence[Sequence[str]]) -> tuple[tuple[float, float] | None, list[str]]:
    """Suggest the limits of the window from the intensities in some slices of volumes, if a window is required."""
    sample = [text for slices in sample_evenly(volumes, _MAX_VOLUMES) for text in sample_evenly(slices, _MAX_SLICES)]
    samples = list(_read_intensities(folder, sample))
    if not samples:
        return None, []
    values = np.concatenate(samples)
    low, high = choose_limits(values)
    notice = (
        f"data.slices.window: [{low}, {high}] is proposed: all but 1% of the intensities, which are from "
        f"{values.min():g} to {values.max():g} in the slices that were opened. The limits become black and white, with "
        f"254 gray levels between them. For CT, choose the window of the tissue, such as [-160, 240] for the abdomen, "
        f"[-1350, 150] for lungs or [-500, 1300] for bones."
    )
    return (low, high), [notice]


def choose_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Choose the limits of a window that contains all but 1% of the values, rounded."""
    low, high = (float(f"{limit:.{_DIGITS}g}") for limit in np.percentile(values, _PERCENTILES))
    if low >= high:
        low, high = float(values.min()), float(values.max()) + 1
    low, high = (int(limit) if limit.is_integer() else limit for limit in (low, high))
    return low, high


def _read_intensities(folder: Path, slices: Sequence[str]) -> Iterator[NDArray[np.float64]]:
    """Yield the finite intensities of slices that require a window."""
    for text in slices:
        reference = SliceReference.parse(text)
        assert reference is not None
        try:
            volume = open_volume(folder / reference.file, reference.axis)
            if not needs_window(volume):
                continue
            values = volume.read_slice(reference.index).values.ravel()
        except (ImageError, OSError):
            continue  # `pipeline data check` reports it
        values = values[:: max(1, values.size // _MAX_VALUES)].astype(np.float64)
        yield values[np.isfinite(values)]
