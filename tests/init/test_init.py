"""`pipeline init` on folders of images: the suggested section passes the check and can be prepared."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML

from pipeline.artifacts.prepared_data import SPLITS, PreparedData
from pipeline.artifacts.project import PREPARED
from pipeline.cli import main
from pipeline.imaging import IGNORE
from pipeline.init.inspect_images import MAX_FILES
from pipeline.init.write_params import format_scalar, replace_section
from pipeline.params.data.image_data import AnnotatedData
from pipeline.params.file import read_params

ROOT = Path(__file__).parents[2]
COUNT = 24
SHAPE = (40, 48)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip_grid_timing: None) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def make_noise(index: int, dtype: type = np.uint8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(index).integers(0, np.iinfo(dtype).max, (*SHAPE, channels), dtype)


def draw_bands(index: int, values: list[int]) -> np.ndarray:
    """Draw vertical bands, one per value, shifted by the index."""
    bands = np.array(values, np.uint8)[np.arange(SHAPE[1]) * len(values) // SHAPE[1]]
    return np.roll(np.tile(bands, (SHAPE[0], 1)), index, axis=1)


def make_image(index: int) -> Image.Image:
    return Image.fromarray(make_noise(index))


def encode_bands(*values: int) -> Callable[[int], Image.Image]:
    return lambda index: Image.fromarray(draw_bands(index, [*values]))


def make_noisy_mask(index: int) -> Image.Image:
    return Image.fromarray(make_noise(index)[..., 0])


def make_jpeg_mask(index: int) -> Image.Image:
    """Make a mask of two values that was compressed as JPEG."""
    file = io.BytesIO()
    encode_bands(0, 255)(index).save(file, "JPEG")
    return Image.open(file)


def make_coco(categories: list[str], images: int = COUNT) -> dict[str, Any]:
    """Make COCO instances for the images of `write`: one square per category in each image."""
    height, width = SHAPE
    square = {"segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]], "iscrowd": 0}
    return {
        "images": [{"id": i, "file_name": f"a{i:02}.png", "height": height, "width": width} for i in range(images)],
        "annotations": [
            {"id": i * len(categories) + category_id, "image_id": i, "category_id": category_id, **square}
            for i in range(images)
            for category_id in range(1, len(categories) + 1)
        ],
        "categories": [{"id": category_id, "name": name} for category_id, name in enumerate(categories, 1)],
    }


def write(folder: Path, mask: Any, image: Any = make_image, names: str = "a{:02}", count: int = COUNT) -> Path:
    """Write a folder of pairs that `image` and `mask` make from an index."""
    for index in range(count):
        for kind, content in (("images", image(index)), ("masks", mask(index))):
            path = folder / kind / f"{names.format(index)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            content.save(path)
    return folder


def run_pipeline(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def run_init(folder: Path) -> dict[str, Any]:
    """Run `init`, the check and `prepare`; return the section that `init` wrote."""
    assert (result := run_pipeline("init", folder)).exit_code == 0, result.output
    assert (check_result := run_pipeline("data", "check", folder)).exit_code == 0, check_result.output
    assert "no errors with params.yaml" in check_result.output
    assert run_pipeline("prepare").exit_code == 0
    section: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml").read_text())["data"]
    return section


def get_mask_values(section: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item["mask_value"] for item in section["classes"]}


def test_init_of_binary_masks_gives_background_and_foreground(tmp_path: Path) -> None:
    section = run_init(write(tmp_path / "cells", encode_bands(0, 255)))
    assert get_mask_values(section) == {"background": 0, "foreground": 255}
    assert section["ignore_value"] is None
    assert section["splits"]["stratify"] is True
    assert "# foreground: 50.0% of the pixels, in 24 of 24 masks that were opened" in Path("params.yaml").read_text()


def test_init_of_one_image_uses_the_singular(tmp_path: Path) -> None:
    result = run_pipeline("init", write(tmp_path / "cells", encode_bands(0, 255), count=1))
    assert result.exit_code == 0
    assert ": 1 image of 48 × 40 px" in result.output


def test_init_ignores_255_in_palette_masks_of_few_values(tmp_path: Path) -> None:
    def make_palette_mask(index: int) -> Image.Image:
        image = Image.fromarray(draw_bands(index, [0, 1, 4, 255]), "P")
        image.putpalette(bytes(range(256)) * 3)
        return image

    section = run_init(write(tmp_path / "cells", make_palette_mask))
    assert get_mask_values(section) == {"background": 0, "class_1": 1, "class_4": 4}
    assert section["ignore_value"] == 255


def test_init_keeps_255_among_other_gray_levels_as_a_class(tmp_path: Path) -> None:
    section = run_init(write(tmp_path / "cells", encode_bands(0, 128, 255)))
    assert get_mask_values(section) == {"background": 0, "class_128": 128, "class_255": 255}
    assert section["ignore_value"] is None


def test_init_of_binary_masks_that_were_jpegs_sets_a_threshold(tmp_path: Path) -> None:
    section = run_init(write(tmp_path / "cells", make_jpeg_mask))
    assert section["mask_threshold"] == 128
    masks = np.concatenate([np.load(PREPARED / split / PreparedData.MASKS) for split in SPLITS])
    inside = masks != IGNORE
    assert (masks[inside] == 1).mean() == pytest.approx(0.5, abs=0.01)


def test_init_of_color_masks_writes_colors(tmp_path: Path) -> None:
    def make_color_mask(index: int) -> Image.Image:
        return Image.fromarray(np.array([[0, 0, 0], [255, 0, 0], [0, 128, 64]], np.uint8)[draw_bands(index, [0, 1, 2])])

    section = run_init(write(tmp_path / "cells", make_color_mask))
    assert set(get_mask_values(section).values()) == {"#000000", "#ff0000", "#008040"}
    assert get_mask_values(section)["background"] == "#000000"


def test_init_of_numbered_objects_adds_a_border(tmp_path: Path) -> None:
    def make_numbered_mask(index: int) -> Image.Image:
        mask = np.zeros(SHAPE, np.uint16)
        for number in range(5 + index % 6):
            top, left = 12 * (number // 4), 12 * (number % 4)
            mask[top : top + 10, left : left + 10] = number + 1
        return Image.fromarray(mask)

    section = run_init(write(tmp_path / "nuclei", make_numbered_mask))
    assert section["instances"] == {"border": 2}
    assert get_mask_values(section) == {"background": 0, "object": 1, "border": 2}


def test_init_of_16_bit_gray_removes_pretrained_variants(tmp_path: Path) -> None:
    def make_16_bit_image(index: int) -> Image.Image:
        return Image.fromarray(make_noise(index, np.uint16, 1)[..., 0])

    write(tmp_path / "cells", encode_bands(0, 1), make_16_bit_image)
    run_init(tmp_path / "cells")
    assert read_params().grid.variant == ["unet"]
    assert np.load(PREPARED / "train" / PreparedData.IMAGES).dtype == np.uint16


def test_init_removes_the_variant_that_shows_memorization_on_the_bundled_images(tmp_path: Path) -> None:
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    output = run_pipeline("init", folder).output
    assert "(data.max_train_images): lite0_20_images." in output
    assert read_params().grid.variant == ["unet", "lite0"]


def test_init_keeps_variants_with_few_images_if_there_are_no_others(tmp_path: Path) -> None:
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    shipped = Path("params.yaml").read_text()
    Path("params.yaml").write_text(
        shipped.replace("  - unet\n  - lite0\n  - lite0_20_images\n", "  - lite0_20_images\n")
    )
    assert "Removed from the grid" not in run_pipeline("init", folder).output
    assert read_params().grid.variant == ["lite0_20_images"]


def test_init_of_five_channel_tiffs_sets_channels(tmp_path: Path) -> None:
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    for index in range(COUNT):
        (folder / "images" / f"a{index:02}.png").unlink()
        tifffile.imwrite(folder / "images" / f"a{index:02}.tif", make_noise(index, channels=5), planarconfig="contig")
    assert run_init(folder)["channels"] == 5
    assert "lite0" not in read_params().grid.variant


def test_init_accepts_subfolders_special_characters_and_a_split_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "my cells: 'new'", encode_bands(0, 1), names="p{0:02}/a")
    rows = [f"p{index:02}/a,{SPLITS[index % 3]}" for index in range(COUNT)]
    (folder / "splits.csv").write_text("\n".join(["id,split", *rows]))
    section = run_init(folder)
    assert section["path"] == str(folder)
    assert "stratify" not in section["splits"]
    assert "# splits.csv has the split of each image" in Path("params.yaml").read_text()


def test_init_suggests_group_regex_for_names_with_groups(tmp_path: Path) -> None:
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    for kind in ("images", "masks"):
        for index, path in enumerate(sorted((folder / kind).iterdir())):
            path.rename(path.with_name(f"p{index // 4}_slice{index % 4}.png"))
    run_init(folder)
    text = Path("params.yaml").read_text()
    assert "    # group_regex: " in text
    Path("params.yaml").write_text(text.replace("    # group_regex: ", "    group_regex: "))
    check_output = run_pipeline("data", "check", folder).output
    (counts,) = (line.split()[1:] for line in check_output.splitlines() if line.startswith("groups"))
    assert sum(map(int, counts)) == COUNT / 4


def test_init_coco_gives_a_class_per_category(tmp_path: Path) -> None:
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    shutil.rmtree(folder / "masks")
    (folder / "export.json").write_text(json.dumps(make_coco(["cell/big: \U0001f9a0"])))
    section = run_init(folder)
    assert section["annotations"] == "export.json"
    assert [item["category"] for item in section["classes"]] == [None, "cell/big: \U0001f9a0"]
    assert section["classes"][1]["name"] == "cell_big_ _"


def write_coco(
    folder: Path, change: Callable[[dict[str, Any]], object], categories: tuple[str, ...] = ("cell",)
) -> Path:
    """Write a folder with images and a changed COCO file."""
    shutil.rmtree(write(folder, encode_bands(0, 1)) / "masks")
    change(content := make_coco([*categories]))
    (folder / "export.json").write_text(json.dumps(content))
    return folder


def test_init_coco_with_unused_categories_skips_them(tmp_path: Path) -> None:
    def add_category(content: dict[str, Any]) -> None:
        content["categories"].insert(0, {"id": 0, "name": "cells-x1yz"})

    folder = write_coco(tmp_path / "cells", add_category)
    section = run_init(folder)
    assert [item["category"] for item in section["classes"]] == [None, "cell"]
    assert section["crowd"] == "ignore"
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for output in (run_pipeline("init", folder).output, run_pipeline("data", "check", folder).output):
        assert "'cells-x1yz'" in output


def test_init_coco_without_annotations_suggests_all_categories(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "cells", lambda content: content["annotations"].clear(), ("cell", "wall"))
    assert "24 of 24 images have no annotation" in run_pipeline("init", folder).output
    data = read_params().data
    assert isinstance(data, AnnotatedData)
    assert [item.category for item in data.classes] == [None, "cell", "wall"]


def test_init_coco_with_a_category_of_crowds_only_ignores_it(tmp_path: Path) -> None:
    def mark_crowds(content: dict[str, Any]) -> None:
        content["annotations"] = [item for item in content["annotations"] if item["category_id"] == 1 or item["id"] < 4]
        for item in content["annotations"]:
            item["iscrowd"] = int(item["category_id"] == 2)

    section = run_init(write_coco(tmp_path / "cells", mark_crowds, ("cell", "debris")))
    assert [item["category"] for item in section["classes"]] == [None, "cell"]
    assert section["ignore_value"] == ["debris"]


def test_init_coco_with_crowds_of_unknown_size_ignores_them(tmp_path: Path) -> None:
    def mark_crowds(content: dict[str, Any]) -> None:
        for image in content["images"]:
            del image["height"]
        for annotation in content["annotations"]:
            annotation["iscrowd"] = 1

    assert "24 of 24 annotations are marked" in run_pipeline("init", write_coco(tmp_path / "cells", mark_crowds)).output
    data = read_params().data
    assert isinstance(data, AnnotatedData)
    assert data.crowd == "ignore"


def test_init_coco_without_categories_is_refused(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "cells", lambda content: content["categories"].clear())
    result = run_pipeline("init", folder)
    assert result.exit_code == 1
    assert "export.json lists no categories" in result.output
    assert not Path("params.before.yaml").exists()


# In the last case, 2 crowds of 25 are too few.
@pytest.mark.parametrize(("step", "crowd"), [(2, "object"), (12, "object"), (24, "ignore")])
def test_init_coco_with_single_objects_as_crowds_suggests_objects(tmp_path: Path, step: int, crowd: str) -> None:
    def mark_crowds(content: dict[str, Any]) -> None:
        for annotation in content["annotations"][::step]:
            annotation["iscrowd"] = 1
        content["annotations"] += [
            {**item, "id": item["id"] + 99} for item in content["annotations"] if item["iscrowd"]
        ]

    folder = write_coco(tmp_path / "cells", mark_crowds)
    result = run_pipeline("init", folder)
    counts = f"{2 * COUNT // step} of {COUNT + COUNT // step} annotations are marked as crowds (iscrowd: 1)"
    assert f"Notice: {counts}" in result.output
    data = read_params().data
    assert isinstance(data, AnnotatedData)
    assert data.crowd == crowd
    remark = next(line for line in Path("params.yaml").read_text().splitlines() if line.startswith("  crowd:"))
    assert (counts in remark) == (crowd == "object")
    assert counts in run_pipeline("data", "check", folder).output


def test_init_again_keeps_each_file_from_before(tmp_path: Path) -> None:
    contents = [Path("params.yaml").read_text()]
    folder, other = write(tmp_path / "cells", encode_bands(0, 1)), write(tmp_path / "fibers", encode_bands(0, 1, 2))
    assert "The previous params.yaml is now params.before.yaml." in run_pipeline("init", folder).output
    edited = Path("params.yaml").read_text().replace("name: foreground", "name: cell")
    Path("params.yaml").write_text(edited)
    contents.append(edited)
    assert "The previous params.yaml is now params.before.2.yaml." in run_pipeline("init", folder).output
    contents.append(Path("params.yaml").read_text())
    assert "The previous params.yaml is now params.before.3.yaml." in run_pipeline("init", other).output
    backups = ("params.before.yaml", "params.before.2.yaml", "params.before.3.yaml")
    assert [Path(file).read_text() for file in backups] == contents
    assert read_params().data.path == str(other)


def test_init_again_does_not_keep_the_epochs_of_other_data(tmp_path: Path) -> None:
    few, many = write(tmp_path / "few", encode_bands(0, 1)), write(tmp_path / "many", encode_bands(0, 1), count=90)
    epochs = {}
    for name, folder in (("many", many), ("few", few), ("many again", many)):
        assert "Training takes " in (output := run_pipeline("init", folder).output)
        epochs[name] = read_params().train.epochs
        assert f"Training takes {epochs[name]} epochs of " in output
    assert epochs["few"] > epochs["many"] == epochs["many again"]


def test_init_again_without_a_change_makes_no_backup(tmp_path: Path) -> None:
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    original = Path("params.yaml").read_text()
    assert run_pipeline("init", folder).exit_code == 0
    written = Path("params.yaml").read_text()
    assert "The previous params.yaml had the same content." in run_pipeline("init", folder).output
    Path("params.yaml").write_text(original)
    assert "The previous params.yaml is now params.before.yaml." in run_pipeline("init", folder).output
    assert (Path("params.yaml").read_text(), Path("params.before.yaml").read_text()) == (written, original)
    assert not Path("params.before.2.yaml").exists()


def test_init_leaves_neutral_notes_and_keeps_edited_ones(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    notes = Path(shutil.copy(ROOT / "reports/notes.md", tmp_path / "reports"))
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    assert run_pipeline("init", folder).exit_code == 0
    text = Path(read_params().report.notes_file).read_text()
    assert not re.search(r"animal|\bpets?\b|\bdogs?\b|\bcats?\b|photograph|cut-out", text, re.IGNORECASE)
    notes.write_text("What we expected of these cells.")
    assert run_pipeline("init", folder).exit_code == 0
    assert Path(read_params().report.notes_file).read_text() == "What we expected of these cells."


def test_init_of_one_channel_with_only_pretrained_variants_is_refused(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "cells", encode_bands(0, 1), lambda index: Image.fromarray(make_noise(index, np.uint16, 1)[..., 0])
    )
    shipped = Path("params.yaml").read_text()
    before = shipped.replace("  - unet\n  - lite0\n  - lite0_20_images\n", "    - lite0\n")
    assert before != shipped
    Path("params.yaml").write_text(before)
    result = run_pipeline("init", folder)
    assert (
        "the images have 1 channel, but all variants in grid.variant are pretrained on three: lite0." in result.output
    )
    assert Path("params.yaml").read_text() == before
    Path("params.yaml").write_text(before.replace("- lite0", "- lite0\n    - unet"))
    assert (
        "Removed from the grid, because they are pretrained on three channels: lite0."
        in run_pipeline("init", folder).output
    )
    assert read_params().grid.variant == ["unet"]


def test_init_of_oxford_pets_keeps_the_official_test_split(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    learn, test = [f"Birman_{number}" for number in range(10)], [f"pug_{number}" for number in range(4)]
    for below in ("images", "annotations/trimaps"):
        (folder / below).mkdir(parents=True)
    for index, name in enumerate([*learn, *test]):
        make_image(index).save(folder / "images" / f"{name}.jpg")
        encode_bands(1, 2, 3)(index).save(folder / "annotations/trimaps" / f"{name}.png")
    for file, names in (("trainval", learn), ("test", test)):
        (folder / "annotations" / f"{file}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))
    section = run_init(folder)
    assert section["source"] == "oxford_iiit_pet"
    assert section["splits"] == {"validation": 0.15, "test": 0}
    assert len(np.load(PREPARED / "test" / PreparedData.MASKS)) == len(test)


def test_init_of_pets_archives_names_the_download_command(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    for name in ("images.tar.gz", "annotations.tar.gz"):
        (tmp_path / "pets" / name).touch()
    assert "`pipeline data download" in run_pipeline("init", tmp_path / "pets").output


def test_init_of_several_coco_files_takes_the_instances(tmp_path: Path) -> None:
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    shutil.rmtree(folder / "masks")
    (folder / "annotations").mkdir()
    for name in ("captions_val", "instances_val"):
        (folder / "annotations" / f"{name}.json").write_text(json.dumps(make_coco(["cell"])))
    assert run_init(folder)["annotations"] == "annotations/instances_val.json"
    (folder / "annotations/instances_train.json").write_text(json.dumps(make_coco(["cell"])))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    assert (
        "several JSON files: annotations/instances_train.json, annotations/inst" in run_pipeline("init", folder).output
    )


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30),
    file=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=30),
    categories=st.lists(st.text(), min_size=1, max_size=5, unique=True),
)
@example("-a: #b 'c' \"d\"\n{e}, 🦠", "- x: #1", ["yes", "1e3", "null", "# a", "b: c", "- d"])
def test_init_of_any_names_writes_valid_yaml(tmp_path: Path, name: str, file: str, categories: list[str]) -> None:
    assume(name not in (".", ".."))
    with tempfile.TemporaryDirectory(dir=tmp_path) as parent:
        folder = write(Path(parent, name), encode_bands(0, 1), count=1)
        shutil.rmtree(folder / "masks")
        (folder / f"a{file}.json").write_text(json.dumps(make_coco(categories, images=1)))
        shutil.copy(ROOT / "params.yaml", tmp_path)
        result = run_pipeline("init", "--", folder)
    assert result.exit_code == 0, result.output
    data = read_params().data
    assert isinstance(data, AnnotatedData)
    assert (data.path, data.annotations) == (str(folder), f"a{file}.json")
    assert [item.category for item in data.classes] == [None, *categories]


def test_init_of_a_folder_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    try:
        folder = write(tmp_path / os.fsdecode(b"caf\xe9"), encode_bands(0, 1), count=1)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert "is not UTF-8. Rename the folder." in run_pipeline("init", folder).output


def test_init_of_a_large_folder_reports_the_number_of_opened_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "cells", encode_bands(0, 1), count=MAX_FILES + 40)
    assert run_pipeline("init", folder).exit_code == 0
    text = Path("params.yaml").read_text()
    assert f"in {MAX_FILES} of {MAX_FILES} masks that were opened" in text
    assert f"the images are 48 × 40 px ({MAX_FILES} were opened)" in text


def test_init_without_params_yaml_is_refused(tmp_path: Path) -> None:
    Path("params.yaml").unlink()
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    assert "params.yaml is missing. Run this in the project's folder" in run_pipeline("init", folder).output
    assert run_pipeline("data", "check", folder).exit_code == 0


@pytest.mark.parametrize(
    ("write_folder", "message"),
    [
        (lambda folder: None, "contains nothing. Expected one of"),
        (lambda folder: (folder / "pictures").mkdir(), "contains pictures/. Expected one of"),
        (lambda folder: write(folder, encode_bands(7)), "contain only the value 7"),
        (lambda folder: write(folder, make_noisy_mask), "If they number objects, write `instances: {border: 2}`."),
        (lambda folder: write(folder, make_image), "values, which are not classes: perhaps they were resized"),
        (
            lambda folder: _convert_masks_to_jpeg(write(folder, encode_bands(90, 160))),
            "which are not classes: JPEG changes pixel values",
        ),
        (lambda folder: _corrupt_files(write(folder, encode_bands(0, 1)), "images"), "none of the images can be read"),
        (lambda folder: _corrupt_files(write(folder, encode_bands(0, 1)), "masks"), "none of the masks can be read"),
    ],
)
def test_init_and_check_of_unsupported_folders_give_the_reason(tmp_path: Path, write_folder: Any, message: str) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    write_folder(folder)
    before = Path("params.yaml").read_text()
    for result in (run_pipeline("init", folder), run_pipeline("data", "check", folder)):
        assert result.exit_code == 1
        assert message in result.output
        assert "Traceback" not in result.output
    assert Path("params.yaml").read_text() == before


def _convert_masks_to_jpeg(folder: Path) -> None:
    for path in (folder / "masks").iterdir():
        Image.open(path).save(path, "JPEG")


def _corrupt_files(folder: Path, kind: str) -> None:
    for path in (folder / kind).iterdir():
        path.write_bytes(b"not an image")


def test_check_describes_the_data_and_writes_no_arrays(tmp_path: Path) -> None:
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    result = run_pipeline("data", "check", folder)
    assert result.exit_code == 0
    assert "24 images with their masks: 24 RGB" in result.output
    assert "each 48 × 40 px" in result.output
    assert "no image looks the same as one in another split" in result.output
    assert not PREPARED.exists()
    shutil.copy(folder / "images/a03.png", folder / "images/a04.png")
    assert " looks the same " in run_pipeline("data", "check", folder).output


@given(st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.lists(st.text(), max_size=3)))
def test_format_scalar_of_any_value_is_valid_yaml(value: Any) -> None:
    assert YAML(typ="safe").load(f"a: [{format_scalar(value)}, 1]  # said") == {"a": [value, 1]}


@given(st.lists(st.sampled_from(["  a: 1", "", "# said", "  - b", "\tc"]), max_size=6))
def test_replace_section_keeps_the_rest(lines: list[str]) -> None:
    head, tail = "# head\n\n", "model:\n  a: 1\n"
    text = head + "\n".join(["data:", *lines]) + "\n" + tail
    assert replace_section(text, "data:\n  b: 2\n") == f"{head}data:\n  b: 2\n\n{tail}"


def test_init_and_check_do_not_wait_for_pipes(tmp_path: Path) -> None:
    folder = write(tmp_path / "cells", encode_bands(0, 1))
    for kind in ("images", "masks"):
        (folder / kind / "a03.png").unlink()
        os.mkfifo(folder / kind / "a03.png")
    assert run_pipeline("init", folder).exit_code == 0
    result = run_pipeline("data", "check", folder)
    assert result.exit_code == 1
    assert "images/a03.png (is not a file, but a pipe, a device or a folder)" in result.output
