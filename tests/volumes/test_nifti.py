"""Slices of NIfTI volumes: the same anatomy in every storage order, the geometry of masks, and hostile files."""

from __future__ import annotations

import gzip
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.imaging.decode import read_image
from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_decoding import decode_mask
from pipeline.imaging.metadata import ImageMetadata
from pipeline.imaging.pixel_size import PixelSize
from pipeline.volumes.nifti import NiftiVolume, write_nifti_mask
from pipeline.volumes.slice_file import IntensityWindow, read_slice
from tests.optional import import_or_skip

nibabel = import_or_skip("nibabel")

SHAPE = (5, 6, 7)  # along x, y and z
OFFSET = 352  # bytes before the voxels
# Every order and direction of the stored axes: R or L, A or P, S or I.
ORIENTATIONS = [codes for order in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*order)]


def create_canonical() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, SHAPE, np.int16)


def save(path: Path, values: np.ndarray, codes: tuple[str, ...] = ("R", "A", "S"), **fields: Any) -> Path:
    """Save canonical values with voxels of 0.5 × 0.6 × 3 mm, in the order of `codes`."""
    image = nibabel.Nifti1Image(values, np.array([[0.5, 0, 0, -9], [0, 0.6, 0, 4], [0, 0, 3, 2], [0, 0, 0, 1.0]]))
    image.header.set_xyzt_units("mm")
    change = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(codes)
    )
    turned = image.as_reoriented(change)
    for name, value in fields.items():
        turned.header[name] = value
    turned.to_filename(path)
    return path


def read_slices(path: Path, axis: str) -> list[np.ndarray]:
    volume = NiftiVolume(path, axis)
    return [volume.read_slice(index).values[..., 0] for index in range(volume.num_slices)]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@given(codes=st.sampled_from(ORIENTATIONS))
@settings(max_examples=15, deadline=None)
def test_slices_do_not_depend_on_the_stored_order(
    tmp_path_factory: pytest.TempPathFactory, ending: str, codes: tuple[str, ...]
) -> None:
    values = create_canonical()
    path = save(tmp_path_factory.mktemp("nifti") / f"scan{ending}", values, codes)
    # Radiological view: the top is superior or anterior, the left is the patient's right or anterior.
    expected = {
        "z": [values[::-1, ::-1, index].T for index in range(7)],
        "y": [values[::-1, index, ::-1].T for index in range(6)],
        "x": [values[index, ::-1, ::-1].T for index in range(5)],
    }
    for axis, slices in expected.items():
        np.testing.assert_array_equal(read_slices(path, axis), slices)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@given(codes=st.sampled_from(ORIENTATIONS), axis=st.sampled_from("xyz"))
@settings(max_examples=15, deadline=None)
def test_mask_has_the_geometry_and_the_slices_of_its_volume(
    tmp_path_factory: pytest.TempPathFactory, ending: str, codes: tuple[str, ...], axis: str
) -> None:
    folder = tmp_path_factory.mktemp("nifti")
    source = NiftiVolume(save(folder / f"scan{ending}", create_canonical(), codes, cal_max=300), axis)
    shape = (source.num_slices, source.height, source.width)
    slices = np.random.default_rng(1).integers(0, 255, shape, np.uint8)
    for _ in range(2):
        write_nifti_mask(folder / f"mask{ending}", source, source.restore_order(slices))
        np.testing.assert_array_equal(read_slices(folder / f"mask{ending}", axis), slices)
    scan, mask = (nibabel.load(folder / f"{name}{ending}") for name in ("scan", "mask"))
    np.testing.assert_array_equal(mask.affine, scan.affine)
    assert (mask.shape, mask.header.get_zooms()) == (scan.shape, scan.header.get_zooms())
    assert (mask.header["sform_code"], mask.header["qform_code"]) == (
        scan.header["sform_code"], scan.header["qform_code"]
    )  # fmt: skip
    assert mask.get_data_dtype() == np.uint8
    assert mask.header["cal_max"] == 0


