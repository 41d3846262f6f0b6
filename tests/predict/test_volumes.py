"""`pipeline predict` with volumes: one mask per volume, with its geometry, from a run trained on slices."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from pipeline.cli import main
from pipeline.volumes.ome_zarr import OmeZarr
from tests.conftest import TRAINED
from tests.export.test_export import run_printed_code
from tests.optional import import_or_skip
from tests.predict.trained_project import Predict, create_predict, train_project
from tests.series import PATIENT, write_ome_zarr, write_segmentation, write_series
from tests.stacks import DATA, SHAPE, draw_volume, write_nifti, write_tiffs

# Windowed, so that the run also segments NIfTI files of Hounsfield units.
SECTION = {**DATA, "slices": {"axis": "z", "window": [-200, 200]}}


@pytest.fixture(scope="module")
def trained_on_slices(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run that was trained on the slices of stacks of Hounsfield units."""
    root = tmp_path_factory.mktemp("slices")
    write_tiffs(root / "volumes")
    for number in range(6):
        values = draw_volume(number)[0].astype(np.float32)
        tifffile.imwrite(root / f"volumes/images/case{number}.tif", values, photometric="minisblack")
    train_project(root, store, SECTION, epochs=4)
    return root


@pytest.fixture
def predict(trained_on_slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    return create_predict(trained_on_slices, tmp_path, monkeypatch)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_stack(path: Path, **options: object) -> np.ndarray:
    values = draw_volume(7)[0].astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, photometric="minisblack", **options)
    return values


def test_mask_of_a_stack_is_a_stack_with_its_axes_and_resolution(predict: Predict, tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "unit": "um", "spacing": 3.0}
    write_stack(tmp_path / "scan.tif", imagej=True, resolution=(2.0, 2.0), metadata=metadata)
    done = predict(tmp_path / "scan.tif")
    assert "1 mask by" in done.output
    with tifffile.TiffFile(tmp_path / "out/masks/scan.tif") as mask, tifffile.TiffFile(tmp_path / "scan.tif") as scan:
        assert (mask.series[0].axes, mask.series[0].shape) == ("ZYX", SHAPE)
        assert mask.pages[0].tags["XResolution"].value == scan.pages[0].tags["XResolution"].value
        assert mask.imagej_metadata is not None
        assert (mask.imagej_metadata["spacing"], mask.imagej_metadata["unit"]) == (3.0, "um")
        values = mask.asarray()
    assert set(np.unique(values)) <= {0, 2}
    rows = read_rows(tmp_path / "out/shares.csv")
    assert [row["file"] for row in rows] == [f"{tmp_path / 'scan.tif'}[z={index}]" for index in range(SHAPE[0])]
    assert [float(row["share_tumor"]) for row in rows] == pytest.approx((values == 2).mean(axis=(1, 2)), abs=1e-6)


def test_mask_of_an_ome_stack_is_an_ome_stack(predict: Predict, tmp_path: Path) -> None:
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.6, "PhysicalSizeZ": 2.0}
    write_stack(tmp_path / "scan.ome.tif", ome=True, metadata={"axes": "ZYX", **sizes})
    predict(tmp_path / "scan.ome.tif")
    with tifffile.TiffFile(tmp_path / "out/masks/scan.ome.tif") as mask:
        assert mask.series[0].axes == "ZYX"
        assert mask.ome_metadata is not None
        pixels = tifffile.xml2dict(mask.ome_metadata)["OME"]["Image"]["Pixels"]
        assert {name: pixels[name] for name in sizes} == sizes
        assert mask.pages[0].photometric == tifffile.PHOTOMETRIC.PALETTE


def test_mask_of_a_plain_stack_has_a_page_per_slice(predict: Predict, tmp_path: Path) -> None:
    write_stack(tmp_path / "scan.tif", metadata=None, resolution=(300, 300), resolutionunit="INCH")
    predict(tmp_path / "scan.tif")
    with tifffile.TiffFile(tmp_path / "out/masks/scan.tif") as mask:
        assert len(mask.pages) == SHAPE[0]
        assert mask.pages[0].tags["XResolution"].value == (300, 1)


def test_results_of_slices_have_their_index(predict: Predict, tmp_path: Path) -> None:
    write_stack(tmp_path / "scan.tif", metadata=None)
    predict("--overlay", "--objects", "--rank-by-uncertainty", tmp_path / "scan.tif")
    names = [f"scan_{index:03}" for index in range(SHAPE[0])]
    assert sorted(path.stem for path in (tmp_path / "out/overlays").iterdir()) == names
    assert sorted(path.stem for path in (tmp_path / "out/objects").iterdir()) == names
    assert len(read_rows(tmp_path / "out/uncertainty.csv")) == SHAPE[0]
    assert len(list((tmp_path / "out/masks").iterdir())) == 1


