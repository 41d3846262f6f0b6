"""DICOM series: the same slices as a NIfTI file with the same geometry, compressed pixels, and hostile folders."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.imaging.pixel_size import PixelSize
from pipeline.volumes.dicom import DicomVolume
from pipeline.volumes.find_volumes import is_volume_folder
from pipeline.volumes.nifti import NiftiVolume, write_nifti_mask
from tests.optional import import_or_skip
from tests.series import PATIENT, create_slice, write_series
from tests.stacks import draw_volume

pydicom = import_or_skip("pydicom")
nibabel = import_or_skip("nibabel")

SHAPE = (5, 6, 7)  # slices, rows and columns
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Every order and direction of the columns, rows and slices along the axes of the patient.
DIRECTIONS = [
    np.array([sign * np.eye(3)[axis] for sign, axis in zip(signs, order, strict=True)])
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def create_values() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, SHAPE)


def write_turned(folder: Path, values: np.ndarray, directions: np.ndarray, **elements: Any) -> np.ndarray:
    """Write a series with pixels of 0.6 × 0.5 mm (rows × columns) and slices 3 mm apart; return its RAS+ affine."""
    across, down, through = directions
    folder.mkdir()
    for index, name in enumerate(np.random.default_rng(1).permutation(len(values))):
        elements |= {
            "ImageOrientationPatient": [*across, *down],
            "ImagePositionPatient": [*(np.array([9.0, -4.0, 2.0]) + 3 * index * through)],
            "PixelSpacing": [0.6, 0.5],
        }
        create_slice(values[index], index, **elements).save_as(folder / f"{name}.dcm")
    affine = np.eye(4)
    affine[:3, :3] = np.stack([0.5 * across, 0.6 * down, 3 * through], axis=1)
    affine[:3, 3] = 9, -4, 2
    return LPS_TO_RAS @ affine


def read_slices(volume: Any) -> list[np.ndarray]:
    return [volume.read_slice(index).values[..., 0] for index in range(volume.num_slices)]


@given(directions=st.sampled_from(DIRECTIONS), axis=st.sampled_from("xyz"))
@settings(max_examples=30, deadline=None)
def test_series_has_the_slices_and_the_geometry_of_a_nifti_file(
    tmp_path_factory: pytest.TempPathFactory, directions: np.ndarray, axis: str
) -> None:
    folder = tmp_path_factory.mktemp("dicom")
    values = create_values()
    affine = write_turned(folder / "scan", values, directions)
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0).astype(np.int16), affine)
    image.to_filename(folder / "scan.nii")
    series, nifti = DicomVolume(folder / "scan", axis), NiftiVolume(folder / "scan.nii", axis)
    np.testing.assert_array_equal(read_slices(series), read_slices(nifti))
    assert series.corners is not None and nifti.corners is not None
    np.testing.assert_allclose(series.corners, nifti.corners, atol=1e-4)
    assert series.pixel is not None and nifti.pixel is not None
    assert series.pixel.size == PixelSize(nifti.pixel.size.height, nifti.pixel.size.width, "mm")


@given(directions=st.sampled_from(DIRECTIONS), axis=st.sampled_from("xyz"))
@settings(max_examples=10, deadline=None)
def test_mask_of_a_series_has_its_geometry_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, directions: np.ndarray, axis: str
) -> None:
    folder = tmp_path_factory.mktemp("dicom")
    affine = write_turned(folder / "scan", create_values(), directions)
    source = DicomVolume(folder / "scan", axis)
    shape = (source.num_slices, source.height, source.width)
    slices = np.random.default_rng(1).integers(0, 255, shape, np.uint8)
    write_nifti_mask(folder / "mask.nii", source, source.restore_order(slices))
    np.testing.assert_array_equal(read_slices(NiftiVolume(folder / "mask.nii", axis)), slices)
    mask = nibabel.load(folder / "mask.nii")
    if np.linalg.det(directions) > 0:
        np.testing.assert_allclose(mask.affine, affine, atol=1e-4)
    assert mask.header.get_xyzt_units()[0] == "mm"
    assert PATIENT.encode() not in (folder / "mask.nii").read_bytes()


def edit(folder: Path, change: Callable[[Any], object], *, index: int = 3) -> None:
    """Change the header of the slice at a position."""
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        if header.ImagePositionPatient[2] == 3 * index:
            change(header)
            header.save_as(path)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A CT series of eight slices."""
    return write_series(tmp_path / "scan", draw_volume(0)[0])


def test_each_slice_has_its_own_scale(scan: Path) -> None:
    edit(scan, lambda header: header.__setattr__("RescaleSlope", "0.5"))
    volume = DicomVolume(scan, "z")
    assert volume.dtype == np.float64
    values = draw_volume(0)[0].astype(float)
    np.testing.assert_array_equal(read_slices(volume)[2], values[2])
    np.testing.assert_array_equal(read_slices(volume)[3], (values[3] + 1024) / 2 - 1024)


def test_unscaled_values_keep_their_type(tmp_path: Path) -> None:
    scan = write_series(tmp_path / "scan", draw_volume(0)[1], RescaleIntercept=0)
    volume = DicomVolume(scan, "z")
    assert volume.dtype == np.uint16
    np.testing.assert_array_equal(np.stack(read_slices(volume)) - 1024, draw_volume(0)[1])


