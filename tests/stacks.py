"""Small volumes of bright balls, as NIfTI files or TIFF stacks, and a `data` section for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

SHAPE = (8, 32, 40)  # slices, height and width
CLASSES = [
    {"name": "tissue", "mask_value": 0, "color": "#0072b2", "foreground": False},
    {"name": "tumor", "mask_value": 2, "color": "#e69f00", "foreground": True},
]
DATA: dict[str, Any] = {
    "source": "image_mask_folder",
    "path": "volumes",
    "slices": {"axis": "z"},
    "image_size": 32,
    "channels": 1,
    "resize": "stretch",
    "classes": CLASSES,
    "ignore_value": None,
    "splits": {"validation": 0.2, "test": 0.2, "stratify": True},
    "showcase_ids": None,
    "seed": 0,
    "max_train_images": None,
}
NIFTI_DATA = {**DATA, "slices": {"axis": "z", "window": [-200, 200]}}


def draw_volume(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a volume of Hounsfield units and its mask; the first slice is blank."""
    random = np.random.default_rng(number)
    slices, rows, columns = np.ogrid[tuple(slice(side) for side in SHAPE)]
    center = random.integers((3, 8, 8), (6, 24, 32))
    ball = (2 * (slices - center[0])) ** 2 + (rows - center[1]) ** 2 + (columns - center[2]) ** 2 < 49
    values = random.normal(-100, 30, SHAPE) + 200 * ball
    values[0] = -1024
    return values.astype(np.int16), (2 * ball).astype(np.uint8)


def write_tiffs(folder: Path, count: int = 6, **options: Any) -> Path:
    """Write ImageJ stacks of 8 bits with pixels of 0.5 µm, and their masks, as images/case0.tif and so on."""
    stated = {"imagej": True, "resolution": (2.0, 2.0), "metadata": {"axes": "ZYX", "unit": "um", "spacing": 3.0}}
    for number in range(count):
        values, mask = draw_volume(number)
        for kind, pixels in (("images", (values.clip(-200, 200) + 200) * 5 // 8), ("masks", mask)):
            path = folder / kind / f"case{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, pixels.astype(np.uint8), **{**stated, "photometric": "minisblack", **options})
    return folder


def write_nifti(path: Path, values: np.ndarray) -> Path:
    """Write slices x height x width as a NIfTI file with voxels of 0.7 x 0.7 x 3 mm, stored from right to left."""
    import nibabel

    affine = np.diag([-0.7, -0.7, 3.0, 1.0])
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return path


def write_niftis(folder: Path, count: int = 6) -> Path:
    """Write volumes of Hounsfield units and their masks, as images/case0.nii.gz and so on."""
    for number in range(count):
        for kind, values in zip(("images", "masks"), draw_volume(number), strict=True):
            write_nifti(folder / kind / f"case{number}.nii.gz", values)
    return folder
