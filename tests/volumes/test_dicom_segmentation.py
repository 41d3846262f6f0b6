"""DICOM segmentation objects: masks whose frames are placed on the slices of their image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.imaging.errors import ImageError
from pipeline.volumes.dicom_segmentation import DicomSegmentation
from pipeline.volumes.open_volume import open_volume
from pipeline.volumes.slice_file import SliceReference
from tests.optional import import_or_skip
from tests.series import create_slice, write_ome_zarr, write_segmentation, write_series
from tests.stacks import draw_volume, write_nifti

pydicom = import_or_skip("pydicom")
import_or_skip("nibabel")


def draw_mask() -> np.ndarray:
    """Draw two segments, in some of the slices."""
    mask = draw_volume(0)[1].copy()
    mask[3:5, :5, :7] = 1
    return mask


def read_slices(volume: Any) -> list[np.ndarray]:
    return [volume.read_slice(index).values[..., 0] for index in range(volume.num_slices)]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write_series(tmp_path / "scan", draw_volume(0)[0])


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("kind", ["series", "nifti", "canonical nifti"])
def test_segments_have_the_slices_of_the_image(kind: str, axis: str, scan: Path, tmp_path: Path) -> None:
    mask = draw_mask()
    path = scan
    if kind != "series":
        import nibabel

        path = write_nifti(tmp_path / "scan.nii", draw_volume(0)[0])
        if kind == "canonical nifti":
            canonical = nibabel.as_closest_canonical(nibabel.load(path))
            path = tmp_path / "canonical.nii"
            canonical.to_filename(path)
    image = open_volume(path, axis)
    segments = open_volume(write_segmentation(tmp_path / "mask.dcm", mask), axis)
    assert not segments.has_own_grid
    placed = segments.place_on(image)
    expected = open_volume(write_nifti(tmp_path / "mask.nii", mask), axis)
    np.testing.assert_array_equal(read_slices(placed), read_slices(expected))
    assert placed.corners is not None and image.corners is not None
    np.testing.assert_allclose(placed.corners, image.corners, atol=1e-4)


@pytest.mark.parametrize("shape", [(11, 13), (10, 10), (15, 18), (5, 5), (16, 24), (1, 1)])
def test_frames_may_begin_inside_a_byte(shape: tuple[int, int], tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(1, 4, (6, *shape)).astype(np.uint8)
    path = write_segmentation(tmp_path / "mask.dcm", mask)
    expected = open_volume(write_nifti(tmp_path / "mask.nii", mask), "z")
    np.testing.assert_array_equal(read_slices(open_volume(path, "z")), read_slices(expected))


def test_planes_stored_in_the_other_direction(scan: Path, tmp_path: Path) -> None:
    """The image's normal points down, and that of the segmentation points up."""
    for path in scan.iterdir():
        header = pydicom.dcmread(path)
        pixels = header.pixel_array[::-1].copy()
        x, y, z = header.ImagePositionPatient
        header.ImagePositionPatient = [x, y + 0.7 * (header.Rows - 1), z]
        header.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
        header.PixelData = pixels.tobytes()
        header.save_as(path)
    image = open_volume(scan, "z")
    placed = open_volume(write_segmentation(tmp_path / "mask.dcm", draw_mask()), "z").place_on(image)
    expected = open_volume(write_nifti(tmp_path / "mask.nii", draw_mask()), "z")
    np.testing.assert_array_equal(read_slices(placed), read_slices(expected))


@pytest.mark.parametrize("text", ["a/scan.nii.gz[z=12]", "masks/a.dcm[z=3 of images/a]", "a of b[x=1 of c[0] of d]"])
def test_reference_is_parsed_as_it_is_formatted(text: str) -> None:
    reference = SliceReference.parse(text)
    assert reference is not None
    assert str(reference) == text


def test_frames_must_be_on_slices_of_the_image(tmp_path: Path) -> None:
    image = open_volume(write_series(tmp_path / "scan", draw_volume(0)[0][:4]), "z")
    segments = open_volume(write_segmentation(tmp_path / "mask.dcm", draw_mask()), "z")
    with pytest.raises(ImageError, match="outside the slices"):
        segments.place_on(image)


def test_image_must_have_positions(tmp_path: Path) -> None:
    image = open_volume(write_ome_zarr(tmp_path / "scan.zarr", draw_volume(0)[1]), "z")
    with pytest.raises(ImageError, match="DICOM series or a NIfTI file"):
        open_volume(write_segmentation(tmp_path / "mask.dcm", draw_mask()), "z").place_on(image)


def test_overlapping_segments_are_refused(scan: Path, tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "mask.dcm", draw_mask())
    header = pydicom.dcmread(path)
    for group in header.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 9]
    header.PixelData = b"\xff" * len(header.PixelData)
    header.save_as(path)
    with pytest.raises(ImageError, match="overlap"):
        read_slices(open_volume(path, "z").place_on(open_volume(scan, "z")))


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP", None])
def test_other_types_are_refused(kind: str | None, tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "mask.dcm", draw_mask(), SegmentationType=kind)
    with pytest.raises(ImageError, match="type BINARY"):
        open_volume(path, "z")


def test_truncated_pixels_are_refused(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "mask.dcm", np.repeat(draw_mask()[3:4], 9, axis=0), PixelData=b"\0\0")
    with pytest.raises(ImageError, match="complete"):
        read_slices(open_volume(path, "z"))


def test_frame_without_a_position_is_refused(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "mask.dcm", draw_mask())
    header = pydicom.dcmread(path)
    del header.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    header.save_as(path)
    with pytest.raises(ImageError, match=r"no ImagePositionPatient in .* are unknown; export it again"):
        open_volume(path, "z")


def test_frames_that_are_padded_to_whole_bytes_are_refused(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(1, 4, (6, 11, 13)).astype(np.uint8)
    frames = [mask[index] == segment for segment in (1, 2, 3) for index in range(len(mask))]
    padded = b"".join(np.packbits(frame, bitorder="little").tobytes() for frame in frames)
    path = write_segmentation(tmp_path / "mask.dcm", mask, PixelData=padded)
    with pytest.raises(ImageError, match=r"has 324 bytes of pixels .* have 322 bytes"):
        read_slices(open_volume(path, "z"))


def test_segmentation_may_be_the_only_file_of_a_folder(tmp_path: Path) -> None:
    path = write_segmentation(tmp_path / "mask/seg.dcm", draw_mask()).parent
    assert isinstance(open_volume(path, "z"), DicomSegmentation)


def test_one_segmentation_next_to_slices_is_refused(scan: Path) -> None:
    write_segmentation(scan / "mask.dcm", draw_mask(), SeriesInstanceUID="1.2.7")
    with pytest.raises(ImageError, match=r"2 series \(CT with 8 files, SEG with 1 file\)"):
        open_volume(scan, "z")


def test_single_slice_is_a_volume(tmp_path: Path) -> None:
    create_slice(draw_volume(0)[0][2], 2).save_as(tmp_path / "slice.dcm")
    volume = open_volume(tmp_path / "slice.dcm", "z")
    assert (volume.num_slices, volume.has_own_grid) == (1, True)