@pytest.mark.parametrize("ending", [".NII", ".NII.GZ", ".nii.Gz"])
def test_case_of_the_ending_does_not_matter(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"scan{ending.lower()}", create_canonical()).rename(tmp_path / f"scan{ending}")
    source = NiftiVolume(path, "z")
    slices = read_slices(path, "z")
    np.testing.assert_array_equal(slices[6], create_canonical()[::-1, ::-1, 6].T)
    write_nifti_mask(tmp_path / f"mask{ending}", source, source.restore_order(np.array(slices) > 0).astype(np.uint8))
    np.testing.assert_array_equal(read_slices(tmp_path / f"mask{ending}", "z"), np.array(slices) > 0)


def test_slice_becomes_an_image_with_its_pixel_size(tmp_path: Path) -> None:
    volume = NiftiVolume(save(tmp_path / "scan.nii.gz", create_canonical()), "y")
    content = read_slice(volume, 2, IntensityWindow(-500, 500))
    image = read_image(content, 1)
    expected = np.rint((create_canonical()[::-1, 2, ::-1].T.clip(-500, 500) + 500) * 0.255)
    np.testing.assert_array_equal(image[..., 0], expected)
    assert ImageMetadata.read(content).pixel == PixelSize(height=3, width=0.5, unit="mm")


def test_window_of_16_bits_keeps_more_gray_levels(tmp_path: Path) -> None:
    volume = NiftiVolume(save(tmp_path / "scan.nii", create_canonical()), "z")
    image = read_image(read_slice(volume, 0, IntensityWindow(-1000, 1000, bits=16)), 1)
    assert image.dtype == np.uint16
    assert len(np.unique(image)) == len(np.unique(create_canonical()[..., 0]))


def test_scaled_intensities_are_rescaled(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.float64).reshape(3, 4, 5) / 4, np.eye(4))
    image.set_data_dtype(np.int16)  # nibabel chooses a slope and an intercept
    image.to_filename(tmp_path / "scan.nii.gz")
    np.testing.assert_allclose(read_slices(tmp_path / "scan.nii.gz", "z")[2], image.dataobj[::-1, ::-1, 2].T, atol=1e-3)


def save_scaled(path: Path, labels: np.ndarray, dtype: Any) -> Path:
    """Save floating-point labels with the header of an integer image, for which nibabel chooses a slope."""
    image = nibabel.Nifti1Image(labels, np.eye(4))
    image.set_data_dtype(dtype)
    image.to_filename(path)
    return path


@pytest.mark.parametrize("source", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("dtype", "highest"),
    [(np.uint8, 2), (np.uint8, 104), (np.int8, 40), (np.int16, 2), (np.uint16, 255), (np.int16, 40_000),
     (np.int32, 40), (np.int32, 65_535), (np.uint32, 1000), (np.int64, 3)],
)  # fmt: skip
def test_labels_that_nibabel_scaled_are_whole(dtype: Any, highest: int, source: Any, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, highest, SHAPE, endpoint=True)
    labels[0, 0, :5] = [0, highest, 1, 2, highest // 2]
    volume = NiftiVolume(save_scaled(tmp_path / "mask.nii", labels.astype(source), dtype), "z")
    for index in range(volume.num_slices):
        mask = decode_mask(read_slice(volume, index), colors=False)
        np.testing.assert_array_equal(mask.values, labels[::-1, ::-1, index].T)


@pytest.mark.parametrize(
    ("labels", "dtype"), [([0, 0.5, 1], np.uint8), ([0, 0.01, 1], np.int16), ([0, 1, 1000], np.uint8)]
)
def test_scaled_values_that_are_no_labels_are_refused(labels: list[float], dtype: Any, tmp_path: Path) -> None:
    values = np.resize(labels, SHAPE).astype(np.float64)
    volume = NiftiVolume(save_scaled(tmp_path / "mask.nii", values, dtype), "z")
    with pytest.raises(ImageError, match="fractional pixel values"):
        decode_mask(read_slice(volume, 0), colors=False)


def test_fourth_axis_contains_the_channels(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (5, 6, 7, 2), np.uint8)
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "scan.nii")
    volume = NiftiVolume(tmp_path / "scan.nii", "z")
    assert volume.channels == 2
    np.testing.assert_array_equal(read_image(read_slice(volume, 3), 2), values[::-1, ::-1, 3].swapaxes(0, 1))