def test_results_of_slices_replace_only_earlier_results(predict: Predict, tmp_path: Path) -> None:
    own = tmp_path / "out/objects/scan_001.tif"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"own")
    write_stack(tmp_path / "scan.tif", metadata=None)
    for _ in range(2):
        predict("--overlay", tmp_path / "scan.tif")
    assert f"wrote: {own}. Choose" in predict("--objects", tmp_path / "scan.tif", code=1).output
    assert own.read_bytes() == b"own"


def test_broken_volume_is_skipped_without_results(predict: Predict, tmp_path: Path) -> None:
    values = write_stack(tmp_path / "in/good.tif", metadata=None)
    values[5, 0, 0] = np.nan
    tifffile.imwrite(tmp_path / "in/bad.tif", values, photometric="minisblack")
    (tmp_path / "in/text.tif").write_bytes(b"hello")
    done = predict("--objects", tmp_path / "in", code=1)
    assert "bad.tif cannot be segmented, because slice 5 has 1 NaN" in done.output
    assert "2 of 3 images were skipped" in done.output
    assert [path.name for path in (tmp_path / "out/masks").iterdir()] == ["good.tif"]
    files = {row["file"].partition("[")[0] for row in read_rows(tmp_path / "out/shares.csv")}
    assert files == {str(tmp_path / "in/good.tif")}


def test_single_image_is_segmented_too(predict: Predict, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 20), np.uint8)).save(tmp_path / "photo.png")
    predict(tmp_path / "photo.png")
    with Image.open(tmp_path / "out/masks/photo.png") as mask:
        assert mask.size == (20, 30)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_mask_of_a_nifti_file_has_its_affine(predict: Predict, ending: str, tmp_path: Path) -> None:
    nibabel = import_or_skip("nibabel")
    values, truth = draw_volume(7)
    write_nifti(tmp_path / f"scan{ending}", values)
    predict(tmp_path / f"scan{ending}")
    scan, mask = (nibabel.load(path) for path in (tmp_path / f"scan{ending}", tmp_path / f"out/masks/scan{ending}"))
    np.testing.assert_array_equal(mask.affine, scan.affine)
    assert mask.header.get_zooms() == scan.header.get_zooms()
    # The slices of the file are those of this stack, so the network sees the same pixels.
    write_stack(tmp_path / "stack.tif", metadata=None)
    predict(tmp_path / "stack.tif")
    stack = tifffile.imread(tmp_path / "out/masks/stack.tif")
    found = np.asarray(mask.dataobj).transpose(2, 1, 0)
    np.testing.assert_array_equal(found, stack)
    assert ((found == 2) == (truth == 2)).mean() > 0.5


