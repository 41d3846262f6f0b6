"""`pipeline init` recognizes volumes, and what it proposes can be checked and prepared."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from ruamel.yaml import YAML

from pipeline.cli import main
from tests.optional import import_or_skip
from tests.series import PATIENT, write_dicoms, write_ome_zarr, write_ome_zarrs, write_segmentation
from tests.stacks import draw_volume, write_nifti, write_niftis, write_tiffs

pytestmark = pytest.mark.usefixtures("skip_grid_timing")


@pytest.fixture(autouse=True)
def in_project(project: Path) -> Path:
    return project


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def init(folder: str = "volumes", *, is_prepared: bool = False) -> tuple[str, dict[str, Any]]:
    """Run `init`, and perhaps the check and `prepare`; return the output of `init` and the section that it wrote."""
    output = run("init", folder)
    if is_prepared:
        run("data", "check", folder)
        run("prepare")
    return output, YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["data"]


def test_stacks_whose_masks_are_stacks_are_volumes() -> None:
    write_tiffs(Path("volumes"))
    output, data = init()
    assert "6 volumes that are cut along z, 48 images of 40 × 32 px" in output
    assert data["slices"] == {"axis": "z", "step": 1, "window": None}
    assert (data["pixel_size"], data["pixel_unit"]) == (0.5, "µm")
    assert [one["mask_value"] for one in data["classes"]] == [0, 2]


@pytest.mark.parametrize(("axes", "axis"), [("TYX", "t"), ("ZYX", "z")])
def test_axis_is_that_of_the_metadata(axes: str, axis: str) -> None:
    write_tiffs(Path("volumes"), imagej=False, ome=True, resolution=None, metadata={"axes": axes})
    output, data = init()
    assert data["slices"]["axis"] == axis
    assert "are taken for slices" not in output


def test_plain_stacks_are_taken_for_volumes_with_a_notice() -> None:
    write_tiffs(Path("volumes"), imagej=False, resolution=None, metadata=None)
    output, data = init(is_prepared=True)
    assert data["slices"]["axis"] == "z"
    assert "The pages of images/case0.tif are taken for slices along z" in output


def test_stacks_with_masks_of_one_page_are_channels() -> None:
    write_tiffs(Path("volumes"), imagej=False, resolution=None, metadata=None)
    for number in range(6):
        mask = draw_volume(number)[1].max(axis=0)
        tifffile.imwrite(f"volumes/masks/case{number}.tif", mask, photometric="minisblack")
    _, data = init()
    assert (data["channels"], data.get("slices")) == (8, None)


def test_window_is_proposed_for_signed_intensities() -> None:
    write_tiffs(Path("volumes"))
    for number in range(6):
        tifffile.imwrite(f"volumes/images/case{number}.tif", draw_volume(number)[0], photometric="minisblack")
    output, data = init(is_prepared=True)
    low, high = data["slices"]["window"]
    values = np.stack([draw_volume(number)[0] for number in range(6)])
    assert low == -1020  # the blank slices are air, rounded to three digits
    assert high == pytest.approx(np.percentile(values, 99.5), rel=0.02)
    assert f"data.slices.window: [{low}, {high}] is proposed" in output


def test_too_few_volumes_are_reported() -> None:
    write_tiffs(Path("volumes"), 2)
    output, _ = init()
    assert "at least 4 volumes are needed" in output


def test_mask_with_fewer_slices_than_its_image_is_left_to_the_check() -> None:
    import_or_skip("nibabel")
    write_niftis(Path("volumes"))
    write_nifti(Path("volumes/masks/case1.nii.gz"), draw_volume(1)[1][:-1])
    _, data = init()
    assert [one["mask_value"] for one in data["classes"]] == [0, 2]


def test_masks_that_nibabel_scaled_are_recognized_and_prepared() -> None:
    nibabel = import_or_skip("nibabel")
    write_niftis(Path("volumes"))
    for number in range(6):
        image = nibabel.load(f"volumes/images/case{number}.nii.gz")
        labels = draw_volume(number)[1].transpose(2, 1, 0).astype(np.float64)
        labels[:2, :2, 0] = 1
        nibabel.Nifti1Image(labels, image.affine, image.header).to_filename(f"volumes/masks/case{number}.nii.gz")
    output, data = init(is_prepared=True)
    assert [one["mask_value"] for one in data["classes"]] == [0, 1, 2]
    assert "cannot be read" not in output


def test_masks_that_cannot_be_read_are_counted_with_the_reason() -> None:
    import_or_skip("nibabel")
    write_niftis(Path("volumes"))
    write_nifti(Path("volumes/masks/case0.nii.gz"), draw_volume(0)[1] + np.float32(0.5))
    output, data = init()
    assert "8 of 48 masks that were opened cannot be read (for example, masks/case0.nii.gz[z=0] has frac" in output
    assert [one["mask_value"] for one in data["classes"]] == [0, 2]
    for number in range(6):
        write_nifti(Path(f"volumes/masks/case{number}.nii.gz"), draw_volume(number)[1] / np.float32(4))
    result = CliRunner().invoke(main, ["init", "volumes"])
    assert result.exit_code == 1
    assert "masks that were opened cannot be read (for example, masks/case0.nii.gz[z=" in result.output
    assert "the others contain only the value 0, so no classes can be proposed" in result.output
    assert "nothing to learn" not in result.output


def test_folder_of_nifti_files_is_recognized() -> None:
    import_or_skip("nibabel")
    write_niftis(Path("volumes"))
    output, data = init()
    assert "6 volumes that are cut along z" in output
    assert data["slices"]["axis"] == "z"
    assert (data["pixel_size"], data["pixel_unit"]) == (0.7, "mm")
    assert "NIfTI metadata" in output


def test_nnunet_volumes_are_recognized() -> None:
    import_or_skip("nibabel")
    write_niftis(Path("volumes"))
    Path("volumes/images").rename("volumes/imagesTr")
    Path("volumes/masks").rename("volumes/labelsTr")
    for path in Path("volumes/imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 2}, "file_ending": ".nii.gz"}
    Path("volumes/dataset.json").write_text(json.dumps(content))
    names = [f"case{number}" for number in range(6)]
    folds = [{"train": names[:4], "val": names[4:]}, {"train": names[2:], "val": names[:2]}]
    Path("volumes/splits_final.json").write_text(json.dumps(folds))
    output, data = init(is_prepared=True)
    assert output.startswith("volumes: nnU-Net, 6 volumes that are cut along z")
    assert data["images"] == "imagesTr/*_0000.nii.gz"
    assert [one["name"] for one in data["classes"]] == ["background", "lesion"]
    assert data["splits"]["split_lists"] == "splits_final.json"


def test_folder_of_series_is_recognized() -> None:
    import_or_skip("nibabel")
    import_or_skip("pydicom")
    write_dicoms(Path("volumes"))
    output, data = init(is_prepared=True)
    assert "6 volumes that are cut along z" in output
    assert (data["slices"]["axis"], data["slices"]["window"][0]) == ("z", -1020)
    assert (data["pixel_size"], data["pixel_unit"]) == (0.7, "mm")
    assert [one["mask_value"] for one in data["classes"]] == [0, 2]
    assert PATIENT not in Path("params.yaml").read_text(encoding="utf-8") + output


def test_segmentation_objects_are_recognized_as_masks() -> None:
    import_or_skip("nibabel")
    import_or_skip("pydicom")
    write_dicoms(Path("volumes"))
    for number in range(6):
        Path(f"volumes/masks/case{number}.nii.gz").unlink()
        write_segmentation(Path(f"volumes/masks/case{number}.dcm"), draw_volume(number)[1])
    output, data = init(is_prepared=True)
    assert "6 volumes that are cut along z" in output
    assert [one["mask_value"] for one in data["classes"]] == [0, 2]


def test_labels_inside_ome_zarr_images_are_the_masks() -> None:
    import_or_skip("zarr")
    write_ome_zarrs(Path("volumes"), "0.4")
    write_ome_zarr(Path("volumes/images/case0.zarr/labels/nuclei"), draw_volume(0)[1])
    output, data = init(is_prepared=True)
    assert "6 volumes that are cut along z" in output
    assert (data["images"], data["masks"]) == ("images/*.zarr", "images/*.zarr/labels/tumor")
    assert data["slices"] == {"axis": "z", "step": 1, "window": None}
    assert (data["pixel_size"], data["pixel_unit"]) == (0.5, "µm")


def test_masks_may_be_ome_zarr_images_with_the_names_of_images() -> None:
    import_or_skip("zarr")
    for number in range(4):
        values, mask = draw_volume(number)
        write_ome_zarr(Path(f"volumes/images/case{number}.zarr"), values, axes="tyx")
        write_ome_zarr(Path(f"volumes/masks/case{number}.zarr"), mask, axes="tyx")
    _, data = init()
    assert "images" not in data
    assert data["slices"]["axis"] == "t"


def test_images_next_to_a_series_are_recognized_without_pydicom(monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiffs(Path("volumes"))
    Path("volumes/raw/case0").mkdir(parents=True)
    Path("volumes/raw/case0/IM001.dcm").write_bytes(bytes(128) + b"DICM")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    output, data = init(is_prepared=True)
    assert "6 volumes that are cut along z" in output
    assert "images" not in data
