"""The volumes of `tests/stacks.py` as DICOM series and OME-Zarr images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.stacks import NIFTI_DATA, draw_volume, write_nifti

PATIENT = "SECRET^PATIENT"  # a name that must not get into results
RESCALED = 1024  # rescale intercept, with the sign of the stored values
SERIES_DATA = {**NIFTI_DATA, "images": "images/*", "masks": "masks/*"}
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"  # SOP class
_CT, _CT_MODALITY = "1.2.840.10008.5.1.4.1.1.2", "CT"


def create_slice(values: np.ndarray, index: int, **elements: Any) -> Any:
    """Create an axial CT slice of Hounsfield units with voxels of 0.7 x 0.7 x 3 mm.

    The positions are those of `write_nifti`: DICOM's x and y point to the patient's left and back.
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    uid = generate_uid(entropy_srcs=[str(index), values.tobytes().hex()[:64]])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = _CT, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, preamble=bytes(128), file_meta=meta)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = _CT, uid, _CT_MODALITY
    ds.PatientName, ds.PatientID, ds.InstitutionName = PATIENT, PATIENT, PATIENT
    ds.SeriesDescription, ds.StudyInstanceUID, ds.SeriesInstanceUID = PATIENT, "1.2.3", "1.2.3.4"
    ds.InstanceNumber = 1  # wrong for all but one slice
    ds.Rows, ds.Columns, ds.SamplesPerPixel = *values.shape, 1
    ds.PhotometricInterpretation, ds.BitsAllocated, ds.BitsStored, ds.HighBit = "MONOCHROME2", 16, 16, 15
    ds.PixelRepresentation, ds.RescaleSlope, ds.RescaleIntercept = 0, 1, -RESCALED
    ds.PixelSpacing, ds.SliceThickness = [0.7, 0.7], 5
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 3.0 * index], [1, 0, 0, 0, 1, 0]
    ds.PixelData = (values.astype(np.int32) + RESCALED).astype(np.uint16).tobytes()
    for name, value in elements.items():
        setattr(ds, name, value)
    return ds


def write_series(folder: Path, values: np.ndarray, ending: str = ".dcm", **elements: Any) -> Path:
    """Write slices x height x width as a series whose file names are in another order."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(len(values)).permutation(len(values))
    for index, pixels in enumerate(values):
        create_slice(pixels, index, **elements).save_as(folder / f"IM{names[index]:03}{ending}")
    return folder


def write_dicoms(folder: Path, count: int = 6) -> Path:
    """Write CT series as images/case0/ and so on, and their masks as masks/case0.nii.gz."""
    for number in range(count):
        values, mask = draw_volume(number)
        write_series(folder / f"images/case{number}", values)
        write_nifti(folder / f"masks/case{number}.nii.gz", mask)
    return folder


def write_ome_zarr(
    path: Path, values: np.ndarray, version: str = "0.5", axes: str = "zyx", unit: str = "micrometer", **options: Any
) -> Path:
    """Write an array as an OME-Zarr image with voxels of 3 x 0.5 x 0.5 µm."""
    import zarr

    scales = {"z": 3.0, "y": 0.5, "x": 0.5}
    kinds = {"t": {"type": "time"}, "c": {"type": "channel"}}
    multiscale = {
        "axes": [{"name": name, **kinds.get(name, {"type": "space", "unit": unit})} for name in axes],
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [{"type": "scale", "scale": [scales.get(name, 1.0) for name in axes]}],
            }
        ],
    }
    is_v3 = version == "0.5"
    content: dict[str, Any] = {"multiscales": [multiscale if is_v3 else {"version": version, **multiscale}]}
    attributes = {"ome": {"version": version, **content}} if is_v3 else content
    group = zarr.open_group(path, mode="a", zarr_format=3 if is_v3 else 2)
    group.attrs.update(attributes)
    options = {"chunks": tuple(max(1, side // 2) for side in values.shape), **options}
    array = group.create_array("0", shape=values.shape, dtype=values.dtype, overwrite=True, **options)
    array[:] = values
    return path


def write_ome_zarrs(folder: Path, version: str = "0.5", count: int = 6) -> Path:
    """Write images of 8 bits with their masks inside, as images/case0.zarr and so on."""
    for number in range(count):
        values, mask = draw_volume(number)
        gray = ((values.clip(-200, 200) + 200) * 5 // 8).astype(np.uint8)
        path = write_ome_zarr(folder / f"images/case{number}.zarr", gray, version)
        write_ome_zarr(path / "labels/tumor", mask, version)
    return folder


def write_segmentation(path: Path, mask: np.ndarray, **elements: Any) -> Path:
    """Write a mask as a segmentation object of `create_slice`'s geometry, without frames of empty slices."""
    from pydicom import Dataset
    from pydicom.pixels import pack_bits

    def create_item(**values: Any) -> Dataset:
        item = Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        return item

    frames = [
        (segment, index, mask[index] == segment)
        for segment in np.unique(mask[mask > 0]).tolist()
        for index in range(len(mask))
        if (mask[index] == segment).any()
    ]
    ds = create_slice(mask[0], 0, Modality="SEG", SOPClassUID=SEGMENTATION, SegmentationType="BINARY")
    ds.file_meta.MediaStorageSOPClassUID = SEGMENTATION
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(ds, name)
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit, ds.NumberOfFrames = 0, len(frames)
    ds.SharedFunctionalGroupsSequence = [
        create_item(
            PixelMeasuresSequence=[create_item(PixelSpacing=[0.7, 0.7], SliceThickness=5)],
            PlaneOrientationSequence=[create_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        create_item(
            PlanePositionSequence=[create_item(ImagePositionPatient=[0, 0, 3.0 * index])],
            SegmentIdentificationSequence=[create_item(ReferencedSegmentNumber=segment)],
        )
        for segment, index, _ in frames
    ]
    ds.PixelData = pack_bits(np.stack([pixels for _, _, pixels in frames]).ravel())
    for name, value in elements.items():
        setattr(ds, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path)
    return path