@pytest.mark.parametrize("ending", ["", ".ima", ".DCM", ".1.2.840.113619.12"])
def test_files_are_recognized_by_their_content_or_ending(ending: str, tmp_path: Path) -> None:
    scan = write_series(tmp_path / "scan", draw_volume(0)[0], ending)
    (scan / "README").write_text("not a DICOM file")
    (scan / "notes.txt").write_bytes(bytes(128) + b"DICM")
    shutil.copy(next(path for path in scan.iterdir() if "IM" in path.name), scan / "DICOMDIR")
    assert is_volume_folder(scan)
    assert DicomVolume(scan, "z").num_slices == 8


def test_tilted_gantry_displaces_all_slices_alike(scan: Path) -> None:
    for path in scan.iterdir():
        header = pydicom.dcmread(path)
        header.ImagePositionPatient = [0, 0.4 * header.ImagePositionPatient[2], header.ImagePositionPatient[2]]
        header.save_as(path)
    assert DicomVolume(scan, "z").affine[:3, 2] == pytest.approx([0, -1.2, 3])


def test_rounded_positions_are_accepted(tmp_path: Path) -> None:
    scan = write_series(tmp_path / "scan", draw_volume(0)[0])
    edit(scan, lambda header: header.__setattr__("ImagePositionPatient", [0, 0, 9.04]))
    assert DicomVolume(scan, "z").num_slices == 8


def test_compressed_pixels_are_decoded(scan: Path) -> None:
    expected = read_slices(DicomVolume(scan, "z"))
    for path in scan.iterdir():
        header = pydicom.dcmread(path)
        header.compress(pydicom.uid.RLELossless)
        header.save_as(path)
    np.testing.assert_array_equal(read_slices(DicomVolume(scan, "z")), expected)


