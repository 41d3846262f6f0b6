"""Volumes as sources: every slice is an image, and the slices of a volume stay together."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pipeline.artifacts.prepared_data import SPLITS, PreparedData
from pipeline.errors import PipelineError
from pipeline.imaging.resize import Resizing
from pipeline.params.data import find_data_mistakes
from pipeline.params.data.image_data import FolderData
from pipeline.prepare.image_mask_pair import PairCollection
from pipeline.prepare.parallel_decode import DecodeSettings, decode_pairs
from pipeline.prepare.prepare_data import collect_pairs, create_source, write_source
from tests.optional import import_or_skip
from tests.prepare.conftest import validate_data
from tests.stacks import DATA, NIFTI_DATA, SHAPE, draw_volume, write_nifti, write_niftis, write_tiffs


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse(**changes: Any) -> FolderData:
    data = FolderData.model_validate({**DATA, **changes})
    assert find_data_mistakes(data) == []
    return data


def prepare(data: FolderData, out: str = "prepared") -> list[dict[str, str]]:
    write_source(create_source(data), data, Path(out))
    with (Path(out) / "samples.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_slices_of_a_volume_are_in_one_split_and_are_one_group() -> None:
    write_tiffs(Path("volumes"))
    samples = prepare(parse())
    splits = defaultdict(set)
    for sample in samples:
        splits[sample["groups"]].add(sample["split"])
        assert sample["id"].rpartition("_")[0] == sample["groups"].removeprefix("group=")
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} >= set(SPLITS)
    names = [sample["id"] for sample in samples if sample["split"] == "validation"]
    assert [name.rpartition("_")[2] for name in names] == [f"{index:03}" for index in range(SHAPE[0])]


def test_folds_do_not_divide_volumes() -> None:
    write_tiffs(Path("volumes"))
    samples = prepare(parse(splits={"validation": 0.2, "test": 0.2, "folds": 3, "stratify": True}))
    folds = defaultdict(set)
    for sample in samples:
        folds[sample["groups"]].add(sample["fold"])
    assert all(len(found) == 1 for found in folds.values())


def test_prepared_slices_are_those_of_the_volume() -> None:
    write_tiffs(Path("volumes"))
    prepare(parse(image_size=[32, 40]))
    split = PreparedData(Path("prepared")).open_split("validation")
    with Path("prepared/samples.csv").open(encoding="utf-8", newline="") as file:
        names = [row["id"] for row in csv.DictReader(file) if row["split"] == "validation"]
    stack = tifffile.imread(f"volumes/images/{names[0].rpartition('_')[0]}.tif")
    np.testing.assert_array_equal(np.stack([image[..., 0] for image in split.images]), stack)


def test_groups_of_a_pattern_may_contain_several_volumes() -> None:
    write_tiffs(Path("volumes"), 8)
    for kind in ("images", "masks"):
        for number in range(8):
            Path("volumes", kind, f"case{number}.tif").rename(f"volumes/{kind}/p{number // 2}_t{number % 2}.tif")
    samples = prepare(parse(splits={"validation": 0.2, "test": 0.2, "stratify": True, "group_regex": "^(p[0-9])"}))
    assert {sample["groups"] for sample in samples} <= {f"group=p{number}" for number in range(4)}


def test_split_list_names_volumes() -> None:
    write_tiffs(Path("volumes"))
    splits = ["train", "train", "train", "validation", "test", "train"]
    rows = "".join(f"case{number},{split}\n" for number, split in enumerate(splits))
    Path("volumes/splits.csv").write_text(f"id,split\n{rows}")
    samples = prepare(parse(splits={"validation": 0, "test": 0}, showcase_ids=["case5_004"]))
    found = {sample["id"].rpartition("_")[0]: sample["split"] for sample in samples}
    assert found == {f"case{number}": split for number, split in enumerate(splits[:5])} | {"case5": "showcase"}


def test_step_leaves_out_slices() -> None:
    write_tiffs(Path("volumes"))
    found = collect_pairs(parse(slices={"axis": "z", "step": 3})).pairs
    assert [name for name in found if name.startswith("case0_")] == ["case0_000", "case0_003", "case0_006"]


def test_same_anatomy_in_two_patients_is_no_near_duplicate_but_a_copy_is() -> None:
    """All volumes share a blank slice, and their other slices look alike."""
    write_tiffs(Path("volumes"))
    for number in range(1, 6):  # the same balls, with other noise
        values, mask = draw_volume(0)
        values = values + np.random.default_rng(number).normal(0, 3, SHAPE)
        pixels = (values.clip(-200, 200) + 200) * 5 // 8
        pixels[0] = 0
        for kind, array in (("images", pixels), ("masks", mask)):
            tifffile.imwrite(f"volumes/{kind}/case{number}.tif", array.astype(np.uint8), photometric="minisblack")
    assert create_source(parse()).read(lambda *_: None).error is None
    Path("volumes/splits.csv").write_text(
        "id,split\n" + "".join(f"case{n},{s}\n" for n, s in enumerate(["train", "validation", "test", *["train"] * 3]))
    )
    stack = tifffile.imread("volumes/images/case0.tif")
    tifffile.imwrite("volumes/images/case1.tif", stack, photometric="minisblack", compression="zlib", imagej=False,
                     resolution=(2.0, 2.0), metadata=None)  # fmt: skip
    tifffile.imwrite("volumes/images/case0.tif", stack, photometric="minisblack", resolution=(2.0, 2.0), metadata=None)
    error = create_source(parse()).read(lambda *_: None).error
    assert error is not None
    assert "7 images that look the same" in str(error)  # all slices except the blank one
    assert "images/case0.tif[z=3] (in train, like images/case1.tif[z=3] in validation)" in str(error)


def test_volumes_are_cached_and_decoded_the_same_in_parallel(folder: Path) -> None:
    write_tiffs(Path("volumes"))
    collection: PairCollection = collect_pairs(parse())
    settings = DecodeSettings(collection.folder, Resizing.create((32, 32), "stretch"), 1, collection.masks)
    pairs = list(collection.pairs.values())
    runs = [
        list(decode_pairs(pairs, settings, folder / name, workers)) for name, workers in (("a", 0), ("b", 2), ("a", 0))
    ]
    assert [result.is_new for result in runs[2]] == [False] * len(pairs)
    for other in runs[1:]:
        for one, same in zip(runs[0], other, strict=True):
            assert one.decoded is not None and same.decoded is not None
            np.testing.assert_array_equal(one.decoded.image, same.decoded.image)


def find_issues(data: FolderData) -> list[str]:
    return [f"{issue.kind.name} {issue}" for issue in collect_pairs(data).issues]


def test_issues_of_volumes_are_reported_once_per_volume() -> None:
    write_tiffs(Path("volumes"), 9)
    tifffile.imwrite("volumes/masks/case0.tif", np.zeros((7, 32, 40), np.uint8), photometric="minisblack")
    Path("volumes/images/case1.tif").write_bytes(b"II*\0")
    Path("volumes/masks/case2.tif").unlink()
    issues = find_issues(parse())
    assert [issue.split()[0] for issue in sorted(issues)] == ["GEOMETRY", "NO_MASK", "UNREADABLE"]
    assert any("40 × 32 px in 7 slices, but the image has 40 × 32 px in 8 slices" in issue for issue in issues)
    with pytest.raises(PipelineError):
        prepare(parse())
    assert len(prepare(parse(on_invalid="skip"))) > 0


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_window_is_required_with_the_range_of_the_file(dtype: type) -> None:
    write_tiffs(Path("volumes"))
    values = draw_volume(0)[0].astype(dtype)
    tifffile.imwrite("volumes/images/case0.tif", values, photometric="minisblack")
    with pytest.raises(PipelineError, match=rf"slices\.window.*{np.dtype(dtype)}.* -1024 to {values.max():g}"):
        collect_pairs(parse())
    assert collect_pairs(parse(slices={"axis": "z", "window": [-200, 200]})).issues == []


def test_axis_must_be_one_of_the_files() -> None:
    write_tiffs(Path("volumes"))
    with pytest.raises(PipelineError, match=r"slices\.axis: is x, but images/case0\.tif has slices along z and t"):
        collect_pairs(parse(slices={"axis": "x"}))


def test_undefined_intensities_are_an_issue_of_the_slice() -> None:
    write_tiffs(Path("volumes"))
    values = draw_volume(0)[0].astype(np.float32)
    values[3, 0, 0] = np.nan
    tifffile.imwrite("volumes/images/case0.tif", values, photometric="minisblack")
    data = parse(slices={"axis": "z", "window": [-200, 200]})
    error = create_source(data).read(lambda *_: None).error
    assert error is not None
    assert "1 file that cannot be used: images/case0.tif[z=3] (has 1 NaN or infinite values" in str(error)


def test_files_with_several_pages_name_the_key_without_it() -> None:
    write_tiffs(Path("volumes"))
    with pytest.raises(PipelineError, match=r"set data\.slices"):
        prepare(parse(slices=None))


@pytest.mark.parametrize("window", [[1], [2, 1], [1, 1], [0, float("inf")], "ct", [False, True]])
def test_window_must_be_two_finite_numbers_in_order(window: object) -> None:
    with pytest.raises(ValueError, match="two numbers"):
        parse(slices={"axis": "z", "window": window})


def test_pixel_sizes_of_stacks_are_compared_with_the_setting() -> None:
    write_tiffs(Path("volumes"))
    notices = validate_data(parse(pixel_size=2, pixel_unit="µm")).data.stats.notices
    assert any("state another pixel size than data.pixel_size" in notice and "0.5 µm" in notice for notice in notices)


class TestNifti:
    """Checks of NIfTI volumes, which need nibabel."""

    @pytest.fixture(autouse=True)
    def nibabel(self) -> Any:
        return import_or_skip("nibabel")

    def test_nifti_slices_are_prepared_with_the_window(self) -> None:
        write_niftis(Path("volumes"))
        data = FolderData.model_validate({**NIFTI_DATA, "image_size": [32, 40]})
        samples = prepare(data)
        split = PreparedData(Path("prepared")).open_split("test")
        name = next(sample["id"] for sample in samples if sample["split"] == "test").rpartition("_")[0]
        values, mask = draw_volume(int(name.removeprefix("case")))
        gray = np.rint((values.clip(-200, 200) + 200) * (255 / 400))
        np.testing.assert_array_equal(np.stack([image[..., 0] for image in split.images]), gray)
        np.testing.assert_array_equal(np.stack(list(split.masks)), mask // 2)

    def test_masks_with_another_geometry_are_issues(self, nibabel: Any) -> None:
        write_niftis(Path("volumes"))
        image = nibabel.load("volumes/masks/case0.nii.gz")
        for number, shift in enumerate((0.01, 1.0)):  # mm; rounding errors are accepted
            affine = image.affine.copy()
            affine[0, 3] += shift
            moved = nibabel.Nifti1Image(np.asarray(nibabel.load(f"volumes/masks/case{number}.nii.gz").dataobj), affine)
            moved.to_filename(f"volumes/masks/case{number}.nii.gz")
        (issue,) = find_issues(FolderData.model_validate(NIFTI_DATA))
        assert issue.startswith("GEOMETRY masks/case1.nii.gz (its affine moves corners of the volume by up to 1 mm")

    def test_mask_may_be_stored_in_another_order(self, nibabel: Any) -> None:
        write_niftis(Path("volumes"))
        before = prepare(FolderData.model_validate(NIFTI_DATA))
        for path in Path("volumes/masks").iterdir():
            nibabel.as_closest_canonical(nibabel.load(path)).to_filename(path)
        after = prepare(FolderData.model_validate(NIFTI_DATA), "again")
        assert after == before

    def test_one_file_per_class(self) -> None:
        write_niftis(Path("volumes"))
        for number in range(6):
            mask = draw_volume(number)[1]
            Path(f"volumes/masks/case{number}.nii.gz").unlink()
            for name, part in (("left", mask[..., :20]), ("right", mask[..., 20:])):
                whole = np.zeros_like(mask)
                whole[..., slice(20) if name == "left" else slice(20, None)] = part
                write_nifti(Path(f"volumes/masks/case{number}/{name}.nii.gz"), whole)
        classes = [
            {"name": text or "tissue", "mask_value": text, "color": f"#00000{place}", "foreground": text is not None}
            for place, text in enumerate((None, "left", "right"))
        ]
        data = FolderData.model_validate(
            {**NIFTI_DATA, "images": "images/*", "masks": "masks/*/{class}", "classes": classes, "image_size": [32, 40],
             "splits": {"validation": 0.2, "test": 0.2}}
        )  # fmt: skip
        assert find_data_mistakes(data) == []
        collection = collect_pairs(data)
        pair = collection.pairs["case3_004"]
        mask = collection.masks.decode(collection.masks.read(collection.folder, pair.mask))
        np.testing.assert_array_equal(mask > 0, draw_volume(3)[1][4] > 0)

    def test_volumes_name_the_key_without_it(self) -> None:
        write_niftis(Path("volumes"))
        with pytest.raises(PipelineError, match=r"write data\.slices"):
            collect_pairs(parse(slices=None))