def test_nifti_file_is_refused_by_a_run_of_single_images(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    done = CliRunner().invoke(main, ["predict", "--out", str(tmp_path / "out"), str(tmp_path / "scan.nii.gz")])
    assert done.exit_code == 1
    assert "data.slices is null" in done.output


@pytest.mark.parametrize("name", ["tiff", "coco", "labelme", "png,coco"])
def test_format_without_masks_of_volumes_refuses_a_volume(predict: Predict, name: str, tmp_path: Path) -> None:
    write_stack(tmp_path / "scan.tif", metadata=None)
    Image.fromarray(np.zeros((30, 20), np.uint8)).save(tmp_path / "photo.png")
    done = predict("--format", name, tmp_path / "scan.tif", tmp_path / "photo.png", code=1)
    assert f"--format {name.removeprefix('png,')}: {tmp_path / 'scan.tif'} is a volume" in done.output
    assert not (tmp_path / "out").exists()
    predict("--format", name, tmp_path / "photo.png")  # single images are written in all formats


def test_folder_of_volumes_is_searched_for_nifti_files(predict: Predict, tmp_path: Path) -> None:
    import_or_skip("nibabel")
    write_nifti(tmp_path / "in/a/scan.nii.gz", draw_volume(7)[0])
    write_stack(tmp_path / "in/a/scan.tif", metadata=None)
    predict(tmp_path / "in")
    # Names that differ only in their endings keep them.
    assert sorted(path.name for path in (tmp_path / "out/masks/a").iterdir()) == [
        "scan.nii.gz.nii.gz",
        "scan.tif.tif",
    ]


def test_exported_model_applies_the_window(predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = write_stack(tmp_path / "scan.tif", metadata=None)
    predict(tmp_path / "scan.tif")
    done = CliRunner().invoke(main, ["export", "--run", TRAINED, "--out", str(tmp_path / "model.onnx")])
    assert done.exit_code == 0, done.output
    monkeypatch.chdir(tmp_path)
    index = int((tifffile.imread("out/masks/scan.tif") == 2).sum(axis=(1, 2)).argmax())  # the slice with most tumor
    tifffile.imwrite("image.tif", values[index])
    _, mask = run_printed_code(done.output)
    found = tifffile.imread("out/masks/scan.tif")[index] == 2
    assert found.any()
    assert ((mask == 1) == found).mean() > 0.995


def test_results_that_cannot_be_written_are_an_error(predict: Predict, tmp_path: Path) -> None:
    write_stack(tmp_path / "scan.tif", metadata=None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/masks").write_bytes(b"")  # a file where a folder should be
    done = predict(tmp_path / "scan.tif", code=1)
    assert "skipped" not in done.output
    assert str(tmp_path / "out/masks") in done.output


def test_mask_of_a_series_is_a_nifti_file_without_its_patient(predict: Predict, tmp_path: Path) -> None:
    nibabel = import_or_skip("nibabel")
    import_or_skip("pydicom")
    values, _ = draw_volume(7)
    write_series(tmp_path / "in/scan", values)
    write_nifti(tmp_path / "in/scan.nii.gz", values)
    done = predict(tmp_path / "in")
    assert "2 masks by" in done.output
    series, scan = (nibabel.load(tmp_path / f"out/masks/{name}.nii.gz") for name in ("scan", "scan.nii.gz"))
    np.testing.assert_allclose(series.affine, scan.affine, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(series.dataobj), np.asarray(scan.dataobj))
    for path in (tmp_path / "out").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        assert PATIENT.encode() not in content


def test_series_is_segmented_by_its_folder(predict: Predict, tmp_path: Path) -> None:
    import_or_skip("nibabel")
    import_or_skip("pydicom")
    write_series(tmp_path / "scan.1", draw_volume(7)[0])
    predict(tmp_path / "scan.1")
    assert [path.name for path in (tmp_path / "out/masks").iterdir()] == ["scan.1.nii.gz"]
    done = predict(write_segmentation(tmp_path / "mask.dcm", draw_volume(7)[1]), code=1)
    assert "mask.dcm is a mask, not an image; skipped." in done.output


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_mask_of_an_ome_zarr_image_is_a_label_image(predict: Predict, version: str, tmp_path: Path) -> None:
    import_or_skip("zarr")
    values = draw_volume(7)[0].astype(np.float32)
    write_ome_zarr(tmp_path / "in/scan.zarr", values, version)
    write_ome_zarr(tmp_path / "in/scan.zarr/labels/tumor", draw_volume(7)[1], version)  # not an image
    predict(tmp_path / "in")
    assert [path.name for path in (tmp_path / "out/masks").iterdir()] == ["scan.zarr"]
    mask = OmeZarr(tmp_path / "out/masks/scan.zarr", "z")
    assert [(axis.name, axis.scale, axis.unit) for axis in mask.image.axes] == [
        ("z", 3.0, "micrometer"), ("y", 0.5, "micrometer"), ("x", 0.5, "micrometer")
    ]  # fmt: skip
    write_stack(tmp_path / "stack.tif", metadata=None)
    predict(tmp_path / "stack.tif")
    found = np.stack([mask.read_slice(index).values[..., 0] for index in range(mask.num_slices)])
    np.testing.assert_array_equal(found, tifffile.imread(tmp_path / "out/masks/stack.tif"))


def test_mask_of_an_ome_zarr_image_is_replaced_unless_it_was_changed(predict: Predict, tmp_path: Path) -> None:
    import_or_skip("zarr")
    write_ome_zarr(tmp_path / "in/scan.zarr", draw_volume(7)[0].astype(np.float32))
    for _ in range(2):
        predict(tmp_path / "in")
    mask = tmp_path / "out/masks/scan.zarr"
    chunk = next(path for path in mask.rglob("*") if path.is_file())
    chunk.write_bytes(b"corrected")
    assert f"changed after `pipeline predict` wrote them: {mask}. Choose" in predict(tmp_path / "in", code=1).output
    assert chunk.read_bytes() == b"corrected"


@pytest.mark.parametrize("kind", ["series", "zarr"])
def test_folder_of_a_volume_is_refused_by_a_run_of_single_images(
    kind: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_or_skip("pydicom")
    monkeypatch.chdir(trained)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    path = tmp_path / "scan.zarr"
    if kind == "series":
        path = write_series(tmp_path / "scan", draw_volume(7)[0])
    path.mkdir(exist_ok=True)
    done = CliRunner().invoke(main, ["predict", "--out", str(tmp_path / "out"), str(path)])
    assert done.exit_code == 1
    assert "data.slices is null" in done.output