def test_missing_decoder_is_reported_with_the_packages(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    def set_syntax(header: Any) -> None:
        header.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
        header.PixelData = pydicom.encaps.encapsulate([b"\0" * 100])
        header["PixelData"].is_undefined_length = True

    edit(scan, set_syntax)
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    with pytest.raises(ImageError, match=r"compressed with JPEG-LS Lossless.*pip install pylibjpeg"):
        DicomVolume(scan, "z")


def create_multi_frame(values: np.ndarray) -> Any:
    """Create an enhanced CT with the geometry of `create_slice`, whose frames are in another order."""
    ds = create_slice(values[0], 0)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(ds, name)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    ds.NumberOfFrames = len(values)
    group = pydicom.Dataset

    def create_item(**elements: Any) -> Any:
        item = group()
        for name, value in elements.items():
            setattr(item, name, value)
        return item

    ds.SharedFunctionalGroupsSequence = [
        create_item(
            PixelMeasuresSequence=[create_item(PixelSpacing=[0.7, 0.7], SliceThickness=3)],
            PlaneOrientationSequence=[create_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelValueTransformationSequence=[create_item(RescaleSlope=1, RescaleIntercept=-1024)],
        )
    ]
    order = np.random.default_rng(0).permutation(len(values))
    ds.PerFrameFunctionalGroupsSequence = [
        create_item(PlanePositionSequence=[create_item(ImagePositionPatient=[0, 0, 3.0 * index])]) for index in order
    ]
    ds.PixelData = (values[order].astype(np.int32) + 1024).astype(np.uint16).tobytes()
    return ds


@pytest.mark.parametrize("axis", ["x", "z"])
def test_multi_frame_file_is_a_volume(axis: str, scan: Path, tmp_path: Path) -> None:
    create_multi_frame(draw_volume(0)[0]).save_as(tmp_path / "scan.dcm")
    volume, series = DicomVolume(tmp_path / "scan.dcm", axis), DicomVolume(scan, axis)
    np.testing.assert_array_equal(read_slices(volume), read_slices(series))
    np.testing.assert_allclose(volume.affine, series.affine)


def set_all(folder: Path, **elements: Any) -> None:
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        for name, value in elements.items():
            setattr(header, name, value)
        header.save_as(path)


def shrink(header: Any) -> None:
    header.Rows = 30
    header.PixelData = bytes(30 * 40 * 2)


def truncate(folder: Path) -> None:
    path = sorted(folder.iterdir())[2]
    path.write_bytes(path.read_bytes()[:900])


def add_object(folder: Path, **elements: Any) -> None:
    """Add an object of another kind to a series."""
    header = create_slice(draw_volume(0)[0][0], 20, **elements)
    for name in [name for name, value in elements.items() if value is None]:
        delattr(header, name)
    header.save_as(folder / "object.dcm")


def remove_slice(folder: Path, index: int) -> None:
    for path in folder.iterdir():
        if pydicom.dcmread(path).ImagePositionPatient[2] == 3 * index:
            path.unlink()


def nest(folder: Path) -> None:
    """Insert thousands of nested sequences of undefined length in front of the pixels."""
    sequence = b"\x00\x52\x29\x92SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path = min(folder.iterdir())
    path.write_bytes(path.read_bytes().replace(b"\xe0\x7f\x10\x00OW", sequence * 5000 + b"\xe0\x7f\x10\x00OW"))


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no files": (lambda folder: [path.unlink() for path in folder.iterdir()], "contains no DICOM images"),
    "text": (lambda folder: (folder / "notes.dcm").write_text("patient,age\n" * 99), "notes.dcm, which is not a DICOM"),
    "only the magic": (lambda folder: (folder / "a.dcm").write_bytes(bytes(128) + b"DICM"), "pixels|transfer|complete"),
    "truncated": (truncate, "declares 2,560 bytes of pixels, but has 900|not a complete"),
    "terabytes": (
        lambda folder: edit(folder, lambda header: header.__setattr__("NumberOfFrames", 10**9)),
        "2,560,000,000,000 bytes|next to other files",
    ),
    "wide": (lambda folder: set_all(folder, Rows=65535, Columns=65535), "declares 8,589,672,450 bytes of pixels"),
    "no pixels": (lambda folder: add_object(folder, Rows=None, Modality="SR"), "SR object without pixels"),
    "segmentation": (
        lambda folder: set_all(folder, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"), "next to other files|SEG"
    ),
    "another series": (
        lambda folder: add_object(folder, SeriesInstanceUID="1.2.9", Modality="PT"),
        "2 series .CT with 8 files, PT with 1",
    ),
    "no position": (
        lambda folder: edit(folder, lambda header: header.__delattr__("ImagePositionPatient")),
        "no ImagePositionPatient",
    ),
    "no orientation": (
        lambda folder: edit(folder, lambda header: header.__delattr__("ImageOrientationPatient")),
        "no ImageOrientationPatient",
    ),
    "no spacing": (lambda folder: set_all(folder, PixelSpacing=None), "no PixelSpacing"),
    "undefined position": (
        lambda folder: edit(folder, lambda header: header.__setattr__("ImagePositionPatient", ["0", "0", "1e999"])),
        "impossible|not a complete",
    ),
    "skewed orientation": (lambda folder: set_all(folder, ImageOrientationPatient=[1, 0, 0, 1, 1, 0]), "impossible"),
    "other orientation": (
        lambda folder: edit(folder, lambda header: header.__setattr__("ImageOrientationPatient", [0, 1, 0, 0, 0, 1])),
        "different orientations",
    ),
    "missing slice": (lambda folder: remove_slice(folder, 4), "6 mm apart, so 1 of the slices between them is missing"),
    "duplicated slice": (
        lambda folder: shutil.copy(next(iter(sorted(folder.iterdir()))), folder / "copy.dcm"), "same position"
    ),
    "varying spacing": (
        lambda folder: edit(folder, lambda header: header.__setattr__("ImagePositionPatient", [0, 0, 10.2])),
        "1.8 to 4.2 mm apart",
    ),
    "displaced slice": (
        lambda folder: edit(folder, lambda header: header.__setattr__("ImagePositionPatient", [5, 0, 9])), "displaced"
    ),
    "other size": (lambda folder: edit(folder, shrink), "40 × 30 px, uint16"),
    "palette": (lambda folder: set_all(folder, PhotometricInterpretation="PALETTE COLOR"), "PALETTE COLOR"),
    "deflated": (
        lambda folder: edit(
            folder, lambda header: header.file_meta.__setattr__("TransferSyntaxUID", "1.2.840.10008.1.2.1.99")
        ),
        "Deflated|not a complete",
    ),
    "video": (
        lambda folder: [
            path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4\0"))
            for path in folder.iterdir()
        ],
        "unsupported transfer syntax|not a complete",
    ),
    "pipe": (lambda folder: os.mkfifo(folder / "pipe.dcm"), "pipe.dcm, which is not a file"),
    "loop of links": (lambda folder: (folder / "loop.dcm").symlink_to("loop.dcm"), "loop.dcm, which is not a file"),
    "multi-frame next to slices": (
        lambda folder: create_multi_frame(draw_volume(0)[0]).save_as(folder / "all.dcm"),
        "all.dcm, which has several frames",
    ),
    "nested sequences": (nest, "not a complete DICOM file"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_series_is_refused_with_the_reason(case: str, scan: Path) -> None:
    change, reason = HOSTILE[case]
    change(scan)
    with pytest.raises(ImageError, match=reason) as error:
        read_slices(DicomVolume(scan, "z"))
    assert PATIENT not in str(error.value)


def test_dicomdir_between_slices_is_ignored(scan: Path) -> None:
    add = create_slice(draw_volume(0)[0][0], 20, SOPClassUID="1.2.840.10008.1.3.10", SeriesInstanceUID="9")
    add.save_as(scan / "index.dcm")
    assert DicomVolume(scan, "z").num_slices == 8


def test_axis_of_time_is_refused(scan: Path) -> None:
    with pytest.raises(ImageError, match="no axis t"):
        DicomVolume(scan, "t")


def test_missing_package_is_reported_with_the_extra(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(PipelineError, match=r"pydicom.*unet-learning-report\[volumes\]"):
        DicomVolume(scan, "z")
