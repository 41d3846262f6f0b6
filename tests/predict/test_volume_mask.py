"""Masks of volumes that `pipeline predict` writes can be read as masks for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipeline.imaging.mask_decoding import decode_mask
from pipeline.predict.volume_mask import write_volume_mask
from pipeline.volumes.open_volume import open_volume
from pipeline.volumes.slice_file import read_slice
from tests.optional import import_or_skip
from tests.series import write_ome_zarr, write_series
from tests.stacks import draw_volume, write_nifti

PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[:3] = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
STACKS: dict[str, dict[str, Any]] = {
    "scan.tif": {"metadata": None},
    "scan.ome.tif": {"ome": True, "metadata": {"axes": "ZYX"}},
    "imagej.tif": {"imagej": True, "metadata": {"axes": "ZYX"}},
}


def write_volume(name: str) -> Path:
    values = draw_volume(0)[0]
    if name == "scan":
        import_or_skip("pydicom")
        return write_series(Path("images/scan"), values)
    if name.endswith(".zarr"):
        import_or_skip("zarr")
        return write_ome_zarr(Path("images", name), values)
    if name.endswith(".gz"):
        import_or_skip("nibabel")
        return write_nifti(Path("images", name), values)
    Path("images").mkdir()
    tifffile.imwrite(Path("images", name), values, photometric="minisblack", **STACKS[name])
    return Path("images", name)


def read_mask(path: Path, colors: bool) -> np.ndarray:
    mask = open_volume(path, "z")
    return np.stack([decode_mask(read_slice(mask, index), colors).values for index in range(mask.num_slices)])


@pytest.mark.parametrize("name", [*STACKS, "scan.nii.gz", "scan", "scan.zarr"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_mask_of_a_volume_is_read_back(name: str, dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    volume = open_volume(write_volume(name), "z")
    mask = np.random.default_rng(0).integers(0, 3, (volume.num_slices, volume.height, volume.width)).astype(dtype)
    if dtype == np.uint16:
        mask *= 500
    path = Path("masks", name if name != "scan" else "scan.nii.gz")
    path.parent.mkdir()
    write_volume_mask(path, volume, iter(mask), PALETTE if dtype == np.uint8 else None)
    np.testing.assert_array_equal(read_mask(path, colors=False), mask)


@pytest.mark.parametrize("name", STACKS)
def test_mask_of_colors_is_read_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    volume = open_volume(write_volume(name), "z")
    mask = np.random.default_rng(0).integers(0, 3, (volume.num_slices, volume.height, volume.width))
    Path("masks").mkdir()
    write_volume_mask(Path("masks", name), volume, iter(PALETTE[mask]), None)
    expected = PALETTE[mask].astype(np.int32) @ (1 << 16, 1 << 8, 1)
    np.testing.assert_array_equal(read_mask(Path("masks", name), colors=True), expected)