def make_header(shape: tuple[int, ...], dtype: Any = np.int16, **fields: Any) -> bytes:
    """Create a header that declares a shape, and set fields to anything."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["vox_offset"], header["magic"] = OFFSET, b"n+1"
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock) + bytes(4)


def make_volume(**fields: Any) -> bytes:
    return make_header((8, 8, 8), **fields) + np.random.default_rng(0).bytes(1024)


HOSTILE = {
    "nothing": (b"", "is not a NIfTI volume"),
    "text": (b"patient,age\n" * 99, "is not a NIfTI volume"),
    "a terabyte": (make_header((15_000, 8_000, 5_000)), "header declares 1,200,000,000,000 bytes"),
    "very large slices": (make_header((30_000, 30_000, 1)), "has slices of"),
    "no voxels": (make_header((8, 8, 8), dim=[3, 8, -5, 8, 1, 1, 1, 1]) + bytes(9999), "has no voxels"),
    "many axes": (make_header((2, 2, 2, 2, 2)) + bytes(9999), "has 5 axes"),
    "many slices": (make_header((2, 2, 20_000)) + bytes(200_000), "has 20,000 slices"),
    "unknown type": (make_volume(datatype=9999), "is not a complete volume"),
    "complex values": (make_header((4, 4, 4), np.complex64) + bytes(9999), "complex64"),
    "undefined offset": (make_volume(vox_offset=np.nan), "is not a complete volume"),
    "huge offset": (make_volume(vox_offset=1e30), "is not a complete volume"),
    "singular affine": (make_volume(sform_code=1), "affine"),
    "half of it": (make_volume()[:800], "is not a complete volume"),
    "undefined values": (make_header((4, 4, 4), np.float32) + b"\xff" * 256, "16 NaN"),
}  # fmt: skip


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file_is_refused_with_the_reason(case: str, ending: str, tmp_path: Path) -> None:
    content, reason = HOSTILE[case]
    path = tmp_path / f"scan{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    with pytest.raises(ImageError, match=reason if case != "half of it" else "is not a complete volume"):
        read_slice(NiftiVolume(path, "z"), 0, IntensityWindow(0, 1))


@pytest.mark.parametrize("damage", ["not compressed", "cut off", "changed"])
def test_broken_compression_is_refused(damage: str, tmp_path: Path) -> None:
    content = gzip.compress(make_volume())
    broken = {
        "not compressed": make_volume(),
        "cut off": content[: len(content) // 2],
        "changed": content[:600] + struct.pack("<9Q", *[2**64 - 1] * 9) + content[672:],
    }
    (tmp_path / "scan.nii.gz").write_bytes(broken[damage])
    with pytest.raises(ImageError, match=r"is not a complete volume|is not compressed"):
        NiftiVolume(tmp_path / "scan.nii.gz", "z").read_slice(0)


@pytest.mark.parametrize("is_one_stream", [True, False])
def test_gzip_bomb_is_refused(is_one_stream: bool, tmp_path: Path) -> None:
    bomb = bytes(20_000_000)
    parts = [make_volume() + bomb] if is_one_stream else [make_volume(), bomb]
    (tmp_path / "scan.nii.gz").write_bytes(b"".join(map(gzip.compress, parts)))
    with pytest.raises(ImageError, match="more than the voxels"):
        NiftiVolume(tmp_path / "scan.nii.gz", "z").read_slice(7)


def test_axis_of_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no axis t"):
        NiftiVolume(save(tmp_path / "scan.nii", create_canonical()), "t")
