"""DICOM series and OME-Zarr images as sources: a folder is one volume. Hostile ones are reported, and leak nothing."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.params.data import find_data_mistakes
from pipeline.params.data.image_data import FolderData
from pipeline.prepare.prepare_data import collect_pairs, create_source, write_source
from pipeline.prepare.read_file import read_file
from pipeline.volumes import dicom_segmentation
from tests.data_check.conftest import link_templates
from tests.optional import import_or_skip
from tests.prepare.conftest import write_folder_params
from tests.prepare.test_corpus import hash_files
from tests.series import (
    PATIENT,
    SERIES_DATA,
    create_slice,
    write_dicoms,
    write_ome_zarr,
    write_ome_zarrs,
    write_segmentation,
    write_series,
)
from tests.stacks import DATA, draw_volume

pydicom = import_or_skip("pydicom")
zarr = import_or_skip("zarr")
import_or_skip("nibabel")

LABELS = {**DATA, "images": "images/*.zarr", "masks": "images/*.zarr/labels/tumor"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "volumes"


def parse(**changes: Any) -> FolderData:
    data = FolderData.model_validate({**SERIES_DATA, "image_size": [32, 40], **changes})
    assert find_data_mistakes(data) == []
    return data


def prepare(data: FolderData, out: str = "prepared") -> list[str]:
    write_source(create_source(data), data, Path(out))
    with (Path(out) / "samples.csv").open(encoding="utf-8", newline="") as file:
        return [row["id"] for row in csv.DictReader(file) if row["split"] == "test"]


def check_test_split(names: list[str], *, gray_of: Callable[[np.ndarray], np.ndarray]) -> None:
    """Compare the prepared test images and masks with the drawn volume."""
    split = PreparedData(Path("prepared")).open_split("test")
    values, mask = draw_volume(int(names[0].rpartition("_")[0].removeprefix("case")))
    np.testing.assert_array_equal(np.stack([image[..., 0] for image in split.images]), gray_of(values))
    np.testing.assert_array_equal(np.stack(list(split.masks)), mask // 2)


def test_series_with_nifti_masks_are_prepared(folder: Path) -> None:
    names = prepare(parse(path=str(write_dicoms(folder))))
    check_test_split(names, gray_of=lambda values: np.rint((values.clip(-200, 200) + 200) * (255 / 400)))


def test_masks_may_be_series(folder: Path) -> None:
    write_dicoms(folder)
    for number in range(6):
        (folder / f"masks/case{number}.nii.gz").unlink()
        mask = draw_volume(number)[1].astype(int) - 1024  # the stored values are those of the mask
        write_series(folder / f"masks/case{number}", mask, RescaleIntercept=0)
    names = prepare(parse())
    check_test_split(names, gray_of=lambda values: np.rint((values.clip(-200, 200) + 200) * (255 / 400)))


def test_masks_may_be_segmentation_objects(folder: Path) -> None:
    write_dicoms(folder)
    for number in range(6):
        (folder / f"masks/case{number}.nii.gz").unlink()
        write_segmentation(folder / f"masks/case{number}.dcm", draw_volume(number)[1])
    names = prepare(parse())
    check_test_split(names, gray_of=lambda values: np.rint((values.clip(-200, 200) + 200) * (255 / 400)))
    assert collect_pairs(parse()).pairs["case3_002"].mask == "masks/case3.dcm[z=2 of images/case3]"
    write_series(folder / "images/case1", draw_volume(1)[0][:2], ImagePositionPatient=[0, 0, 0])
    shutil.rmtree(folder / "images/case2")
    write_segmentation(folder / "images/case2/seg.dcm", draw_volume(2)[1])
    write_segmentation(folder / "masks/case3.dcm", np.concatenate([draw_volume(3)[1]] * 2))
    issues = sorted(str(issue) for issue in collect_pairs(parse()).issues)
    assert len(issues) == 3
    assert "same position" in issues[0]
    assert issues[1].startswith("images/case2 (is a mask")
    assert "outside the slices of its image" in issues[2]


def test_mask_next_to_the_slices_of_its_series(folder: Path) -> None:
    write_dicoms(folder)
    for number in range(6):
        (folder / f"masks/case{number}.nii.gz").rename(folder / f"images/case{number}/mask.nii.gz")
    collection = collect_pairs(parse(masks="images/*/mask.nii.gz"))
    assert len(collection.pairs) == 48
    assert collection.pairs["case3_002"].mask == "images/case3/mask.nii.gz[z=2]"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_inside_images_are_masks(version: str, folder: Path) -> None:
    write_ome_zarrs(folder, version)
    names = prepare(parse(**{**LABELS, "image_size": [32, 40]}))
    check_test_split(names, gray_of=lambda values: (values.clip(-200, 200) + 200) * 5 // 8)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_images_in_an_archive(version: str, folder: Path) -> None:
    write_ome_zarrs(folder, version)
    (folder / "README.md").touch()  # otherwise, paths are relative to the only folder in the archive
    shutil.make_archive("volumes", "zip", folder)
    assert prepare(parse(**{**LABELS, "path": "volumes.zip"})) == prepare(parse(**LABELS), "same")


def test_labels_inside_images_are_no_images(folder: Path) -> None:
    write_ome_zarrs(folder)
    for number in range(6):
        shutil.copytree(folder / f"images/case{number}.zarr/labels/tumor", folder / f"masks/case{number}.zarr")
    collection = collect_pairs(parse(**DATA))
    assert len(collection.pairs) == 48
    assert collection.issues == []


def test_one_label_image_per_class(folder: Path) -> None:
    write_ome_zarrs(folder)
    for number in range(6):
        mask = draw_volume(number)[1]
        labels = folder / f"images/case{number}.zarr/labels"
        shutil.rmtree(labels)
        for name, part in (("left", slice(20)), ("right", slice(20, None))):
            whole = np.zeros_like(mask)
            whole[..., part] = mask[..., part]
            write_ome_zarr(labels / name, whole)
    classes = [
        {"name": text or "tissue", "mask_value": text, "color": f"#00000{place}", "foreground": text is not None}
        for place, text in enumerate((None, "left", "right"))
    ]
    data = parse(**{**LABELS, "masks": "images/*.zarr/labels/{class}", "classes": classes})
    collection = collect_pairs(data)
    mask = collection.masks.decode(collection.masks.read(collection.folder, collection.pairs["case3_004"].mask))
    np.testing.assert_array_equal(mask > 0, draw_volume(3)[1][4] > 0)


def test_volumes_name_the_key_without_it(folder: Path) -> None:
    write_dicoms(folder)
    with pytest.raises(PipelineError, match=r"write data\.slices"):
        collect_pairs(parse(slices=None))


def move_mask(folder: Path) -> None:
    """Move all slices by 2 mm, so that the mask is in another place."""
    for path in (folder / "images/case1").iterdir():
        header = pydicom.dcmread(path)
        header.ImagePositionPatient = [2, *list(header.ImagePositionPatient)[1:]]
        header.save_as(path)


def mix_series(folder: Path) -> None:
    other = create_slice(draw_volume(0)[0][0], 30, SeriesInstanceUID="1.2.9", Modality="PT")
    other.save_as(folder / "images/case1/other.dcm")


def remove_chunks(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        array = folder / "images/case1.zarr/0/c"
        for path in sorted(array.rglob("*")):
            if path.is_file() and (not names or path.relative_to(array).as_posix() in names):
                path.unlink()

    return change


def set_dataset(path: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        metadata = folder / "images/case1.zarr/zarr.json"
        content = json.loads(metadata.read_text())
        content["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = path
        metadata.write_text(json.dumps(content))

    return change


DICOM_CASES = {
    "moved mask": (move_mask, "masks/case1.nii.gz (its affine moves corners of the volume by up to 2 mm"),
    "several series": (mix_series, "images/case1 (contains 2 series (CT with 8 files, PT with 1 file)"),
    "text": (
        lambda folder: (folder / "images/case1/IM003.dcm").write_bytes(b"text"),
        "images/case1 (contains IM003.dcm, which is not a DICOM file)",
    ),
    "missing slice": (
        lambda folder: [
            path.unlink()
            for path in (folder / "images/case1").iterdir()
            if pydicom.dcmread(path).ImagePositionPatient[2] == 12
        ],
        "so 1 of the slices between them is missing",
    ),
}  # fmt: skip
ZARR_CASES = {
    "no chunks": (remove_chunks(), "images/case1.zarr (contains none of its 8 chunks)"),
    "path outside": (set_dataset("../case0.zarr/0"), "has a dataset with the path '../case0.zarr/0'"),
    "broken metadata": (
        lambda folder: (folder / "images/case1.zarr/0/zarr.json").write_text("{"), "has a broken zarr.json"
    ),
    "loop of links": (
        lambda folder: [shutil.rmtree(path := folder / "images/case1.zarr/0"), path.symlink_to("0")],
        "which is not inside the image's folder",
    ),
}  # fmt: skip


def run_check(section: dict[str, Any]) -> tuple[int, str]:
    """Run `pipeline data check`, and check that it writes nothing."""
    write_folder_params(Path.cwd(), {"images": ..., "masks": ..., **section})
    before = hash_files(Path.cwd())
    result = CliRunner().invoke(main, ["data", "check", "volumes"])
    assert hash_files(Path.cwd()) == before
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert PATIENT not in result.output
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("case", DICOM_CASES)
def test_data_check_reports_invalid_series(case: str, folder: Path) -> None:
    change, message = DICOM_CASES[case]
    change(write_dicoms(folder, 4))
    code, output = run_check(SERIES_DATA)
    assert code == 1
    assert message in output


@pytest.mark.parametrize("case", ZARR_CASES)
def test_data_check_reports_invalid_ome_zarr(case: str, folder: Path) -> None:
    change, message = ZARR_CASES[case]
    change(write_ome_zarrs(folder, count=4))
    code, output = run_check(LABELS)
    assert code == 1
    assert message in output


def test_missing_chunks_are_a_notice(folder: Path) -> None:
    remove_chunks("0/0/0")(write_ome_zarrs(folder))
    code, output = run_check(LABELS)
    assert code == 0
    assert "1 image has chunks without files: images/case1.zarr (1 of 8)" in output


def test_nothing_about_patients_gets_into_prepared_data(folder: Path) -> None:
    write_dicoms(folder)
    for path in folder.glob("images/case0/*.dcm"):
        header = pydicom.dcmread(path)
        header.ImagePositionPatient = None  # an issue, whose message is stored, too
        header.save_as(path)
    prepare(parse(on_invalid="skip"))
    write_folder_params(Path.cwd(), {"images": ..., "masks": ..., **SERIES_DATA})
    link_templates(Path.cwd())
    done = CliRunner().invoke(main, ["data", "check", "volumes", "--html"])
    assert PATIENT not in done.output
    written = [path for path in Path.cwd().rglob("*") if path.is_file() and "volumes" not in path.parts]
    assert any(path.suffix == ".html" for path in written)
    assert all(PATIENT.encode() not in path.read_bytes() for path in written)


def test_segments_are_decoded_once_for_other_axes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(folder / "images/case0", draw_volume(0)[0])
    write_segmentation(folder / "masks/case0.dcm", draw_volume(0)[1])
    decoded = []
    decode = dicom_segmentation.decode_frame
    monkeypatch.setattr(dicom_segmentation, "decode_frame", lambda *args: decoded.append(1) or decode(*args))
    for index in range(5):
        read_file(folder, f"masks/case0.dcm[x={index} of images/case0]")
    assert len(decoded) == draw_volume(0)[1].any(axis=(1, 2)).sum()
